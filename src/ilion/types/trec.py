"""Files of TREC: a line an image, fields separated by white space."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from ilion.errors import ArtifactError
from ilion.opening import MOST_BYTES, marked_encoding, read_bytes, write_bytes
from ilion.types.basics import Where


def read_trec(path: Where, size: int, column: int) -> dict[str, dict[str, float]]:
    """Return query -> image -> number of the lines of a file of TREC, plain or gzip.

    Args:
        path: The file.
        size: Number of fields on each line.
        column: Field that holds the number.

    Raises:
        ArtifactError: The file cannot be read, or a line is not as described.
    """
    table: dict[str, dict[str, float]] = {}
    try:
        data = read_bytes(path)
        if data.startswith(b"\x1f\x8b"):
            with gzip.open(BytesIO(data)) as file:
                data = file.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise ValueError(f"it unpacks to more than {MOST_BYTES:,} bytes")
        if not (encoding := marked_encoding(data[:4])).startswith("utf-8"):
            raise ValueError(f"text in {encoding.upper()}; store it as UTF-8")
        for number, line in enumerate(data.decode("utf-8-sig").split("\n"), start=1):
            parts = line.split()
            if parts and (len(parts) != size or parts[2] in table.setdefault(parts[0], {})):
                raise ValueError(f"line {number}, {line!r:.80}: not {size} fields, or an image given twice")
            if parts:
                table[parts[0]][parts[2]] = float(parts[column])
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise ArtifactError(f"{path}: no such file of TREC: {error}") from error
    return table


def write_trec(path: Where, lines: Iterable[tuple[str, ...]]) -> None:
    """Write lines of fields that are separated by spaces, packed if the file's name ends in ``.gz``.

    Raises:
        ArtifactError: A field is empty or has white space.
    """
    text = []
    for line in lines:
        if any(part.split() != [part] for part in line):
            raise ArtifactError(f"{line}: TREC separates fields by white space, so ids must have none")
        text.append(" ".join(line))
    data = "".join(f"{line}\n" for line in text).encode("utf-8")
    write_bytes(Path(path), gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)
