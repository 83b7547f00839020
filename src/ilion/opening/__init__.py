"""The one way in which files are opened to be read: regular files, bounded; text; JSON of a known form."""

from ilion.opening.forms import find_misfit
from ilion.opening.markup import parse_json, parse_toml
from ilion.opening.regular import MOST_BYTES, check_regular, kind_of, open_regular, read_bytes
from ilion.opening.text import marked_encoding, read_text

__all__ = [
    "MOST_BYTES",
    "check_regular",
    "find_misfit",
    "kind_of",
    "marked_encoding",
    "open_regular",
    "parse_json",
    "parse_toml",
    "read_bytes",
    "read_text",
]
