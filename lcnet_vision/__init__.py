"""The installed command `lcnet`; a wheel also has tools/ and configs/ in here."""

__version__ = "0.2.0"
