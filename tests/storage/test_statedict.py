from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ilion.errors import ArtifactError
from ilion.storage import statedict
from ilion.storage.statedict import read_state_dict

MAGIC = 0x1950A86A20F9469CFC6C


class _Storage:
    """Stands for a torch storage while a checkpoint is pickled by hand."""

    def __init__(self, key: str, length: int, kind: str = "FloatStorage") -> None:
        self.key, self.length, self.kind = key, length, kind


class _Global:
    """Pickles as the name of a global."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Pickler(pickle._Pickler):  # the pure Python one, whose opcodes can be written by hand
    def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
        if isinstance(obj, _Global):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())  # type: ignore[attr-defined]
            return None
        return super().save(obj, save_persistent_id)  # type: ignore[misc]

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, _Storage):
            return ("storage", _Global("torch", obj.kind), obj.key, "cpu", obj.length, None)
        return None


class _Call:
    """Pickles as a call of a global, like torch's tensors do."""

    def __init__(self, function: _Global, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments


def dump(obj: Any) -> bytes:
    file = io.BytesIO()
    pickler = _Pickler(file, protocol=2)

    def save_call(p: Any, call: _Call) -> None:
        p.save(call.function)
        p.save(call.arguments)
        p.write(pickle.REDUCE)

    pickler.dispatch = {**pickler.dispatch, _Call: save_call}  # type: ignore[misc]
    pickler.dump(obj)
    return file.getvalue()


def tensor(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> _Call:
    return _Call(
        _Global("torch._utils", "_rebuild_tensor_v2"), storage, offset, size, stride, False, OrderedDict()
    )


def write_zip(path: Path, content: Any, storages: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", dump(content))
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)


def write_legacy(path: Path, content: Any, storages: dict[str, bytes]) -> None:
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    parts = [dump(MAGIC), dump(1001), dump(system), dump(content), dump(sorted(storages))]
    for key in sorted(storages):
        parts.append(struct.pack("<q", len(storages[key]) // 4) + storages[key])
    path.write_bytes(b"".join(parts))


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_tensors_come_back(tmp_path: Path, write: Any) -> None:
    data = np.arange(12, dtype=np.float32)
    storage = _Storage("0", 12)
    content = OrderedDict(
        whole=tensor(storage, 0, (3, 4), (4, 1)),
        transposed=tensor(storage, 0, (4, 3), (1, 4)),
        part=tensor(storage, 5, (2,), (3,)),
        scalar=tensor(storage, 7, (), ()),
        nothing=tensor(storage, 0, (0, 3), (3, 1)),
    )
    write(tmp_path / "w.pth", content, {"0": data.tobytes()})
    arrays = read_state_dict(tmp_path / "w.pth")
    np.testing.assert_array_equal(arrays["whole"], data.reshape(3, 4))
    np.testing.assert_array_equal(arrays["transposed"], data.reshape(3, 4).T)
    assert arrays["part"].tolist() == [5.0, 8.0]
    assert arrays["scalar"].item() == 7.0
    assert arrays["nothing"].shape == (0, 3)


def test_a_wrapped_state_dict_is_found(tmp_path: Path) -> None:
    inner = OrderedDict(w=tensor(_Storage("0", 2), 0, (2,), (1,)))
    write_zip(tmp_path / "w.pth", {"state_dict": inner, "epoch": 3}, {"0": np.ones(2, np.float32).tobytes()})
    assert read_state_dict(tmp_path / "w.pth")["w"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (13,), (1,)),
        (12, (1,), (1,)),
        (0, (3, 4), (40, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
    ],
)
def test_a_view_outside_its_storage_is_refused(
    tmp_path: Path, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    content = OrderedDict(w=tensor(_Storage("0", 12), offset, size, stride))
    write_zip(tmp_path / "w.pth", content, {"0": bytes(48)})
    with pytest.raises(ArtifactError, match=r"malformed|beyond its storage"):
        read_state_dict(tmp_path / "w.pth")


def test_code_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    write_zip(tmp_path / "w.pth", {"w": _Call(_Global("os", "mkdir"), str(marker))}, {})
    with pytest.raises(ArtifactError, match=r"names os\.mkdir"):
        read_state_dict(tmp_path / "w.pth")
    assert not marker.exists()
    assert callable(os.mkdir)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04rest", b"\x80\x02K\x01.", pickle.dumps([1])])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ArtifactError, match="not a plain state dict"):
        read_state_dict(tmp_path / "w.pth")


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    content = OrderedDict(w=tensor(_Storage("0", 12), 0, (12,), (1,)))
    write_legacy(tmp_path / "w.pth", content, {"0": bytes(48)})
    whole = (tmp_path / "w.pth").read_bytes()
    for end in range(0, len(whole), 7):
        (tmp_path / "cut.pth").write_bytes(whole[:end])
        with pytest.raises(ArtifactError):
            read_state_dict(tmp_path / "cut.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none\.pth: there is no such file"):
        read_state_dict(tmp_path / "none.pth")


def _shared(levels: int) -> bytes:
    """Tuples of the one below, twice: few bytes, 2 ** levels values; as a key, so that it is hashed."""
    data = b"\x80\x04}(K\x01"
    for number in range(levels):
        data += b"q" + bytes([number]) + b"h" + bytes([number]) + b"\x86"
    return data + b"K\x01u."


def test_shared_and_deep_pickles_are_refused_before_they_are_built(tmp_path: Path) -> None:
    from ilion.storage import pickles

    deep = b"\x80\x04}(K\x01" + b"\x85" * 200_000 + b"K\x01u."
    circle = b"\x80\x04]q\x00h\x00a."
    for data in (_shared(60), deep, circle):
        with pytest.raises(ArtifactError, match=r"shared parts|nested more than"):
            pickles.load(io.BytesIO(data), "x.pkl")


@pytest.mark.slow
def test_a_zip_that_unpacks_to_much_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(50_000_000))
    with pytest.raises(ArtifactError, match="would unpack to"):
        read_state_dict(path)


def _costly_key(prefix: bytes, levels: int = 60) -> bytes:
    """Pickle a dict whose key is a pair of pairs of pairs ... of one number, which takes for ever to hash."""
    pairs = b"".join(b"q%ch%c\x86" % (i, i) for i in range(levels))
    return b"\x80\x02" + prefix + b"}K\x01" + pairs + b"K\x01s."


@pytest.mark.slow
@pytest.mark.parametrize("prefix", [b"", b"(0"], ids=["plain", "a mark taken away"])
@pytest.mark.parametrize("legacy", [False, True])
def test_shared_keys_do_not_hang(prefix: bytes, legacy: bool, tmp_path: Path) -> None:
    """In a process of its own, because nothing interrupts the hash of a tuple."""
    path = tmp_path / "weights.pt"
    if legacy:
        path.write_bytes(_costly_key(prefix))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", _costly_key(prefix))
    code = (
        "import sys; from pathlib import Path; from ilion.storage.statedict import read_state_dict\n"
        "from ilion.errors import ArtifactError\n"
        "try: read_state_dict(Path(sys.argv[1]))\nexcept ArtifactError: print('said')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=20)
    assert done.stdout == "said\n", done.stderr


@pytest.mark.parametrize("size", [(20_000, 20_000), (2**40,), (-1,)])
def test_tensors_are_not_larger_than_their_file(
    size: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of zero repeats one value: a file of 500 bytes would fill the memory."""
    monkeypatch.setattr(statedict._Tensor, "view", lambda *_: pytest.fail("built"))
    where = (statedict._text("storage"), statedict._global("torch", "FloatStorage"), statedict._text("0"))
    memory = b"".join([pickle.MARK, *where, statedict._text("cpu"), statedict._whole(1), b"tQ"])
    view = [memory, statedict._whole(0), statedict._numbers(size), statedict._numbers((0,) * len(size))]
    call = statedict._global("torch._utils", "_rebuild_tensor_v2") + pickle.MARK
    body = statedict._text("w") + call + b"".join(view) + pickle.NEWFALSE + statedict._NEW_DICT + b"tR"
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + statedict._NEW_DICT + pickle.MARK + body + b"u.")
        archive.writestr("a/data/0", b"\0" * 4)
    with pytest.raises(ArtifactError, match=r"would become tensors of|malformed"):
        read_state_dict(tmp_path / "w.pt")
