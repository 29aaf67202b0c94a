"""Exports checkpoints as files that run without this project."""
