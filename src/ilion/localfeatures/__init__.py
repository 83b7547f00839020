"""Local features: what a spot of an image looks like, and where it is."""

from ilion.localfeatures.base import build

__all__ = ["build"]
