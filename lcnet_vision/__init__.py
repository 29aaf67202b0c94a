"""The command `lcnet`; in a wheel, tools/ and configs/ are in this package."""

__version__ = "0.2.0"
