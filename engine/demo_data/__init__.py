"""The drawn mini data set."""
