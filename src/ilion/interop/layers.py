"""Adaptation layers as files: a torch state dict with ``layer.weight`` and ``layer.bias``, without torch.

The adapted descriptor is the L2-normalised ``weight @ descriptor + bias``, as in the ILIAS benchmark.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.storage.statedict import read_state_dict, write_state_dict
from ilion.types import Float32
from ilion.wording import counted

WEIGHT, BIAS = "layer.weight", "layer.bias"


def read_layer(path: Path) -> tuple[Float32, Float32]:
    """Read an adaptation layer; nothing in the file is executed.

    Args:
        path: A torch file whose state dict holds ``layer.weight`` (D', D) and ``layer.bias`` (D',). The names
            may be preceded by those of outer modules, or lack ``layer.``, if there is one such pair only. A
            layer without a bias has one of zeros.

    Returns:
        (D', D) float32 weight and (D',) float32 bias; half precision is widened, double precision rounded.

    Raises:
        ArtifactError: The file is missing, no state dict, or holds no layer, several, or one that cannot be
            applied.
    """
    state = read_state_dict(path)
    found = [name for name in state if name in ("weight", WEIGHT) or name.endswith(f".{WEIGHT}")]
    if WEIGHT in state:
        found = [WEIGHT]
    if len(found) != 1:
        seen = ", ".join(sorted(state)[:5]) or "no tensor"
        raise ArtifactError(
            f"{path}: holds {counted(len(found), 'adaptation layer') if found else 'no adaptation layers'} "
            f"({seen}); a layer is one pair of {WEIGHT!r} and {BIAS!r}"
        )
    weight = state[found[0]]
    bias = state.get(found[0].removesuffix("weight") + "bias", np.zeros(len(weight), np.float32))
    _check(weight, bias, str(path))
    return weight.astype(np.float32), bias.astype(np.float32)


def write_layer(path: Path, weight: Float32, bias: Float32) -> None:
    """Write an adaptation layer as torch does, so that ``torch.load(path, weights_only=True)`` reads it.

    Args:
        path: The file; written aside and renamed.
        weight: (D', D) float32.
        bias: (D',) float32.

    Raises:
        ArtifactError: Shapes do not fit, a value is not finite, or the file cannot be written.
    """
    weight, bias = np.asarray(weight, np.float32), np.asarray(bias, np.float32)
    _check(weight, bias, str(path))
    write_state_dict(path, {WEIGHT: weight, BIAS: bias})


def _check(weight: NDArray[Any], bias: NDArray[Any], where: str) -> None:
    if weight.ndim != 2 or bias.shape != weight.shape[:1] or 0 in weight.shape:
        raise ArtifactError(
            f"{where}: a layer needs a weight (D', D) and a bias (D',), got {weight.shape} and {bias.shape}"
        )
    for name, values in ((WEIGHT, weight), (BIAS, bias)):
        if values.dtype.kind != "f":
            raise ArtifactError(f"{where}: {name} holds {values.dtype}, not floats")
        with np.errstate(over="ignore"):
            kept = values.astype(np.float32)
        if not np.isfinite(kept).all():
            raise ArtifactError(f"{where}: {name} holds NaN or infinity, or more than float32 can hold")
