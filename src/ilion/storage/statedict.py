"""Read and write torch state dicts without torch and without executing anything.

A checkpoint is a pickle that names a handful of constructors; this unpickler knows exactly those and refuses
any other name, so a file can hold tensors and plain containers but no code. Both containers are read: the zip
of torch >= 1.6 and the sequence of pickles before it. The zip is written, as `torch.load` with
``weights_only=True`` reads it.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.opening import open_regular
from ilion.storage import write_bytes
from ilion.storage.pickles import scan
from ilion.wording import counted

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


@dataclass(frozen=True)
class _Storage:
    """A named piece of memory, read when a tensor needs it."""

    key: str
    dtype: np.dtype[Any]
    length: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage; sizes and strides count elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def view(self, memory: NDArray[Any]) -> NDArray[Any]:
        """Return a copy, after a check that every element lies inside the storage."""
        numbers = (self.offset, *self.size, *self.stride)
        if len(self.size) != len(self.stride) or any(not isinstance(n, int) or n < 0 for n in numbers):
            raise ArtifactError(f"tensor of size {self.size} and stride {self.stride} is malformed")
        last = self.offset + sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))
        if 0 in self.size:
            return np.empty(self.size, memory.dtype)
        if last >= len(memory):
            raise ArtifactError(f"tensor of size {self.size} reaches beyond its storage of {len(memory)}")
        strides = tuple(s * memory.itemsize for s in self.stride)
        return np.lib.stride_tricks.as_strided(memory[self.offset :], self.size, strides).copy()


def _rebuild_tensor(
    storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


class _Unpickler(pickle.Unpickler):
    """Knows the constructors of a state dict and nothing else; remembers the storages that they name."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.file = file
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return _rebuild_tensor
        if module == "torch._utils" and name == "_rebuild_parameter":
            return _rebuild_parameter
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which a state dict does not need")

    def persistent_load(self, pid: Any) -> _Storage:
        _, dtype, key, _, length, *_ = pid
        if not isinstance(dtype, np.dtype) or not isinstance(length, int):
            raise pickle.UnpicklingError("a storage is malformed")
        storage = self.storages[str(key)] = _Storage(str(key), dtype, length)
        return storage


