"""Local features: what a spot of an image looks like, and where it is."""

from ilion.localfeatures.base import LocalExtractor, LocalOptions, LocalSpec, build

__all__ = ["LocalExtractor", "LocalOptions", "LocalSpec", "build"]
