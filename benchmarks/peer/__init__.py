"""What `benchmarks/peers.py` is made of: one adapter per peer, and what runs them side by side."""
