"""Image classification: one class an image."""
