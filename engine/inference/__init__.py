"""Models ready to predict: on images, files, videos and data sets."""
