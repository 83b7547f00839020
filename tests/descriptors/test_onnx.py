"""ONNX models written here node by node, against the same arithmetic in NumPy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ilion.descriptors import base, pooling, registry
from ilion.descriptors.base import ExtractorOptions, ExtractorSpec
from ilion.descriptors.onnx import OnnxExtractor
from ilion.descriptors.onnx_network import _provider, external_files, model_digest
from ilion.errors import ConfigError, ExtractionError, IlionError
from ilion.types import RGB, Float64

CHANNELS = 5
WEIGHT = np.random.default_rng(7).normal(size=(CHANNELS, 3)).astype(np.float32) / 3
MEAN, STD = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)
CPU = ExtractorOptions(device="cpu", threads=1, batch_size=2)


def _model(
    input_shape: Sequence[int | str] = ("n", 3, "h", "w"),
    dtype: int = TensorProto.FLOAT,
    output: str = "map",
    second_output: bool = False,
) -> bytes:
    """A 1 x 1 convolution, then what ``output`` names: map, tokens (a class token first) or vector."""
    last = input_shape[-1] == 3
    nodes = []
    x = "image"
    if dtype != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [x], ["single"], to=TensorProto.FLOAT))
        x = "single"
    if last:
        nodes.append(helper.make_node("Transpose", [x], ["first"], perm=[0, 3, 1, 2]))
        x = "first"
    nodes.append(helper.make_node("Conv", [x, "weight"], ["maps"]))
    result = "maps"
    shape: list[int | str | None] = ["n", CHANNELS, "a", "b"]
    if last:
        nodes.append(helper.make_node("Transpose", ["maps"], ["maps_last"], perm=[0, 2, 3, 1]))
        result, shape = "maps_last", ["n", "a", "b", CHANNELS]
    if output == "vector":
        nodes.append(helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]))
        nodes.append(helper.make_node("Flatten", ["pooled"], ["vector"]))
        result, shape = "vector", ["n", CHANNELS]
    if output == "tokens":
        nodes += [
            helper.make_node("Reshape", ["maps", "flat"], ["columns"]),
            helper.make_node("Transpose", ["columns"], ["patches"], perm=[0, 2, 1]),
            helper.make_node("ReduceMax", ["patches"], ["class"], axes=[1], keepdims=1),
            helper.make_node("Concat", ["class", "patches"], ["tokens"], axis=1),
        ]
        result, shape = "tokens", ["n", "t", CHANNELS]
    outputs = [helper.make_tensor_value_info(result, TensorProto.FLOAT, shape)]
    if second_output:
        outputs.append(helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", CHANNELS, "a", "b"]))
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("image", dtype, input_shape)],
        outputs,
        [
            numpy_helper.from_array(WEIGHT[:, :, None, None], "weight"),
            numpy_helper.from_array(np.array([0, CHANNELS, -1]), "flat"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _spec(**changes: Any) -> ExtractorSpec:
    values: dict[str, Any] = {
        "name": "test",
        "weights": "none",
        "revision": "1",
        "dim": CHANNELS,
        "resize": "long",
        "side": 16,
        "mean": MEAN,
        "std": STD,
        "pooling": "gem",
        "licence": "MIT",
    }
    return ExtractorSpec(**(values | changes))


def _images(*sizes: tuple[int, int]) -> list[RGB]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def _expected(images: Sequence[RGB], name: str, mean: Any = MEAN, std: Any = STD) -> Float64:
    """The network and the normalisation in float64, one image at a time."""
    rows = []
    for image in images:
        pixels = (image.astype(np.float64) - mean) / std
        maps = (pixels @ WEIGHT.T.astype(np.float64)).transpose(2, 0, 1)[None]
        row = pooling.MAP_POOLINGS[name](maps)[0]
        rows.append(row / np.linalg.norm(row))
    return np.array(rows)


SIZES = ((8, 16), (16, 8), (8, 16), (8, 16), (4, 4))


@pytest.mark.parametrize("name", ["gap", "mac", "gem", "rmac", "rgem"])
def test_maps_are_pooled_and_keep_the_order_of_the_images(name: str) -> None:
    images = _images(*SIZES)
    extractor = OnnxExtractor(_model(), _spec(pooling=name), CPU, pooling=name)
    found = extractor.extract(images)
    assert found.dtype == np.float32
    assert extractor.provider == "CPUExecutionProvider"
    np.testing.assert_allclose(found, _expected(images, name), atol=2e-6)


def test_no_images_give_no_rows() -> None:
    assert OnnxExtractor(_model(), _spec(), CPU, pooling="gem").extract([]).shape == (0, CHANNELS)


def test_channels_last() -> None:
    images = _images(*SIZES)
    found = OnnxExtractor(_model(("n", "h", "w", 3)), _spec(), CPU, pooling="gem").extract(images)
    np.testing.assert_allclose(found, _expected(images, "gem"), atol=2e-6)


def test_half_precision_input() -> None:
    images = _images(*SIZES)
    model = _model(dtype=TensorProto.FLOAT16)
    found = OnnxExtractor(model, _spec(), CPU, pooling="mac").extract(images)
    np.testing.assert_allclose(found, _expected(images, "mac"), atol=2e-3)


def test_uint8_input_is_not_normalised() -> None:
    images = _images(*SIZES)
    model = _model(dtype=TensorProto.UINT8)
    raw = _spec(mean=(0.0,) * 3, std=(1.0,) * 3)
    found = OnnxExtractor(model, raw, CPU, pooling="gap").extract(images)
    np.testing.assert_allclose(found, _expected(images, "gap", 0.0, 1.0), atol=2e-6)
    with pytest.raises(ConfigError, match="normalises them itself"):
        OnnxExtractor(model, _spec(), CPU, pooling="gap")


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_fixed_batch_is_filled_up(batch: int) -> None:
    images = _images(*[(16, 16)] * 5)
    model = _model((batch, 3, 16, 16))
    found = OnnxExtractor(model, _spec(resize="square"), CPU, pooling="gap").extract(images)
    np.testing.assert_allclose(found, _expected(images, "gap"), atol=2e-6)


def test_fixed_size_refuses_other_sizes() -> None:
    model = _model(("n", 3, 16, 16))
    with pytest.raises(ConfigError, match=r"16 x 16 pixels only: side must be 16 and resize square"):
        OnnxExtractor(model, _spec(), CPU, pooling="gap")
    with pytest.raises(ConfigError, match="side must be 16"):
        OnnxExtractor(model, _spec(resize="pad", side=32), CPU, pooling="gap")
    extractor = OnnxExtractor(model, _spec(resize="pad"), CPU, pooling="gap")
    with pytest.raises(ExtractionError, match="16 x 16 pixels only, got 8 x 12"):
        extractor.extract(_images((12, 8)))


@pytest.mark.parametrize("name", ["cls", "gap", "gem", "rmac"])
def test_tokens(name: str) -> None:
    images = _images((4, 6), (6, 4), (4, 6))
    found = OnnxExtractor(_model(output="tokens"), _spec(), CPU, pooling=name).extract(images)
    # The class token of this network is the maximum over the patches.
    np.testing.assert_allclose(found, _expected(images, "mac" if name == "cls" else name), atol=2e-6)


def test_vectors_are_taken_as_they_are_and_dim_is_measured() -> None:
    images = _images(*SIZES)
    extractor = OnnxExtractor(_model(output="vector"), _spec(dim=0), CPU, pooling="head")
    assert extractor.spec.dim == CHANNELS
    np.testing.assert_allclose(extractor.extract(images), _expected(images, "gap"), atol=2e-6)
    with pytest.raises(ConfigError, match="use one of head"):
        OnnxExtractor(_model(output="vector"), _spec(dim=0), CPU, pooling="gem")


def test_a_wrong_dim_is_an_error() -> None:
    extractor = OnnxExtractor(_model(), _spec(dim=7), CPU, pooling="gem")
    with pytest.raises(ExtractionError, match="its spec promises 7"):
        extractor.extract(_images((8, 8)))


def test_numbers_do_not_depend_on_the_batch_size() -> None:
    images = _images(*SIZES)
    one, many = (
        OnnxExtractor(_model(), _spec(), ExtractorOptions(device="cpu", batch_size=b), pooling="gem").extract(
            images
        )
        for b in (1, 8)
    )
    np.testing.assert_allclose(one, many, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (("n", "c", "h", "w"), "cannot tell which axis"),
        (("n", 1, "h", "w"), "cannot tell which axis"),
        (("n", 3, "h"), "one input of 4 axes"),
        (("n", 3, 16, 32), "only square or free"),
        (("n", 3, 16, "w"), "only square or free"),
    ],
)
def test_models_of_something_else(shape: tuple[int | str, ...], message: str) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["same"])],
        "test",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("same", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ExtractionError, match=message):
        OnnxExtractor(model.SerializeToString(), _spec(), CPU, pooling="gem")


def test_nan_is_not_passed_on() -> None:
    extractor = OnnxExtractor(_model(), _spec(std=(0.0, 1.0, 1.0)), CPU, pooling="gap")
    with np.errstate(divide="ignore", invalid="ignore"), pytest.raises(ExtractionError, match="NaN or inf"):
        extractor.extract([np.full((8, 8, 3), 120, np.uint8)])


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        (b"not a model", CPU, ExtractionError, "cannot load the model"),
        (None, ExtractorOptions(device="gpu"), ConfigError, "'gpu' is not one of auto"),
        (None, ExtractorOptions(device="cpu:1"), ConfigError, "'cpu:1' is not one of"),
        (None, ExtractorOptions(device="cpu", precision="float16"), ConfigError, "export the model again"),
        (None, ExtractorOptions(device="cpu", batch_size=0), ConfigError, "batch_size"),
    ],
)
def test_bad_settings(
    content: bytes | None, options: ExtractorOptions, error: type[IlionError], message: str
) -> None:
    with pytest.raises(error, match=message):
        OnnxExtractor(content or _model(), _spec(), options, pooling="gem").extract(_images((8, 8)))


def test_device_choice() -> None:
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert _provider("cuda:1", both) == ("CUDAExecutionProvider", {"device_id": "1"})
    assert _provider("cpu", both) == ("CPUExecutionProvider", {})
    assert _provider("auto", ["CPUExecutionProvider"]) == ("CPUExecutionProvider", {})
    with pytest.raises(ExtractionError, match="onnxruntime only has CPUExecutionProvider; install"):
        _provider("cuda", ["CPUExecutionProvider"])
    with pytest.raises(ExtractionError, match="CoreMLExecutionProvider"):
        _provider("mps", both)


Build = Callable[..., base.Extractor]


@pytest.fixture
def build_file(tmp_path: Path) -> Build:
    """Write a model and its side file, and build it as ``onnx:FILE``."""

    def build(side_file: str | None = None, model: bytes | None = None, **options: Any) -> base.Extractor:
        path = tmp_path / "model.onnx"
        path.write_bytes(model or _model())
        if side_file is not None:
            (tmp_path / "model.onnx.toml").write_text(side_file)
        return registry.build(f"onnx:{path}", ExtractorOptions(device="cpu", **options))

    return build


def test_side_file(build_file: Build) -> None:
    extractor = build_file(
        "mean = [120, 110, 100]\nstd = [60, 50, 40]\nside = 16\npooling = 'mac'\nlicence = 'MIT'\n"
        "resize = 'short'"
    )
    spec = extractor.spec
    assert (spec.dim, spec.side, spec.resize, spec.pooling, spec.licence) == (5, 16, "short", "mac", "MIT")
    assert spec.revision.startswith("sha256:")
    assert len(spec.revision) == 7 + 64
    images = _images(*SIZES)
    np.testing.assert_allclose(extractor.extract(images), _expected(images, "mac"), atol=2e-6)


def test_options_come_before_the_side_file(build_file: Build) -> None:
    spec = build_file(
        "side = 16\npooling = 'mac'\nresize = 'short'", side=32, pooling="gap", resize="pad"
    ).spec
    assert (spec.side, spec.pooling, spec.resize) == (32, "gap", "pad")


def test_without_a_side_file_the_assumption_is_said(
    build_file: Build, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        spec = build_file(side=16).spec
    assert "mean and deviation of ImageNet are assumed" in caplog.text
    assert (spec.resize, spec.pooling, spec.mean[0]) == ("long", "gem", 123.675)


def test_fixed_size_sets_side_and_resize(build_file: Build) -> None:
    spec = build_file(model=_model(("n", 3, 16, 16), output="vector")).spec
    assert (spec.side, spec.resize, spec.pooling) == (16, "square", "head")


def test_output_by_name(build_file: Build) -> None:
    two = _model(output="tokens", second_output=True)
    with pytest.raises(ConfigError, match=r"several outputs; say output = NAME .* tokens \(3 axes\), maps"):
        build_file(model=two, side=16)
    with pytest.raises(ConfigError, match="no output 'map'"):
        build_file("output = 'map'", model=two, side=16)
    spec = build_file("output = 'tokens'\nprefix_tokens = 1", model=two, side=16).spec
    assert spec.pooling == "cls"
    assert spec.options == {"output": "tokens", "prefix_tokens": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("poling = 'gem'", "unknown key 'poling'; did you mean pooling"),
        ("zzz = 1", "unknown key 'zzz'; known: mean"),
        ("mean = [1, 2, 3]", "mean and std together"),
        ("mean = [1, 2]\nstd = [1, 2, 3]", "three numbers on the 0..255 scale"),
        ("mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]", "multiply mean and std by 255"),
        ("side = '16'", "side must be a count"),
        ("side = true", "side must be a count"),
        ("pooling = 3", "pooling must be a text"),
        ("resize = 'longest'", "'longest' is not one of long"),
        ("side = ", "not valid TOML"),
    ],
)
def test_bad_side_files(build_file: Build, content: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_file(content)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*nothing\.onnx"):
        registry.build(f"onnx:{tmp_path}/nothing.onnx")


def test_views_by_option(build_file: Build) -> None:
    sides = "mean = [120, 110, 100]\nstd = [60, 50, 40]\nside = 16"
    extractor = build_file(sides, scales=(0.5, 1.0), rotations=(0, 180))
    flat = [np.full((16, 8, 3), value, np.uint8) for value in (30, 200)]
    np.testing.assert_allclose(extractor.extract(flat), _expected(flat, "gem"), atol=2e-6)
    assert extractor.spec.scales == (0.5, 1.0)


def _external(folder: Path, location: str = "model.onnx.data", weight: Any = WEIGHT) -> Path:
    """Write a model whose weights lie in another file, as exporters do by default."""
    content = onnx.load_from_string(_model())
    data = weight.astype("<f4").tobytes()
    tensor = content.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(data)))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path = folder / "model.onnx"
    path.write_bytes(content.SerializeToString())
    if "/" not in location and "\\" not in location:
        (folder / location).write_bytes(data)
    return path


def test_a_file_larger_than_any_model_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.onnx").open("wb") as file:
        file.write(b"\x08\x07")
        file.truncate(64 << 30)
    with pytest.raises(ExtractionError, match="has 68,719,476,736 bytes"):
        model_digest(tmp_path / "a.onnx")


def test_weights_in_another_file_are_part_of_the_digest(tmp_path: Path) -> None:
    path = _external(tmp_path)
    one = registry.build(f"onnx:{path}", CPU)
    same = registry.build(f"onnx:{path}", CPU)
    _external(tmp_path, weight=WEIGHT[::-1])
    other = registry.build(f"onnx:{path}", CPU)
    assert one.spec.revision == same.spec.revision != other.spec.revision


def test_weights_of_a_subgraph_are_part_of_the_digest(tmp_path: Path) -> None:
    path = _external(tmp_path)
    model = onnx.load_model(path, load_external_data=False)
    inner = helper.make_graph(model.graph.node, "inner", [], [], model.graph.initializer)
    node = helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner)
    outer = helper.make_model(helper.make_graph([node], "outer", [], []))
    path.write_bytes(outer.SerializeToString())
    assert list(external_files(path)) == ["model.onnx.data"]


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/hostname", "a/../../b", "..\\secret.bin", "C:\\secret.bin"]
)
def test_weights_outside_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "model").mkdir()
    path = _external(tmp_path / "model", location)
    with pytest.raises(ExtractionError, match="outside of the model's own folder"):
        registry.build(f"onnx:{path}", CPU)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    path = _external(tmp_path)
    (tmp_path / "model.onnx.data").unlink()
    with pytest.raises(ExtractionError, match=r"weights are in 'model\.onnx\.data'.*copy both together$"):
        registry.build(f"onnx:{path}", CPU)


@pytest.mark.parametrize("now", ["renamed.data", "weights/model.onnx.data", "../model.onnx.data"])
def test_weights_that_were_moved_after_the_export_are_found_and_count_once_they_are_back(
    tmp_path: Path, now: str
) -> None:
    (tmp_path / "model").mkdir()
    path = _external(tmp_path / "model")
    digest, data = model_digest(path), path.with_name("model.onnx.data")
    moved = path.parent / now
    moved.parent.mkdir(exist_ok=True)
    data.rename(moved)
    with pytest.raises(ExtractionError, match=r"or give '.*' that name and place if it is that file") as said:
        model_digest(path)
    assert moved.name in str(said.value)
    moved.rename(data)
    assert model_digest(path) == digest
    data.write_bytes(WEIGHT[::-1].astype("<f4").tobytes())
    assert model_digest(path) != digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"", "an empty file"),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ExtractionError, match=message):
        registry.build(f"onnx:{path}", CPU)
