"""Search by global descriptors: exact, over a database that is streamed from disk."""

from ilion.search.exact import Database, Progress, search

__all__ = ["Database", "Progress", "search"]
