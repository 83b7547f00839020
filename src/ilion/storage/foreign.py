"""What a file is that is not what was expected, told from its first bytes."""

from __future__ import annotations

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
"""Start of the small text that Git LFS leaves where a large file should be."""

_STARTS: tuple[tuple[bytes, str], ...] = (
    (LFS_POINTER, "a Git LFS pointer, not the file itself; fetch the file with 'git lfs pull'"),
    (b"\x1f\x8b", "a gzip file; unpack it first (gunzip)"),
    (b"BZh", "a bzip2 file; unpack it first (bunzip2)"),
    (b"\xfd7zXZ\x00", "an xz file; unpack it first (unxz)"),
    (b"\x28\xb5\x2f\xfd", "a zstd file; unpack it first (unzstd)"),
    (b"PK\x03\x04", "a zip file (also .npz, .xlsx and .pt are such)"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"%PDF", "a PDF document"),
    (b"\xff\xfe\x00\x00", "text in UTF-32; store it as UTF-8"),
    (b"\xff\xfe", "text in UTF-16, as PowerShell's '>' writes it; store it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16; store it as UTF-8"),
)


def describe_foreign(start: bytes) -> str:
    """Return what a file seems to be, and what to do with it, or "" if its start tells nothing.

    Args:
        start: The first bytes of the file, 64 or more.

    >>> describe_foreign(b"%PDF-1.7")
    'a PDF document'
    >>> describe_foreign(b"anything")
    ''
    """
    if not start:
        return "an empty file; fetch or write it again"
    for magic, what in _STARTS:
        if start.startswith(magic):
            return what
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return "a web page, perhaps what a server answered in place of the file; fetch it again"
    return ""
