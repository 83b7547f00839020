"""Search by global descriptors: exact, or through short codes; the database is streamed from disk."""

from ilion.search.codes import Code, CodeSet, write_codes
from ilion.search.compressed import search_compressed
from ilion.search.exact import Database, Progress, search

__all__ = ["Code", "CodeSet", "Database", "Progress", "search", "search_compressed", "write_codes"]
