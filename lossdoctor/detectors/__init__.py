"""One file per symptom: what a run shows."""