def read_state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """Read the tensors of a torch checkpoint, such as ``torch.save(model.state_dict(), path)`` makes.

    Args:
        path: The file; the tensors may be below ``state_dict``, ``model`` or ``state``.

    Returns:
        Name -> array. bfloat16 is not read.

    Raises:
        ArtifactError: The file is missing, cut off, no checkpoint, or names anything but tensors.
    """
    try:
        with open_regular(path) as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            content, memory = _read_zip(file) if zipped else _read_legacy(file)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: there is no such file") from None
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
            zipfile.BadZipFile, OverflowError, MemoryError, ArtifactError) as error:  # fmt: skip
        # what a damaged or hostile pickle can raise while it is read; nothing of it was run
        raise ArtifactError(f"{path}: not a plain state dict: {error}") from error
    for wrapper in ("state_dict", "model", "state"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise ArtifactError(f"{path}: holds a {type(content).__name__}, not a state dict")
    try:
        tensors = {str(k): v for k, v in content.items() if isinstance(v, _Tensor)}
        _check_amount(tensors.values(), path)
        return {name: tensor.view(memory(tensor.storage)) for name, tensor in tensors.items()}
    except (ArtifactError, KeyError, ValueError) as error:
        raise ArtifactError(f"{path}: {error}") from error


def _check_amount(tensors: Collection[_Tensor], path: Path) -> None:
    """Refuse tensors that are much more than their file: steps of zero repeat a value without end."""
    for tensor in tensors:
        if not all(isinstance(n, int) and n >= 0 for n in tensor.size):
            raise ArtifactError(f"tensor of size {tensor.size} is malformed")
    asked = sum(math.prod(tensor.size) * tensor.storage.dtype.itemsize for tensor in tensors)
    held = path.stat().st_size
    if asked > 4 * held + 2**20:
        raise ArtifactError(f"its {held} bytes would become tensors of {asked}; weights are stored in full")


_Memory = Callable[[_Storage], NDArray[Any]]


def _load(unpickler: _Unpickler) -> Any:
    """Read a pickle after a look at its depth and sharing."""
    scan(unpickler.file, "its pickle")
    return unpickler.load()


def _read_zip(file: IO[bytes]) -> tuple[Any, _Memory]:
    data = io.BytesIO(file.read())
    archive = zipfile.ZipFile(data)
    unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > 4 * len(data.getbuffer()) + 2**20:
        # torch stores weights as they are
        raise ValueError(
            f"{len(data.getbuffer())} bytes would unpack to {unpacked}; weights do not shrink so"
        )
    pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("the zip has no data.pkl")
    root = pickles[0].removesuffix("/data.pkl")
    content = _load(_Unpickler(io.BytesIO(archive.read(pickles[0]))))

    def memory(storage: _Storage) -> NDArray[Any]:
        return np.frombuffer(archive.read(f"{root}/data/{storage.key}"), storage.dtype)

    return content, memory


def _read_legacy(file: IO[bytes]) -> tuple[Any, _Memory]:
    if _load(_Unpickler(file)) != _LEGACY_MAGIC:
        raise ValueError("it does not start like a torch file")
    _load(_Unpickler(file))  # protocol version
    system = _load(_Unpickler(file))
    if not system["little_endian"]:
        raise ValueError("it was written on a big-endian machine")
    unpickler = _Unpickler(file)
    content = _load(unpickler)
    arrays: dict[str, NDArray[Any]] = {}
    for key in _load(_Unpickler(file)):
        storage = unpickler.storages[key]
        length = int.from_bytes(file.read(8), "little")
        if length > os.fstat(file.fileno()).st_size:
            raise EOFError(f"storage {key} has {counted(length, 'value')}")
        data = file.read(length * storage.dtype.itemsize)
        if len(data) != length * storage.dtype.itemsize:
            raise EOFError(f"storage {key} ends after {len(data)} bytes")
        arrays[key] = np.frombuffer(data, storage.dtype)
    return content, lambda storage: arrays[storage.key]


def write_state_dict(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as ``torch.save`` writes a state dict of CPU tensors; equal arrays give equal bytes.

    Args:
        path: The file; written aside and renamed.
        tensors: Name -> array of a float, integer or bool type that torch has too.

    Raises:
        ArtifactError: An array is of another type, or the file cannot be written.
    """
    names = {dtype: name for name, dtype in _STORAGES.items()}
    content = io.BytesIO()
    parts = [pickle.PROTO, b"\x02", _NEW_DICT, pickle.MARK]
    # Without compression, as torch wants it; the date is fixed, so that equal layers are equal files.
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:

        def add(name: str, data: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)

        memories = []
        for key, (name, values) in enumerate(tensors.items()):
            array = np.asarray(values, np.asarray(values).dtype.newbyteorder("<"), order="C")
            if array.dtype not in names:
                raise ArtifactError(f"{path}: {name} is {array.dtype}, which a torch file cannot hold")
            parts += [_text(name), _tensor_call(str(key), names[array.dtype], array)]
            memories.append(array.tobytes())
        parts += [pickle.SETITEMS, pickle.STOP]
        add("data.pkl", b"".join(parts))
        add("byteorder", b"little")
        for key, memory in enumerate(memories):
            add(f"data/{key}", memory)
        add("version", b"3\n")
    write_bytes(path, content.getbuffer())


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


_NEW_DICT = _global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def _whole(number: int) -> bytes:
    data = number.to_bytes(8, "little", signed=True)
    return pickle.LONG1 + bytes([len(data)]) + data


def _numbers(numbers: tuple[int, ...]) -> bytes:
    return b"".join([pickle.MARK, *map(_whole, numbers), pickle.TUPLE])


def _tensor_call(key: str, storage: str, array: NDArray[Any]) -> bytes:
    """Return the opcodes that rebuild a contiguous tensor over a storage; see torch._utils."""
    strides = tuple(s // array.itemsize for s in array.strides)
    where = (_text("storage"), _global("torch", storage), _text(key), _text("cpu"), _whole(array.size))
    memory = b"".join([pickle.MARK, *where, pickle.TUPLE, pickle.BINPERSID])
    view = (memory, _whole(0), _numbers(array.shape), _numbers(strides), pickle.NEWFALSE, _NEW_DICT)
    call = _global("torch._utils", "_rebuild_tensor_v2")
    return b"".join([call, pickle.MARK, *view, pickle.TUPLE, pickle.REDUCE])
