from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ilion.errors import ArtifactError
from ilion.interop.layers import read_layer, write_layer
from ilion.storage.statedict import read_state_dict, write_state_dict

DTYPES = ["<f2", "<f4", "<f8", "<i8", "<i4", "<i2", "i1", "u1", "?"]


def _layer(out: int = 3, dim: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(out, dim)).astype(np.float32), rng.normal(size=out).astype(np.float32)


def test_a_layer_comes_back_bit_by_bit(tmp_path: Path) -> None:
    weight, bias = _layer()
    path = tmp_path / "layer.pt"
    write_layer(path, weight, bias)
    for found, given_values in zip(read_layer(path), (weight, bias), strict=True):
        assert found.dtype == np.float32
        assert found.tobytes() == given_values.tobytes()
    first = path.read_bytes()
    write_layer(path, weight, bias)
    assert path.read_bytes() == first


@pytest.mark.slow
@given(st.data())
def test_state_dicts_come_back(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    name = st.text(min_size=1, max_size=8)
    array = st.sampled_from(DTYPES).flatmap(lambda d: arrays(d, array_shapes(min_dims=0, max_side=4)))
    tensors = data.draw(st.dictionaries(name, array, min_size=0, max_size=3))
    path = tmp_path_factory.mktemp("state") / "state.pt"
    write_state_dict(path, tensors)
    found = read_state_dict(path)
    assert list(found) == list(tensors)
    for key, values in tensors.items():
        assert found[key].dtype == values.dtype
        assert found[key].shape == values.shape
        assert found[key].tobytes() == values.tobytes()


def test_views_and_foreign_byte_orders_are_written_as_they_look(tmp_path: Path) -> None:
    values = np.arange(12, dtype=">f4").reshape(3, 4).T
    write_state_dict(tmp_path / "a.pt", {"x": values})
    np.testing.assert_array_equal(read_state_dict(tmp_path / "a.pt")["x"], values)


@pytest.mark.parametrize("names", [("weight", "bias"), ("model.layer.weight", "model.layer.bias")])
def test_other_names_are_understood(tmp_path: Path, names: tuple[str, str]) -> None:
    weight, bias = _layer()
    write_state_dict(tmp_path / "a.pt", dict(zip(names, (weight, bias), strict=True)))
    np.testing.assert_array_equal(read_layer(tmp_path / "a.pt")[0], weight)
    np.testing.assert_array_equal(read_layer(tmp_path / "a.pt")[1], bias)


def test_half_precision_is_widened_and_a_missing_bias_is_zero(tmp_path: Path) -> None:
    weight = _layer()[0].astype(np.float16)
    write_state_dict(tmp_path / "a.pt", {"layer.weight": weight})
    found, bias = read_layer(tmp_path / "a.pt")
    np.testing.assert_array_equal(found, weight.astype(np.float32))
    assert not bias.any()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "no adaptation layers .no tensor"),
        ({"head.scale": np.ones(3, np.float32)}, "no adaptation layers .head.scale"),
        ({"a.layer.weight": _layer()[0], "b.layer.weight": _layer()[0]}, "holds 2 adaptation layers"),
        ({"layer.weight": _layer()[0], "layer.bias": np.ones(4, np.float32)}, r"got \(3, 5\) and \(4,\)"),
        ({"layer.weight": np.ones(3, np.float32)}, "needs a weight"),
        ({"layer.weight": np.ones((3, 0), np.float32)}, "needs a weight"),
        ({"layer.weight": np.ones((3, 2), np.int64)}, "layer.weight holds int64"),
        ({"layer.weight": np.full((1, 2), np.nan, np.float32)}, "layer.weight holds NaN"),
        ({"layer.weight": np.full((1, 2), 1e300)}, "more than float32 can hold"),
    ],
)
def test_what_is_no_layer_is_refused(tmp_path: Path, tensors: dict[str, np.ndarray], message: str) -> None:
    write_state_dict(tmp_path / "a.pt", tensors)
    with pytest.raises(ArtifactError, match=message):
        read_layer(tmp_path / "a.pt")


def test_what_cannot_be_applied_is_not_written(tmp_path: Path) -> None:
    weight, bias = _layer()
    with pytest.raises(ArtifactError, match="needs a weight"):
        write_layer(tmp_path / "a.pt", weight, bias[:2])
    with pytest.raises(ArtifactError, match="NaN or infinity"):
        write_layer(tmp_path / "a.pt", weight, np.full_like(bias, np.nan))
    with pytest.raises(ArtifactError, match="complex64, which a torch file cannot hold"):
        write_state_dict(tmp_path / "a.pt", {"x": weight.astype(np.complex64)})
    assert not list(tmp_path.iterdir())
    with pytest.raises(ArtifactError, match="no such file"):
        read_layer(tmp_path / "a.pt")


def test_no_torch_is_needed(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import numpy as np; from pathlib import Path;"
        "from ilion.interop.layers import *; p = Path(sys.argv[1]);"
        "write_layer(p, np.eye(2, dtype='f4'), np.ones(2, 'f4')); print(read_layer(p)[1].tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.pt")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[1.0, 1.0]"


@pytest.mark.extras
def test_torch_reads_what_we_write_and_we_read_what_torch_writes(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    weight, bias = _layer(4, 7)
    path = tmp_path / "layer.pt"
    write_layer(path, weight, bias)
    for options in ({}, {"mmap": True}):
        state = torch.load(path, weights_only=True, **options)
        assert list(state) == ["layer.weight", "layer.bias"]
        module = torch.nn.ModuleDict({"layer": torch.nn.Linear(7, 4)})
        module.load_state_dict(state)
        assert module["layer"].weight.detach().numpy().tobytes() == weight.tobytes()
        assert module["layer"].bias.detach().numpy().tobytes() == bias.tobytes()
    torch.save(module.state_dict(), path)
    assert read_layer(path)[0].tobytes() == weight.tobytes()
    for dtype in DTYPES:
        values = np.arange(6).reshape(2, 3).astype(dtype)
        write_state_dict(path, {"x": values, "scalar": np.asarray(1, dtype)})
        state = torch.load(path, weights_only=True)
        np.testing.assert_array_equal(state["x"].numpy(), values)
        assert state["scalar"].shape == ()
