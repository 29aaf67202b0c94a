"""PicoDet: a detector for plain CPUs, its data and its metric."""
