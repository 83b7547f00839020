"""Files of TREC: a line an image, fields separated by white space."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ilion.errors import ArtifactError
from ilion.opening import read_bytes
from ilion.types.basics import Where


def read_trec(path: Where, size: int, column: int) -> dict[str, dict[str, float]]:
    """Return query -> image -> number of the lines of a file of TREC.

    Args:
        path: The file.
        size: Number of fields on each line.
        column: Field that holds the number.

    Raises:
        ArtifactError: The file cannot be read, or a line is not as described.
    """
    table: dict[str, dict[str, float]] = {}
    try:
        for number, line in enumerate(read_bytes(path).decode("utf-8").splitlines(), start=1):
            parts = line.split()
            if parts and (len(parts) != size or parts[2] in table.setdefault(parts[0], {})):
                raise ValueError(f"line {number}, {line!r:.80}: not {size} fields, or an image given twice")
            if parts:
                table[parts[0]][parts[2]] = float(parts[column])
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: no such file of TREC: {error}") from error
    return table


def write_trec(path: Where, lines: Iterable[tuple[str, ...]]) -> None:
    """Write lines of fields that are separated by spaces.

    Raises:
        ArtifactError: A field is empty or has white space.
    """
    text = []
    for line in lines:
        if any(part.split() != [part] for part in line):
            raise ArtifactError(f"{line}: TREC separates fields by white space, so ids must have none")
        text.append(" ".join(line))
    Path(path).write_text("".join(f"{line}\n" for line in text), "utf-8")
