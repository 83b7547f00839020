"""Torch as an optional dependency: whether it is there, its device, its random state, its files.

Torch is imported inside functions, so importing this module costs nothing and needs nothing.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ilion.errors import ConfigError, ExtractionError, MissingExtraError
from ilion.storage import write_bytes


def extra_library(name: str, what: str, extra: str = "torch") -> Any:
    """Import a library of an extra.

    Args:
        name: The library's module.
        what: Request of the user.
        extra: The extra that installs it.

    Raises:
        MissingExtraError: The library is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(what, extra) from error


def torch_device(name: str) -> Any:
    """Return the torch device of a setting.

    Args:
        name: ``auto`` (CUDA, then MPS, then the CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        ConfigError: No such kind of device.
        ExtractionError: The machine does not have it.
    """
    import torch

    mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (":" in name and not (kind == "cuda" and number.isdigit())):
        raise ConfigError(f"device {name!r} is not one of auto, cpu, cuda, cuda:N, mps")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ExtractionError(
            f"device {name!r}: torch sees {torch.cuda.device_count()} CUDA devices; use cpu"
        )
    if kind == "mps" and not mps:
        raise ExtractionError("device 'mps': this torch or this machine has no Metal support; use cpu")
    return torch.device(name)


def torch_computes(name: str) -> bool:
    """Return whether torch is installed and has a device faster than the CPU for a setting.

    Args:
        name: See `torch_device`.
    """
    if name == "cpu" or importlib.util.find_spec("torch") is None:
        return False
    try:
        return str(torch_device(name).type) != "cpu"
    except (ConfigError, ExtractionError):  # said by whatever is asked then
        return False


def check_device(name: str, what: str) -> None:
    """Check that a device can be used, before anything is computed; the CPU needs no torch.

    Args:
        name: See `torch_device`.
        what: Use of the device.

    Raises:
        MissingExtraError: Torch is not installed.
        ConfigError: No such kind of device.
        ExtractionError: The machine does not have it.
    """
    if name != "cpu":
        extra_library("torch", f"{what} on device {name!r}")
        torch_device(name)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random weights that depend on the seed alone, without touching the caller's random state."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def weights_digest(module: Any) -> str:
    """Return a digest of all weights of a module on the CPU: what they are, wherever they came from."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return "sha256:" + digest.hexdigest()


def read_torch(path: Path) -> dict[str, Any]:
    """Read a dict of tensors and plain values from a torch file.

    Raises:
        ConfigError: There is no such file.
        MissingExtraError: torch is not installed.
        ExtractionError: The file is damaged or holds anything else.
    """
    torch = extra_library("torch", str(path))
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises errors without a common base
        raise ExtractionError(
            f"{path}: not a torch file of tensors and plain values: {str(error).splitlines()[0]}. Where you "
            "trust it, load it once with torch and save its state dict alone"
        ) from error
    if not isinstance(content, dict):
        raise ExtractionError(f"{path}: expected a dict, found {type(content).__name__}")
    return content


def write_torch(path: Path, content: Mapping[str, Any]) -> None:
    """Write a torch file aside and rename it, so that a kill leaves the old one or the new one."""
    torch = extra_library("torch", str(path))
    out = io.BytesIO()
    torch.save(dict(content), out)
    write_bytes(path, out.getvalue())
