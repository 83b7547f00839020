"""Photos that can be searched: an index in a folder, its answers, and the service over it."""

from ilion.serve.answers import Answer, FoundObject, FoundPhoto
from ilion.serve.index import Index

__all__ = ["Answer", "FoundObject", "FoundPhoto", "Index"]
