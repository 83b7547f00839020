"""ELViS (Suma et al., ICLR 2026, arXiv 2603.28603): a small network over a transport plan of features.

Descriptors are projected, brought to unit length and shared out by Sinkhorn scaling, with a spare place whose
similarity a small network says for each of them. A function of one number then weighs the best share of each
descriptor, and the score is their sum. About 100,000 numbers; no torch is needed.

Weights are those of the public checkpoints (binarised ones excepted), by name:
``remap_local.0`` Linear (128, local), ``remap_local.1`` LayerNorm, ``f.0`` Linear (16, 1), ``f.1`` LayerNorm,
``f.3`` Linear (1, 16), ``g.0`` and ``g.2`` (in training only), ``dust_bin``, ``dust_bin_mlp.0`` and ``.2``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError, ConfigError, ExtractionError
from ilion.reranking.base import SCORERS, Findings, Scorer, ScorerOptions, mark_unknown
from ilion.reranking.transport import ITERATIONS, TEMPERATURE, transport
from ilion.storage.statedict import read_state_dict, write_state_dict
from ilion.types import Float32, Float64, LocalFeatures, Value
from ilion.wording import counted

STEEPNESS, LAMBDA = 0.5, 0.5
"""Fusion where the authors' is not known: sigmoid(steepness x score) beside lambda x global similarity."""
_TRAINING_ONLY = re.compile(r"g\.\d")
_TABLE = 6.0, 1 / 256
"""Range and step of the table of the error function; beyond it, erf is 1 to 1e-17."""


