"""The one way in which files are opened to be read: regular files only, bounded, text in any encoding."""

from ilion.opening.regular import (
    MOST_BYTES,
    SpecialFileError,
    check_regular,
    kind_of,
    open_regular,
    read_bytes,
)
from ilion.opening.text import Text, decode_text, read_text

__all__ = [
    "MOST_BYTES",
    "SpecialFileError",
    "Text",
    "check_regular",
    "decode_text",
    "kind_of",
    "open_regular",
    "read_bytes",
    "read_text",
]
