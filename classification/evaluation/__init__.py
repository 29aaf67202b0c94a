"""Accuracy, confusion, saved predictions, the report and its pictures."""
