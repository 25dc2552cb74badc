"""One file per cause, with its remedies: why a run shows it."""
