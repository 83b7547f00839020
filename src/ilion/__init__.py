"""Ilion: instance-level image retrieval, measured."""

from ilion._version import __version__

__all__ = ["__version__"]
