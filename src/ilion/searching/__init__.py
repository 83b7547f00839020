"""Search by global descriptors: exact, or through short codes; the database is streamed from disk."""

from ilion.searching.codes import Code, CodeSet, write_codes
from ilion.searching.compressed import search_compressed
from ilion.searching.exact import Database, Progress, search

__all__ = ["Code", "CodeSet", "Database", "Progress", "search", "search_compressed", "write_codes"]
