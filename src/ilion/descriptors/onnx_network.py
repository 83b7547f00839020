"""An ONNX file as a function from a batch of images to an array; pooling and settings are in `onnx`."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from glob import escape
from io import BufferedReader
from itertools import chain
from pathlib import Path, PureWindowsPath
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ConfigError, ExtractionError
from ilion.opening import open_regular
from ilion.storage.foreign import describe_foreign
from ilion.types import RGB, Float32
from ilion.wording import counted

MOST_BYTES = 2**31
"""Most bytes of a model's own file: what a message of protobuf can have."""
_DTYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "mps": "CoreMLExecutionProvider",
}


class OnnxNetwork:
    """A loaded model and what its file says about input and output; None stands for any size.

    Args:
        model: Content of an ONNX file, or its path.
        name: Name of the model, for messages.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: 0 takes what the machine has.
        output: Name of the output to return; not needed when there is one.

    Raises:
        ConfigError: The device or output does not exist.
        ExtractionError: The model cannot be loaded, is not a model of RGB images, or the device is not there.
    """

    def __init__(
        self, model: bytes | Path, name: str, device: str, threads: int, output: str | None = None
    ) -> None:
        self.name = name
        self._session = open_session(model, name, device, threads)
        inputs = self._session.get_inputs()
        shapes = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _DTYPES:
            raise ExtractionError(
                f"{name}: expected one input of 4 axes in float32, float16 or uint8, found {shapes}; "
                "export the image tower alone"
            )
        axes = [n if isinstance(n, int) else None for n in inputs[0].shape]
        if (axes[1] == 3) == (axes[3] == 3):
            raise ExtractionError(
                f"{name}: cannot tell which axis of {shapes} holds the three colour channels; "
                "export with that axis fixed to 3"
            )
        self._input = inputs[0].name
        self.dtype = _DTYPES[inputs[0].type]
        self.channels_last = axes[3] == 3
        self.batch = axes[0]
        self.height, self.width = (axes[1], axes[2]) if self.channels_last else (axes[2], axes[3])
        ranks = {o.name: len(o.shape) for o in self._session.get_outputs()}
        self.output = _choose_output(ranks, name, output)
        self.output_rank = ranks[self.output]

    @property
    def provider(self) -> str:
        """The ONNX Runtime execution provider in use."""
        return str(self._session.get_providers()[0])

    def run(self, images: Sequence[RGB], mean: Sequence[float], std: Sequence[float]) -> Float32:
        """Normalise images of one shape as (x - mean) / std and return the output; see `run_outputs`."""
        return self.run_outputs(images, mean, std, [self.output])[0]

    def run_outputs(
        self, images: Sequence[RGB], mean: Sequence[float], std: Sequence[float], outputs: Sequence[str]
    ) -> list[Float32]:
        """Normalise images of one shape as (x - mean) / std and return some outputs.

        Args:
            images: B arrays (H, W, 3), at most the fixed batch size.
            mean: Mean of the three channels on the 0..255 scale.
            std: Deviation of the three channels on the 0..255 scale.
            outputs: Names.

        Returns:
            Each (B, D), (B, T, C) or (B, C, H, W); maps of a channels-last model are turned channels-first.

        Raises:
            ExtractionError: The images have another size than the model takes, or the model fails.
        """
        height, width = images[0].shape[:2]
        if (self.height or height, self.width or width) != (height, width):
            raise ExtractionError(
                f"{self.name} takes images of {self.width} x {self.height} pixels only, got {width} x "
                f"{height}; resize with square, center-crop or pad to {self.width}, and use one scale"
            )
        count = len(images)
        if self.batch is not None:
            images = [*images, *[images[-1]] * (self.batch - count)]
        try:
            results = self._session.run(list(outputs), {self._input: self._pixels(images, mean, std)})
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise ExtractionError(
                f"{self.name} failed on {counted(len(images), 'image')} of {width} x {height}: {error}"
            ) from error
        values = (np.asarray(result)[:count].astype(np.float32, copy=False) for result in results)
        return [v.transpose(0, 3, 1, 2) if v.ndim == 4 and self.channels_last else v for v in values]

    def _pixels(
        self, images: Sequence[RGB], mean: Sequence[float], std: Sequence[float]
    ) -> NDArray[np.generic]:
        """Stack and normalise in the layout and type of the model."""
        height, width = images[0].shape[:2]
        shape = (height, width, 3) if self.channels_last else (3, height, width)
        pixels = np.empty((len(images), *shape), np.float32)
        channels_first = np.moveaxis(pixels, -1, 1) if self.channels_last else pixels
        for target, image in zip(channels_first, images, strict=True):
            for c in range(3):
                np.subtract(image[..., c], mean[c], out=target[c], dtype=np.float32)
                target[c] /= std[c]
        return pixels.astype(self.dtype, copy=False)


