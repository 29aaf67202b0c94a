"""Checks of image files and data sets, and repaired copies."""
