"""Checkpoint files: reading, writing, load reports, foreign weights, published models."""
