"""A checkpoint as a file that runs without this project."""
