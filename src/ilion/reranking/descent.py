"""One way to learn the small networks of re-ranking: AdamW with clipped gradients, warm-up and cosine."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

log = logging.getLogger(__name__)

Tensor = Any
"""A torch tensor."""
Progress = Callable[[int, int], None]
"""Callback that receives the number of steps done and of all steps."""
_LOG_EVERY = 100
_LARGEST_GRADIENT = 1.0


class Schedule(Protocol):
    """What a training says of its steps."""

    @property
    def steps(self) -> int:
        """Batches."""
        ...

    @property
    def learning_rate(self) -> float:
        """Peak of the rate."""
        ...

    @property
    def weight_decay(self) -> float:
        """Weight decay of AdamW."""
        ...


def start_optimiser(weights: Mapping[str, Tensor], schedule: Schedule) -> Any:
    """Return an optimiser of weights that want gradients."""
    import torch

    return torch.optim.AdamW(list(weights.values()), weight_decay=schedule.weight_decay)


def descend(
    name: str,
    weights: Mapping[str, Tensor],
    optimiser: Any,
    loss_of: Callable[[int], Tensor],
    schedule: Schedule,
    *,
    rise: int = 20,
    start: int = 0,
    after: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """Change weights in place, one batch a step.

    Args:
        name: Name in the log.
        weights: Name -> tensor, those of the optimiser.
        optimiser: See `start_optimiser`.
        loss_of: Function that returns the loss of a step's batch; steps count from 0.
        schedule: Number of steps and rate.
        rise: The rate rises over the first of so many parts of the steps.
        start: First step, of a training that goes on.
        after: Callback that receives the number of steps done, before ``progress``.
        progress: See `Progress`.
    """
    import torch

    for step in range(start, schedule.steps):
        loss = loss_of(step)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), _LARGEST_GRADIENT)
        optimiser.param_groups[0]["lr"] = learning_rate(step, schedule, rise)
        optimiser.step()
        done = step + 1
        if done % _LOG_EVERY == 0:
            log.info("%s training: step %d of %d, loss %.4f", name, done, schedule.steps, loss.item())
        if after:
            after(done)
        if progress:
            progress(done, schedule.steps)


def learning_rate(step: int, schedule: Schedule, rise: int = 20) -> float:
    """Return the rate of a step: a linear rise over one of ``rise`` parts, then half a cosine.

    >>> from ilion.reranking.ames.training import TrainingOptions
    >>> options = TrainingOptions(steps=100, learning_rate=1.0)
    >>> [round(learning_rate(step, options), 2) for step in (0, 4, 52, 99)]
    [0.2, 1.0, 0.51, 0.0]
    """
    first = max(1, schedule.steps // rise)
    if step < first:
        return schedule.learning_rate * (step + 1) / first
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - first) / (schedule.steps - first)))