def parameter_shapes(local: int, dim: int = 128, embed: int = 16) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of the weights that the score depends on.

    Args:
        local: Numbers of a local descriptor.
        dim: Numbers after projection.
        embed: Width of the function of one number.

    >>> sum(math.prod(shape) for shape in parameter_shapes(768).values())
    115411
    """
    return {
        "remap_local.0.weight": (dim, local),
        "remap_local.0.bias": (dim,),
        "remap_local.1.weight": (dim,),
        "remap_local.1.bias": (dim,),
        "f.0.weight": (embed, 1),
        "f.0.bias": (embed,),
        "f.1.weight": (embed,),
        "f.1.bias": (embed,),
        "f.3.weight": (1, embed),
        "f.3.bias": (1,),
        "dust_bin": (),
        "dust_bin_mlp.0.weight": (dim, dim),
        "dust_bin_mlp.0.bias": (dim,),
        "dust_bin_mlp.2.weight": (1, dim),
        "dust_bin_mlp.2.bias": (1,),
    }


@dataclass(frozen=True)
class Elvis(Value):
    """The network.

    Args:
        weights: Name -> array; see `parameter_shapes`.
    """

    weights: Mapping[str, Float64]

    @property
    def local_dim(self) -> int:
        """Numbers of a local descriptor."""
        return int(self.weights["remap_local.0.weight"].shape[1])

    def describe(self, descriptors: NDArray[Any]) -> tuple[Float64, Float64]:
        """Project descriptors.

        Args:
            descriptors: (M, local) of any real type.

        Returns:
            (M, dim) rows of unit length, and (M,) the similarity of each to a spare place, in [-1, 1].

        Raises:
            ArtifactError: The descriptors have another length.
        """
        if descriptors.ndim != 2 or descriptors.shape[1] != self.local_dim:
            raise ArtifactError(
                f"ELViS: descriptors have shape {descriptors.shape}, but the network takes {self.local_dim} "
                "numbers each; extract the features that it was trained with"
            )
        rows = self._norm(
            self._linear(descriptors.astype(np.float64), "remap_local.0"), "remap_local.1", 1e-5
        )
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        spare = np.tanh(self._linear(gelu(self._linear(rows, "dust_bin_mlp.0")), "dust_bin_mlp.2"))[:, 0]
        return rows, spare

    def compare(self, query: tuple[Float64, Float64], image: tuple[Float64, Float64]) -> float:
        """Compare what `describe` returned for two images; a sum over the features of both, not negative."""
        (rows, spare), (columns, other) = query, image
        both = float(self.weights["dust_bin"])
        plan = transport(
            rows @ columns.T, temperature=TEMPERATURE, iterations=ITERATIONS, spare=(spare, other, both)
        )
        best = np.concatenate([plan.max(axis=1), plan.max(axis=0)])[:, None]
        weighed = self._linear(gelu(self._norm(self._linear(best, "f.0"), "f.1", 1e-6)), "f.3")
        return float((0.5 + 0.5 * np.tanh(0.5 * weighed)).sum())

    def _linear(self, values: Float64, name: str) -> Float64:
        return np.asarray(values @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"])

    def _norm(self, values: Float64, name: str, epsilon: float) -> Float64:
        centred = values - values.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + epsilon)
        return np.asarray(scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"])


def _erf_table() -> tuple[Float64, Float64]:
    reach, step = _TABLE
    places = np.arange(-reach, reach + 2 * step, step)
    values = np.array([math.erf(x) for x in places])
    return values, 2 / math.sqrt(math.pi) * np.exp(-(places**2)) * step


_ERF, _SLOPE = _erf_table()


def gelu(values: Float64) -> Float64:
    """Return x times the normal distribution function of x, to 1e-11.

    >>> gelu(np.array([-1.0, 0.0, 2.0])).round(6).tolist()
    [-0.158655, 0.0, 1.9545]
    """
    reach, step = _TABLE
    at = (np.clip(values / math.sqrt(2), -reach, reach) + reach) / step
    cell = at.astype(np.int64)
    t = at - cell
    # cubic Hermite interpolation between the places of the table
    low, high, before, after = _ERF[cell], _ERF[cell + 1], _SLOPE[cell], _SLOPE[cell + 1]
    change = high - low
    erf = low + t * (before + t * (3 * change - 2 * before - after + t * (before + after - 2 * change)))
    return np.asarray(values * 0.5 * (1 + erf))


def load(path: Path) -> Elvis:
    """Read a public checkpoint or a state dict; nothing in it is executed, and torch is not needed.

    Raises:
        ArtifactError: There is no such file, or it is damaged.
        ExtractionError: The file is no ELViS network, or a binarised one.
    """
    found = read_state_dict(path)
    state = {re.sub(r"^(state\.|module\.|_orig_mod\.)+", "", name): value for name, value in found.items()}
    if "remap_local.0.W" in state:
        raise ExtractionError(f"{path}: a binarised network; give one that takes full descriptors")
    if "remap_local.0.weight" not in state or "f.0.weight" not in state:
        seen = ", ".join(list(state)[:5]) or "(none)"
        raise ExtractionError(f"{path}: not an ELViS network; its tensors are {seen} ...")
    dim, local = state["remap_local.0.weight"].shape
    wanted = parameter_shapes(local, dim, len(state["f.0.weight"]))
    wrong = [
        f"{name} is {state[name].shape if name in state else 'missing'}, not {shape}"
        for name, shape in wanted.items()
        if name not in state or state[name].shape != shape
    ]
    wrong += [
        f"{name} is not known" for name in state if name not in wanted and not _TRAINING_ONLY.match(name)
    ]
    if wrong:
        raise ExtractionError(
            f"{path}: {counted(len(wrong), 'tensor does', 'tensors do')} not fit: {'; '.join(wrong[:3])}"
        )
    return Elvis({name: np.asarray(state[name], np.float64) for name in wanted})


def save(network: Elvis, path: Path) -> None:
    """Write a network as a state dict, with the function of the training where it was just trained."""
    write_state_dict(path, {name: np.asarray(a, np.float32) for name, a in network.weights.items()})


@SCORERS.register("elvis", note="a small network over a transport plan of features")
@dataclass(frozen=True)
class ElvisScorer(Scorer):
    """A learned similarity of sets, brought from sums to (0, 1) by a sigmoid.

    Args:
        network: The network.
        steepness: Factor of the score inside the sigmoid.
        share: Factor beside the global similarity.
    """

    network: Elvis
    steepness: float = STEEPNESS
    share: float = (1 - LAMBDA) / LAMBDA
    original = takes_weights = True

    @classmethod
    def check(cls, features: str, weights: str) -> None:
        """Refuse to run without weights."""
        if not weights:
            raise ConfigError("rerank.scorer = 'elvis' needs rerank.weights: a file (docs/matching.md)")

    @classmethod
    def plan(cls, options: ScorerOptions) -> tuple[Scorer, dict[str, object]]:
        """Load the network for some features."""
        network = load(Path(options.weights))
        options.check_dim(network.local_dim)
        return cls(network), {"steepness": STEEPNESS}

    def logits(self, query: LocalFeatures, images: Sequence[LocalFeatures]) -> Float32:
        """Return (n,) sums of the network; 0 where one side has no features."""
        found = np.zeros(len(images), np.float32)
        if len(query.keypoints):
            asked = self.network.describe(query.descriptors)
            for number, image in enumerate(images):
                if len(image.keypoints):
                    found[number] = self.network.compare(asked, self.network.describe(image.descriptors))
        return found

    def score(self, query: LocalFeatures, images: Sequence[LocalFeatures]) -> Findings:
        """Score by the network."""
        values = self.logits(query, images).astype(np.float64)
        return mark_unknown(query, images, 0.5 + 0.5 * np.tanh(0.5 * self.steepness * values))
