"""A reader of pickles that hold numbers and texts, and can hold nothing else.

Lists, tuples, dicts, strings, bytes and numbers need no names. Arrays name a handful of constructors, under
the module names of numpy 1 and 2; those are replaced by plain containers here, so not even numpy's own code
runs on what a file says. Any other name is refused and said.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError

DEEPEST = 400
"""Most levels of containers; what results and weights need is below ten."""
MOST_SHARED = 1000
"""Most values for an opcode of the file, counted as often as they are referred to."""
MOST_VALUES = 2**31
"""Most values of a whole file, counted as often as they are referred to."""
MOST_EMPTY = 10**5
"""Most texts without any character in an array, which take no byte of a file."""
_CODE = re.compile(r"[fiub]\d{1,2}|[US]\d{1,9}|O8?")
_ARRAY_HOMES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC_HOMES = ("numpy.core.numeric", "numpy._core.numeric")


class _Type:
    """Stands for a numpy type: a code such as ``f4``, and a byte order."""

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise pickle.UnpicklingError(f"it holds an array of type {code!r}, not numbers or texts")
        self.code, self.order = code, "|"

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError(f"it holds an array of a compound type ({self.code})")
        self.order = {"<": "<", ">": ">"}.get(state[1], "|")

    def plain(self) -> np.dtype[Any]:
        """Return the numpy type."""
        return np.dtype(f"{self.order}{self.code}" if self.code[0] in "fiuU" else self.code)


class _Array:
    """Stands for an array until its state is known."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = (0,)
        self.type: _Type = _Type("f4")
        self.content: object = b""
        self.order = "C"

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array is malformed")
        _, shape, kind, fortran, content = state
        self.fill(shape, kind, "F" if fortran else "C", content)

    def fill(self, shape: object, kind: object, order: str, content: object) -> _Array:
        """Take the parts of an array after a check of their form."""
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise pickle.UnpicklingError(f"an array has the shape {shape!r}")
        if not isinstance(kind, _Type):
            raise pickle.UnpicklingError("an array has no type")
        self.shape, self.type, self.order, self.content = shape, kind, order, content
        return self

    def values(self) -> NDArray[Any]:
        """Return the array after a check that its content fills its shape."""
        dtype, size = self.type.plain(), math.prod(self.shape)
        if dtype.kind == "O":
            if not isinstance(self.content, list) or len(self.content) != size:
                raise ArtifactError(f"an array of shape {self.shape} does not hold {size} objects")
            flat: NDArray[Any] = np.empty(size, dtype)
            flat[:] = [_settle(item, {}, 0) for item in self.content]
        else:
            content = self.content
            if isinstance(content, str):  # protocol 2 of old writers
                content = content.encode("latin1")
            if not isinstance(content, (bytes, bytearray)) or len(content) != size * dtype.itemsize:
                raise ArtifactError(f"an array of shape {self.shape} {dtype} is not filled by its content")
            if not dtype.itemsize and size > MOST_EMPTY:
                raise ArtifactError(f"an array of shape {self.shape} has {size} empty texts")
            flat = np.frombuffer(bytes(content), dtype) if dtype.itemsize else np.zeros(size, dtype)
        return flat.reshape(self.shape, order="F" if self.order == "F" else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _from_buffer(content: object, kind: object, shape: object, order: object = "C") -> _Array:
    return _Array().fill(shape, kind, "F" if order == "F" else "C", content)


def _scalar(kind: object, content: object = b"") -> _Array:
    return _Array().fill((), kind, "C", content)


def _encode(text: object, encoding: object = "latin1") -> bytes:
    # how protocol 2 writes bytes
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("bytes are malformed")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    # how protocol 2 writes bytes of which there are none
    return b""


class _Marker:
    """Stands for the class of arrays where a file names it as an argument."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _ARRAY_HOMES and name in ("_reconstruct", "scalar", "ndarray", "dtype"):
            return {"_reconstruct": _reconstruct, "scalar": _scalar, "ndarray": _Marker, "dtype": _Type}[name]
        if module in _NUMERIC_HOMES and name == "_frombuffer":
            return _from_buffer
        if (module, name) == ("_codecs", "encode"):
            return _encode
        if module in ("builtins", "__builtin__") and name == "bytes":
            return _no_bytes
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(
            f"it names {module}.{name}; only arrays, lists, tuples, dicts, texts and numbers are read"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError(f"it refers to something outside of the file ({pid!r})")


def load(file: IO[bytes], where: str | Path) -> Any:
    """Read one pickle of plain data; nothing of it is executed.

    Args:
        file: Open for reading.
        where: Place for messages.

    Returns:
        Dicts, lists, tuples, texts, bytes, numbers, None and numpy arrays.

    Raises:
        ArtifactError: The pickle is damaged, or names anything else; the name is said.

    >>> import io
    >>> load(io.BytesIO(pickle.dumps({"sims": np.array([[0.5]], np.float32)})), "a.pkl")
    {'sims': array([[0.5]], dtype=float32)}
    """
    try:
        scan(file, where)
        return _settle(_Unpickler(file).load(), {}, 0)
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
            OverflowError, MemoryError, RecursionError, ArtifactError) as error:  # fmt: skip
        # what a damaged or hostile pickle can raise while it is read; nothing of it was run
        what = str(error).removeprefix(f"{where}: ") or type(error).__name__
        raise ArtifactError(f"{where}: cannot be read as plain data: {what}") from error


def scan(file: IO[bytes], where: str | Path) -> None:
    """Look at the opcodes of one pickle before anything is built; the file stands where it stood.

    Sharing lets a few bytes stand for exponentially many values, and depth ends an interpreter, so both have
    limits: containers nested at most `DEEPEST` deep, and `MOST_SHARED` times as many values as opcodes.

    Args:
        file: Open for reading, and seekable.
        where: Place for messages.

    Raises:
        ArtifactError: The pickle is deeper or larger than data is.
        pickle.UnpicklingError: It is damaged.
    """
    start = file.tell()
    # depth and number of values of what would lie there
    stack: list[list[int]] = []
    marks: list[int] = []
    memo: dict[int, list[int]] = {}
    count = 0
    try:
        for opcode, argument, _ in pickletools.genops(file):
            count += 1
            name = opcode.name
            if name == "MARK":
                marks.append(len(stack))
                continue
            if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                memo[len(memo) if name == "MEMOIZE" else int(str(argument))] = stack[-1]
                continue
            if name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo[int(str(argument))])
                continue
            if name in ("STOP", "PROTO", "FRAME"):
                continue
            taken: list[list[int]] = []
            before = [part.name for part in opcode.stack_before]
            if "mark" in before:
                at = marks.pop()
                taken, stack[at:] = stack[at:], []
                before = before[: before.index("mark")]
            for _ in before:
                taken.append(stack.pop())
            depth = max((part[0] for part in taken), default=0)
            made = [depth + 1, 1 + sum(part[1] for part in taken)]
            if name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"):
                # what is filled may be known by a number already
                taken[-1][:] = max(depth, taken[-1][0]), made[1]
                made = taken[-1]
            stack.extend([made] * len(opcode.stack_after))
            if made[0] > DEEPEST or made[1] > MOST_SHARED * (count + 1000):
                what = f"nested more than {DEEPEST} deep" if made[0] > DEEPEST else "made of shared parts"
                raise ArtifactError(f"{where}: it is {what}, as no table of results or weights is; not read")
    except (IndexError, KeyError, ValueError) as error:
        # not left to the reader, which may bear what this look does not: then nothing would be bounded
        raise ArtifactError(
            f"{where}: no sound pickle ({error or 'its parts do not fit together'})"
        ) from error
    finally:
        file.seek(start)


def _settle(value: object, known: dict[int, tuple[Any, int]], depth: int) -> Any:
    """Replace the stand-ins by arrays; what is shared is settled once, and stays shared.

    Args:
        value: Value with stand-ins.
        known: Settled containers by identity, each with the number of values that it holds at any depth.
        depth: Levels above it.
    """
    if isinstance(value, _Array):
        array = value.values()
        return array if array.ndim else array[()]
    if isinstance(value, (dict, list, tuple)):
        if id(value) in known:
            return known[id(value)][0]
        if depth > DEEPEST:
            raise ArtifactError(f"it is nested more than {DEEPEST} deep, or within itself")
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        settled = [_settle(item, known, depth + 1) for item in inner]
        size = 1 + sum(known[id(item)][1] if id(item) in known else 1 for item in inner)
        if size > MOST_VALUES:
            raise ArtifactError("it is made of shared parts that stand for too many values")
        kept: Any
        if isinstance(value, dict):
            kept = dict(zip(settled[: len(value)], settled[len(value) :], strict=True))
        else:
            kept = settled if isinstance(value, list) else tuple(settled)
        known[id(value)] = kept, size
        return kept
    if isinstance(value, (set, frozenset, type, _Type)) or callable(value):
        raise ArtifactError(f"it holds a {type(value).__name__.lstrip('_').lower()} where data should be")
    return value
