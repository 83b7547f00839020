"""The one way in which files are opened: read if regular and bounded, as text, JSON; written whole or not."""

from ilion.opening.forms import find_misfit
from ilion.opening.markup import parse_json, parse_toml
from ilion.opening.regular import (
    MOST_BYTES,
    check_folder,
    check_regular,
    full_path,
    kind_of,
    open_regular,
    read_bytes,
)
from ilion.opening.text import marked_encoding, read_text
from ilion.opening.whole import saying_unwritable, write_bytes, writing, writing_folder

__all__ = [
    "MOST_BYTES",
    "check_folder",
    "check_regular",
    "find_misfit",
    "full_path",
    "kind_of",
    "marked_encoding",
    "open_regular",
    "parse_json",
    "parse_toml",
    "read_bytes",
    "read_text",
    "saying_unwritable",
    "write_bytes",
    "writing",
    "writing_folder",
]
