"""What differs between runs or configurations, what of it matters, and whether the curves differ beyond their noise."""