def model_digest(path: Path) -> str:
    """Return the sha256 of a model: of its file, and of every file of weights that its graph names.

    A model of one file has the digest of that file.

    Raises:
        ExtractionError: The file is no ONNX model, or a file of weights is missing or outside of its folder.
    """
    files = external_files(path)
    digest = _file_digest(path)
    if not files:
        return digest
    parts = [digest, *(f"{name} {_file_digest(file)}" for name, file in sorted(files.items()))]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def external_files(path: Path) -> dict[str, Path]:
    """Return the files of weights that a model names beside its own: name in the graph -> file.

    Raises:
        ExtractionError: See `model_digest`.
    """
    with open_regular(path) as file:
        seen = describe_foreign(file.read(64))
        if seen:
            raise ExtractionError(f"{path}: {seen}; an ONNX model was expected")
        if (size := os.fstat(file.fileno()).st_size) > MOST_BYTES:
            raise ExtractionError(
                f"{path}: has {size:,} bytes, and a model's own file at most {MOST_BYTES:,}; larger ones "
                "keep their weights in files beside it"
            )
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(b"location") < 0:  # the key that every reference has
                return {}
    import onnx  # a second of import time that only such models need
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, RecursionError, ValueError) as error:
        raise ExtractionError(f"{path}: no readable ONNX model: {error}") from error
    names = {
        entry.value
        for tensor in _tensors(model)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return {name: _weights_file(path, name) for name in names}


def _weights_file(path: Path, name: str) -> Path:
    """Return the file that a graph names, which must lie in the model's folder or below it."""
    as_windows = PureWindowsPath(name)
    if not name or "\0" in name or as_windows.drive or as_windows.root or ".." in as_windows.parts:
        raise ExtractionError(
            f"{path}: its graph reads weights from {name!r}, outside of the model's own folder; that is "
            "refused: export the model again with its weights beside it"
        )
    file = path.parent / name
    if not file.is_file():
        base = as_windows.name
        places = (path.parent.glob(f"*/{escape(base)}"), path.parent.parent.glob(escape(base)))
        beside = (p for p in path.parent.glob("*") if p != path and p.suffix in (".data", ".bin", ".weights"))
        other = next((p for p in chain(*places, sorted(beside)) if p.is_file()), None)
        if other is not None:
            raise ExtractionError(
                f"{path}: its weights are in {name!r}, and there is no such file beside it; copy both "
                f"together, or give {str(other)!r} that name and place if it is that file"
            )
        raise ExtractionError(
            f"{path}: its weights are in {name!r}, and there is no such file beside it; copy both together"
        )
    return file


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor of a model: initialisers and attributes, of subgraphs and functions too."""
    graphs = [
        model.graph,
        *(g for info in model.training_info for g in (info.initialization, info.algorithm)),
    ]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
            continue
        for attribute in nodes.pop().attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            graphs.extend(g for g in (attribute.g, *attribute.graphs) if g.node or g.initializer)


def _file_digest(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()


def _choose_output(ranks: Mapping[str, int], name: str, output: str | None) -> str:
    """Return the named output, or the only one.

    >>> _choose_output({"features": 4}, "onnx:m.onnx", None)
    'features'
    """
    if output is None and len(ranks) == 1:
        return next(iter(ranks))
    if output is None or output not in ranks:
        raise ConfigError(
            f"{name} "
            + (f"has no output {output!r}" if output else "has several outputs")
            + "; say output = NAME in its .toml file, one of: "
            + ", ".join(f"{o} ({rank} axes)" for o, rank in ranks.items())
        )
    return output


def open_session(model: bytes | Path, name: str, device: str, threads: int) -> Any:
    """Start a session on the asked device."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.use_deterministic_compute = True
    settings.log_severity_level = 3
    provider, arguments = _provider(device, onnxruntime.get_available_providers())
    chain = [(provider, arguments)]
    if provider != "CPUExecutionProvider":
        chain.append(("CPUExecutionProvider", {}))
    try:
        session = onnxruntime.InferenceSession(
            str(model) if isinstance(model, Path) else model, settings, providers=chain
        )
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise ExtractionError(f"{name}: ONNX Runtime cannot load the model: {error}") from error
    # When the libraries of a provider do not load, ONNX Runtime falls back to the CPU with only a log line.
    if session.get_providers()[0] != provider:
        raise ExtractionError(
            f"{name}: {provider} did not start (its libraries are missing or do not match onnxruntime "
            f"{onnxruntime.__version__}); repair them or set device to cpu"
        )
    return session


def _provider(device: str, available: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Choose the execution provider of a device.

    >>> _provider("auto", ["CUDAExecutionProvider", "CPUExecutionProvider"])
    ('CUDAExecutionProvider', {'device_id': '0'})
    """
    kind, _, number = device.partition(":")
    if kind == "auto":
        kind = "cuda" if _PROVIDERS["cuda"] in available else "cpu"
    if kind not in _PROVIDERS or (":" in device and not (kind == "cuda" and number.isdigit())):
        raise ConfigError(f"device {device!r} is not one of auto, cpu, cuda, cuda:N, mps")
    if _PROVIDERS[kind] not in available:
        remedy = "install onnxruntime-gpu in its place" if kind == "cuda" else "use cpu"
        raise ExtractionError(
            f"device {device!r} needs {_PROVIDERS[kind]}, but this onnxruntime only has "
            f"{', '.join(available)}; {remedy}"
        )
    return _PROVIDERS[kind], {"device_id": number or "0"} if kind == "cuda" else {}
