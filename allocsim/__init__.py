"""The model: columns of numpy in, columns of numpy out. No files, no clock, no printing."""

__version__ = "0.1.0"
