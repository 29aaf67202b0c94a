"""Latency, and models compared on equal terms."""
