"""DeepLabV3+: a semantic segmenter for plain CPUs, its data and its metric."""
