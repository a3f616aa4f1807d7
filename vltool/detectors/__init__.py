"""Detectors: what they give for a picture, how they are loaded, and which of their regions are kept."""

from vltool.detectors.load import load_detector

__all__ = ["load_detector"]
