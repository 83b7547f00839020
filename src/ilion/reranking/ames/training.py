"""Learn an AMES network from instance labels.

As in the paper: as many matching as non-matching pairs, binary cross-entropy, and for each batch a random
number of descriptors an image, so that one network serves any number (its "universal" model); a binary
network learns through a smooth sign and can also learn from a teacher. The optimiser's settings are our own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError, ConfigError, DatasetError
from ilion.localfeatures.codecs.learnt import learn_rotation
from ilion.reranking.ames.network import Ames, AmesConfig, Tensor, compare, initialise, tokens
from ilion.reranking.ames.scoring import pad, squash
from ilion.reranking.ames.weights import check_shapes
from ilion.reranking.descent import Progress, descend, start_optimiser
from ilion.runtime.torch import extra_library, read_torch, torch_device, write_torch
from ilion.storage import fingerprint
from ilion.types import Float32, Float64, Int64, LocalFeatures
from ilion.wording import counted

log = logging.getLogger(__name__)

Teacher = Callable[[Int64, Int64], Float64]
"""From rows of P pairs of images to (P,) probabilities that they match."""

_ROTATION_SAMPLE = 20_000


@dataclass(frozen=True)
class TrainingOptions:
    """Settings of the training of a network.

    Args:
        steps: Batches.
        pairs: Pairs a batch, half of them matching.
        learning_rate: Peak of the rate, which rises linearly over the first twentieth and falls as a cosine.
        weight_decay: Weight decay of AdamW.
        fewest: Fewest descriptors an image in a batch.
        most: Most descriptors an image in a batch.
        hard: Share of non-matching pairs taken from the ``neighbours`` of the first image, where given.
        distillation: Weight of the teacher's probabilities against the labels, in [0, 1].
        sigma: Variance of the smooth sign of a binary network (paper: 1e-6).
        checkpoint_every: Steps between two checkpoints.
        seed: Seed of weights and batches.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``.

    Raises:
        ConfigError: A number is out of range.
    """

    steps: int = 20_000
    pairs: int = 64
    learning_rate: float = 2e-4
    weight_decay: float = 1e-4
    fewest: int = 10
    most: int = 400
    hard: float = 0.5
    distillation: float = 0.5
    sigma: float = 1e-6
    checkpoint_every: int = 1000
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if (
            min(self.steps, self.checkpoint_every, self.fewest) < 1
            or self.pairs < 2
            or self.most < self.fewest
        ):
            raise ConfigError(f"AMES training: a number of steps, pairs or descriptors is too small: {self}")
        if not (0 <= self.hard <= 1 and 0 <= self.distillation <= 1):
            raise ConfigError("AMES training: hard and distillation are shares in [0, 1]")
        if min(self.learning_rate, self.sigma) <= 0 or self.weight_decay < 0:
            raise ConfigError(
                "AMES training: learning_rate and sigma must be positive, weight_decay not negative"
            )


def train(
    features: Sequence[LocalFeatures],
    labels: Sequence[str],
    config: AmesConfig,
    options: TrainingOptions,
    *,
    neighbours: Int64 | None = None,
    teacher: Teacher | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Ames:
    """Learn a network; the same input and seed give the same network on the same machine.

    Args:
        features: N images, read as they are needed. Those of a batch are held at once.
        labels: N instances; pairs of one instance match.
        config: Sizes of the network.
        options: Settings of the training.
        neighbours: (N, K) rows of the images nearest to each by global similarity: the look-alikes that a
            re-ranker must tell apart. None draws all non-matching pairs at random.
        teacher: See `global_teacher` and `model_teacher`.
        checkpoint: File that is written now and then, and from which an interrupted training goes on with
            exactly the result of an uninterrupted one.
        progress: See `Progress`.

    Raises:
        DatasetError: No instance has two images, or there is only one instance.
        ArtifactError: The checkpoint belongs to another training, or descriptors have another length.
        MissingExtraError: torch is not installed.
    """
    torch = extra_library("torch", "AMES")
    device = torch_device(options.device)
    sampler = PairSampler(labels, options, neighbours)
    model = initialise(config, options.seed)
    weights = {name: w.to(device) for name, w in model.weights.items()}
    if config.binary:
        weights["remap_local.0.W"] = torch.from_numpy(_learn_rotation(features, config, options.seed)).to(
            device
        )
    for tensor in weights.values():
        tensor.requires_grad_(True)
    optimiser = start_optimiser(weights, options)
    model = Ames(config, weights)
    identity = fingerprint(asdict(config), asdict(options), list(labels))
    start = 0
    if checkpoint and checkpoint.exists():
        start = _resume(checkpoint, identity, model, optimiser)
        log.info("AMES training goes on at step %d of %d", start, options.steps)

    def loss_of(step: int) -> Tensor:
        first, second, match = sampler.draw(step)
        targets = match
        if teacher:
            targets = (1 - options.distillation) * match + options.distillation * teacher(first, second)
        m, n = sampler.lengths(step)
        logits = _logits(
            model, [features[i] for i in first], [features[i] for i in second], m, n, options.sigma
        )
        wanted = torch.from_numpy(targets.astype(np.float32)).to(device)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)

    def store(done: int) -> None:
        if checkpoint and (done % options.checkpoint_every == 0 or done == options.steps):
            state = {name: w.detach() for name, w in weights.items()}
            content = {
                "identity": identity,
                "step": done,
                "state": state,
                "optimiser": optimiser.state_dict(),
            }
            write_torch(checkpoint, {"config": asdict(config), **content})

    descend("AMES", weights, optimiser, loss_of, options, start=start, after=store, progress=progress)
    return Ames(config, {name: w.detach().cpu() for name, w in weights.items()})


class PairSampler:
    """Draws pairs of images, the same ones for the same step.

    Args:
        labels: (N,) instances.
        options: ``pairs``, ``hard``, ``fewest``, ``most`` and ``seed`` are used.
        neighbours: (N, K) rows or None.

    Raises:
        DatasetError: No instance has two images, or there is only one instance.
        ArtifactError: ``neighbours`` has another length.
    """

    def __init__(self, labels: Sequence[str], options: TrainingOptions, neighbours: Int64 | None) -> None:
        names, self._instance = np.unique(np.array(labels, dtype=str), return_inverse=True)
        self._members = [np.flatnonzero(self._instance == i) for i in range(len(names))]
        self._anchors = [i for i, members in enumerate(self._members) if len(members) > 1]
        if not self._anchors or len(names) < 2:
            raise DatasetError(
                f"AMES training needs at least two instances and one with two images; got {len(labels)} "
                f"images of {counted(len(names), 'instance')}"
            )
        if neighbours is not None and len(neighbours) != len(labels):
            raise ArtifactError(
                f"{counted(len(neighbours), 'row')} of neighbours for {counted(len(labels), 'image')}"
            )
        self._options = options
        self._neighbours = neighbours

    def draw(self, step: int) -> tuple[Int64, Int64, Float64]:
        """Return the rows of the first and second images of P pairs, and 1 or 0 for a match."""
        rng = np.random.default_rng((self._options.seed, step))
        anchors, matching, other = [], [], []
        for _ in range(self._options.pairs // 2):
            members = self._members[self._anchors[rng.integers(len(self._anchors))]]
            anchor, partner = rng.choice(members, 2, replace=False)
            anchors.append(anchor)
            matching.append(partner)
            other.append(self._draw_other(int(anchor), rng))
        half = len(anchors)
        match = np.repeat(np.array([1.0, 0.0]), half)
        return np.array(anchors * 2, np.int64), np.array(matching + other, np.int64), match

    def lengths(self, step: int) -> tuple[int, int]:
        """Return how many descriptors the first and the second images of a batch keep."""
        rng = np.random.default_rng((self._options.seed, step, 1))
        first, second = rng.integers(self._options.fewest, self._options.most, 2, endpoint=True)
        return int(first), int(second)

    def _draw_other(self, anchor: int, rng: np.random.Generator) -> int:
        instance = self._instance[anchor]
        if self._neighbours is not None and rng.random() < self._options.hard:
            near = self._neighbours[anchor]
            near = near[self._instance[near] != instance]
            if len(near):
                return int(rng.choice(near))
        others = len(self._instance) - len(self._members[instance])
        # the n-th image of another instance, without building the list of them
        return int(_nth_outside(self._members[instance], int(rng.integers(others))))


def _nth_outside(excluded: Int64, n: int) -> int:
    """Return the n-th number from 0 on that is not in the sorted ``excluded``.

    >>> [_nth_outside(np.array([1, 2]), n) for n in range(3)]
    [0, 3, 4]
    """
    for number in excluded.tolist():
        n += number <= n
    return n


def global_teacher(descriptors: NDArray[np.floating], labels: Sequence[str], seed: int = 0) -> Teacher:
    """Return a teacher that trusts global similarity, calibrated on the labels (Platt, 1999).

    Args:
        descriptors: (N, D), each row L2-normalised.
        labels: (N,) instances.
        seed: Seed of the pairs on which it is calibrated.

    Raises:
        DatasetError: See `PairSampler`.
    """
    options = TrainingOptions(pairs=4096, seed=seed)
    first, second, match = PairSampler(labels, options, None).draw(0)

    def cosine(a: Int64, b: Int64) -> Float64:
        return np.asarray(np.einsum("nd,nd->n", descriptors[a], descriptors[b], dtype=np.float64))

    inputs = np.stack([cosine(first, second), np.ones(len(first))], axis=1)
    line = np.zeros(2)
    for _ in range(25):  # Newton's method on the logistic loss, with a little weight decay to keep it finite
        p = squash(inputs @ line)
        curvature = (inputs * (p * (1 - p))[:, None]).T @ inputs + 1e-3 * np.eye(2)
        line -= np.linalg.solve(curvature, inputs.T @ (p - match) + 1e-3 * line)
    return lambda a, b: squash(line[0] * cosine(a, b) + line[1])


def model_teacher(model: Ames, features: Sequence[LocalFeatures], count: int = 400) -> Teacher:
    """Return a teacher that is another network, such as a full-precision one for a binary one.

    Args:
        model: The teacher; it runs where its weights are.
        features: N images, those of the training with the descriptors that the teacher takes.
        count: Descriptors an image.
    """
    torch = extra_library("torch", "AMES")

    def teach(first: Int64, second: Int64) -> Float64:
        with torch.inference_mode():
            logits = _logits(model, [features[i] for i in first], [features[i] for i in second], count, count)
        return squash(logits.cpu().numpy().astype(np.float64))

    return teach


def _logits(
    model: Ames,
    first: Sequence[LocalFeatures],
    second: Sequence[LocalFeatures],
    m: int,
    n: int,
    sigma: float | None = None,
) -> Tensor:
    """Return (P,) similarities of P pairs of images, of which m and n descriptors are kept."""
    import torch

    device = model.weights["mtc_token"].device

    def side(images: Sequence[LocalFeatures], count: int) -> tuple[Tensor, Tensor]:
        parts = [image.descriptors[:count] for image in images]
        for part in parts:
            if part.shape[1:] != (model.config.local_dim,):
                raise ArtifactError(
                    f"AMES: descriptors of shape {part.shape}, but the network takes "
                    f"{counted(model.config.local_dim, 'dimension')}"
                )
        lengths = torch.tensor([len(part) for part in parts], device=device)
        padded = torch.from_numpy(pad(parts)).to(device)
        there = torch.arange(padded.shape[1], device=device) < lengths[:, None]
        return tokens(model, padded, sigma), there

    return compare(model, *side(first, m), *side(second, n))


def _learn_rotation(features: Sequence[LocalFeatures], config: AmesConfig, seed: int) -> Float32:
    """Learn the first projection of a binary network: iterative quantisation (Gong and Lazebnik, 2011).

    Returns:
        (local_dim, dim): the main directions of a sample of descriptors, rotated so that the signs lose
        least; where descriptors have fewer dimensions than bits, a random frame instead.
    """
    rng = np.random.default_rng(seed)
    if config.local_dim < config.dim:
        frame = np.linalg.qr(rng.standard_normal((config.dim, config.local_dim)))[0]
        return np.asarray(frame.T, np.float32)
    sample: list[NDArray[Any]] = []
    for row in rng.permutation(len(features)).tolist():
        sample.append(features[row].descriptors.astype(np.float64))
        if sum(len(part) for part in sample) >= _ROTATION_SAMPLE:
            break
    values = np.concatenate(sample)[:_ROTATION_SAMPLE]
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    directions = np.linalg.svd(values.T @ values)[0][:, : config.dim]
    projected = values @ directions
    rotation, _ = learn_rotation(projected, rng)
    return np.asarray(directions @ rotation, np.float32)


def _resume(path: Path, identity: str, model: Ames, optimiser: Any) -> int:
    """Put a checkpoint into a network and its optimiser; return the number of steps done."""
    import torch

    content = read_torch(path)
    if content.get("identity") != identity:
        raise ArtifactError(
            f"{path}: this checkpoint belongs to a training with other settings or labels; remove it or name "
            "another file"
        )
    check_shapes(content["state"], model.config, str(path))
    with torch.no_grad():
        for name, tensor in model.weights.items():
            tensor.copy_(content["state"][name])
    optimiser.load_state_dict(content["optimiser"])
    return int(content["step"])
