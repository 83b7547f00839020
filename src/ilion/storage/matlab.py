"""A reader of MATLAB 5 files (``.mat``) with numbers, texts, cells and structs; nothing in them is executed.

The format is that of MathWorks' "MAT-File Format", level 5: elements of a type, a length and content, some of
them packed by zlib. Functions, objects and sparse arrays are refused.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ilion.errors import ArtifactError
from ilion.opening import MOST_BYTES, read_bytes
from ilion.wording import counted

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_CELL, _STRUCT, _CHAR, _MATRIX, _PACKED = 1, 2, 4, 14, 15
_DEEPEST = 20


def read_mat(path: Path) -> dict[str, Any]:
    """Read all variables of a file.

    Returns:
        Name -> array of numbers; text; list (a cell, column by column); or list of dicts (a struct array).

    Raises:
        ArtifactError: The file is missing, damaged, of another version, or holds something else.
    """
    try:
        data = read_bytes(path)
        if data[:10] == b"MATLAB 7.3" or data[:8] == b"\x89HDF\r\n\x1a\n":
            raise ValueError("it is of version 7.3 (HDF5); save it with -v7")
        order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
        if order is None or len(data) < 128:
            raise ValueError("it is no MATLAB 5 file")
        reader, at, found = _Reader(order), 128, {}
        while at + 8 <= len(data):
            kind, content, at = reader.element(data, at)
            if kind == _PACKED:
                kind, content, _ = reader.element(reader.unpack(content), 0)
            if kind != _MATRIX:
                raise ValueError(f"it holds an element of type {kind} where a variable should be")
            name, value = reader.matrix(content, 0)
            found[name] = value
        return found
    except (OSError, ValueError, struct.error, zlib.error, OverflowError, MemoryError) as error:
        raise ArtifactError(f"{path}: cannot be read as a MATLAB file: {error}") from error


class _Reader:
    """Reads elements in one byte order.

    Args:
        order: ``<`` or ``>``.
    """

    def __init__(self, order: str) -> None:
        self.order, self.left = order, MOST_BYTES

    def unpack(self, content: bytes) -> bytes:
        """Return what zlib packed, as long as the whole file stays within bounds."""
        data = zlib.decompressobj().decompress(content, self.left + 1)
        self.left -= len(data)
        if self.left < 0:
            raise ValueError(f"it unpacks to more than {MOST_BYTES:,} bytes")
        return data

    def element(self, data: bytes, at: int) -> tuple[int, bytes, int]:
        """Return type and content of the element at a place, and the place behind it."""
        (word,) = struct.unpack_from(f"{self.order}I", data, at)
        if word >> 16:  # a small one: type and length share a word, the content is in the next
            kind, size, start = word & 0xFFFF, word >> 16, at + 4
            end = at + 8
            if size > 4:
                raise ValueError("a small element is too long")
        else:
            kind, size, start = word, struct.unpack_from(f"{self.order}I", data, at + 4)[0], at + 8
            # packed elements are not padded to eight bytes
            end = start + (size if kind == _PACKED else -(-size // 8) * 8)
        if start + size > len(data):
            raise ValueError("it ends within an element")
        return kind, data[start : start + size], end

    def matrix(self, data: bytes, depth: int) -> tuple[str, Any]:
        """Return name and value of a variable, cell or field."""
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
        if not data:
            return "", np.zeros((0, 0))
        _, flags, at = self.element(data, 0)
        kind = struct.unpack_from(f"{self.order}I", flags)[0] & 0xFF
        _, shape_bytes, at = self.element(data, at)
        shape = tuple(int(n) for n in np.frombuffer(shape_bytes, f"{self.order}i4"))
        if any(n < 0 for n in shape):
            raise ValueError(f"an array has the shape {shape}")
        _, name, at = self.element(data, at)
        count = math.prod(shape)
        if kind in (_CELL, _STRUCT) and count > len(data):
            raise ValueError(f"a cell or struct of {counted(count, 'part')} has {len(data)} bytes")
        value: Any
        if kind == _CELL:
            value = []
            for _ in range(count):
                part, at = self._inner(data, at, depth)
                value.append(part)
        elif kind == _STRUCT:
            value = self._struct(data, at, count, depth)
        elif kind == _CHAR:
            of, content, at = self.element(data, at)
            value = self._text(of, content)
        elif kind in _CLASSES:
            of, content, at = self.element(data, at)
            if of not in _NUMBERS:
                raise ValueError(f"numbers are of type {of}")
            numbers = np.frombuffer(content, f"{self.order}{_NUMBERS[of]}")
            if len(numbers) != count:
                raise ValueError(f"an array of shape {shape} has {counted(len(numbers), 'number')}")
            value = numbers.astype(_CLASSES[kind]).reshape(shape, order="F")
        else:
            raise ValueError(
                f"it holds an object of class {kind}; only numbers, texts, cells and structs are read"
            )
        return name.decode("ascii", "replace"), value

    def _inner(self, data: bytes, at: int, depth: int) -> tuple[Any, int]:
        kind, content, at = self.element(data, at)
        if kind != _MATRIX:
            raise ValueError(f"a cell or field is of type {kind}")
        return self.matrix(content, depth + 1)[1], at

    def _struct(self, data: bytes, at: int, count: int, depth: int) -> list[dict[str, Any]]:
        _, length, at = self.element(data, at)
        size = int(np.frombuffer(length, f"{self.order}i4")[0])
        _, names, at = self.element(data, at)
        if size < 1:
            raise ValueError("a struct has field names without length")
        fields = [names[n : n + size].split(b"\0")[0].decode("ascii") for n in range(0, len(names), size)]
        found = []
        for _ in range(count):
            part = {}
            for name in fields:
                part[name], at = self._inner(data, at, depth)
            found.append(part)
        return found

    def _text(self, of: int, content: bytes) -> str:
        if of in _TEXTS:
            name = _TEXTS[of]
            return content.decode(name if name == "utf-8" else name + ("-le" if self.order == "<" else "-be"))
        if of not in _NUMBERS:
            raise ValueError(f"a text is of type {of}")
        return "".join(map(chr, np.frombuffer(content, f"{self.order}{_NUMBERS[of]}").tolist()))
