"""The parts of benchmarks/remedies.py: text, models, recipes, faults, training, and the table."""
