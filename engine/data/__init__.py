"""What data sets of all tasks share: images, preprocessing, seeds, samplers, safe paths, splits."""
