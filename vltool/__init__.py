"""vltool: learning vision and language together over region features."""

__version__ = "0.1.0"
