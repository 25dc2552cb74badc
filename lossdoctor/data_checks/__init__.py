"""One file for each thing that data and model can get wrong: what was measured of them is looked at by all of these."""
