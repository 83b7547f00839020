"""Pooling of many local responses to one vector.

All functions take and return either a NumPy array or a torch tensor: they use only what both offer, so one
definition serves the CPU and the accelerator. Letters: B images, C channels, H x W the map, T tokens.
Nothing is L2-normalised on return; `l2_normalise` does that. Give float32: `gem` cubes its input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

from ilion.errors import ConfigError

Array: TypeAlias = Any
"""A float32 NumPy array or torch tensor; NumPy's types cannot say "either"."""

Region = tuple[int, int, int]
"""Top, left and side of a square of a map."""

GEM_POWER = 3.0
"""Exponent of generalised-mean pooling without fine-tuning (Radenović et al., PAMI 2018)."""
GEM_FLOOR = 1e-6
"""Responses are raised to at least this before the power (same source); negative ones do not count."""
RMAC_LEVELS = 3
"""Scales of R-MAC (Tolias et al., ICLR 2016)."""
RMAC_OVERLAP = 0.4
"""Overlap of neighbouring regions that R-MAC comes as close to as it can (same source)."""


def _max(x: Array, axis: tuple[int, int]) -> Array:
    # The one operation whose name differs: torch's `max` returns positions too.
    return x.amax(axis=axis) if hasattr(x, "amax") else x.max(axis=axis)


def l2_normalise(x: Array) -> Array:
    """Scale each row to length 1; a row of zeros stays zero.

    Args:
        x: (B, D).

    Returns:
        (B, D).

    >>> import numpy as np
    >>> l2_normalise(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    norm = (x * x).sum(axis=1, keepdims=True) ** 0.5
    return x / norm.clip(1e-12)


def gap(maps: Array) -> Array:
    """Global average pooling.

    Args:
        maps: (B, C, H, W).

    Returns:
        (B, C).

    >>> import numpy as np
    >>> gap(np.array([[[[1.0, 2.0], [3.0, 6.0]]]])).tolist()
    [[3.0]]
    """
    return maps.mean(axis=(2, 3))


def mac(maps: Array) -> Array:
    """Maximum activation of each channel (Tolias et al., ICLR 2016).

    Args:
        maps: (B, C, H, W).

    Returns:
        (B, C).

    >>> import numpy as np
    >>> mac(np.array([[[[1.0, 2.0], [3.0, 6.0]]]])).tolist()
    [[6.0]]
    """
    return _max(maps, (2, 3))


def gem(maps: Array) -> Array:
    """Generalised mean with exponent 3 (Radenović et al., PAMI 2018): between the average and the maximum.

    Args:
        maps: (B, C, H, W).

    Returns:
        (B, C).

    >>> import numpy as np
    >>> gem(np.array([[[[1.0, 2.0], [3.0, 0.0]]]])).round(4).tolist()
    [[2.0801]]
    """
    floored = maps.clip(GEM_FLOOR)
    # Two products are many times faster than a general power.
    return (floored * floored * floored).mean(axis=(2, 3)) ** (1 / GEM_POWER)


def rmac_regions(height: int, width: int) -> tuple[Region, ...]:
    """Return the square regions of R-MAC (Tolias et al., ICLR 2016, section 4).

    At level l the side is ``2 min(H, W) / (l + 1)``, rounded down; l regions lie along the shorter and
    l + m - 1 along the longer side, evenly spaced. The number m is chosen so that neighbours of the first
    level overlap as closely as possible to 40%. A square map has m = 1.

    Args:
        height: H of the map, at least 1.
        width: W of the map, at least 1.

    Returns:
        (top, left, side) of each region, coarse to fine, row by row; a side of 0 is left out.

    >>> rmac_regions(2, 3)[:3]
    ((0, 0, 2), (0, 1, 2), (0, 0, 1))
    """
    short, long = min(height, width), max(height, width)
    extra = long - short
    along = 1
    if extra:
        most = 2 + math.ceil(extra / (short * (1 - RMAC_OVERLAP)))
        along = min(range(2, most + 1), key=lambda m: abs(1 - extra / ((m - 1) * short) - RMAC_OVERLAP))
    regions: list[Region] = []
    for level in range(1, RMAC_LEVELS + 1):
        side = 2 * short // (level + 1)
        if side == 0:
            continue
        tops = _starts(height, side, level + (along - 1 if height > width else 0))
        lefts = _starts(width, side, level + (along - 1 if width > height else 0))
        regions += [(top, left, side) for top in tops for left in lefts]
    return tuple(regions)


def _starts(length: int, side: int, count: int) -> list[int]:
    """Return ``count`` evenly spaced positions of a window of ``side`` in ``length``, rounded down."""
    if count == 1:
        return [0]
    return [i * (length - side) // (count - 1) for i in range(count)]


def _regional(maps: Array, inner: Callable[[Array], Array]) -> Array:
    height, width = maps.shape[2:]
    return sum(
        l2_normalise(inner(maps[:, :, top : top + side, left : left + side]))
        for top, left, side in rmac_regions(height, width)
    )


def rmac(maps: Array) -> Array:
    """Sum of the L2-normalised `mac` of the regions of `rmac_regions` (Tolias et al., ICLR 2016).

    The paper whitens each region before the sum; here nothing is learnt. Some public code adds the whole map
    as one more region; the paper does not.

    Args:
        maps: (B, C, H, W).

    Returns:
        (B, C).

    >>> import numpy as np
    >>> rmac(np.ones((1, 4, 2, 2))).tolist()  # 1 + 4 + 9 regions, each (0.5, 0.5, 0.5, 0.5)
    [[7.0, 7.0, 7.0, 7.0]]
    """
    return _regional(maps, mac)


def rgem(maps: Array) -> Array:
    """Sum of the L2-normalised `gem` of the regions of `rmac_regions` (Radenović et al., PAMI 2018).

    Args:
        maps: (B, C, H, W).

    Returns:
        (B, C).

    >>> import numpy as np
    >>> rgem(np.ones((1, 4, 2, 2))).round(6).tolist()
    [[7.0, 7.0, 7.0, 7.0]]
    """
    return _regional(maps, gem)


MAP_POOLINGS: Mapping[str, Callable[[Array], Array]] = {
    function.__name__: function for function in (gap, mac, gem, rmac, rgem)
}
"""The poolings that work on any map of local responses."""

Pooling = Literal["head", "cls", "gap", "mac", "gem", "rmac", "rgem"]
"""All poolings: ``head`` takes the model's own output, ``cls`` the first token."""
POOLINGS: tuple[str, ...] = get_args(Pooling)


def tokens_to_maps(tokens: Array, grid: tuple[int, int], prefix: int) -> Array:
    """Lay the patch tokens of a vision transformer out as a map.

    Args:
        tokens: (B, T, C), T = prefix + H W, patches row by row.
        grid: (H, W) in patches.
        prefix: Tokens before the patches (class token, registers).

    Returns:
        (B, C, H, W).

    >>> import numpy as np
    >>> tokens_to_maps(np.arange(5.0).reshape(1, 5, 1), (2, 2), 1).tolist()
    [[[[1.0, 2.0], [3.0, 4.0]]]]
    """
    height, width = grid
    batch, _, channels = tokens.shape
    return tokens[:, prefix:].swapaxes(1, 2).reshape(batch, channels, height, width)


def pool(output: Array, pooling: str, grid: tuple[int, int] | None = None, prefix: int = 1) -> Array:
    """Pool whatever a network returned.

    Args:
        output: (B, D), (B, C, H, W), or tokens (B, T, C).
        pooling: A name in `POOLINGS`.
        grid: (H, W) of the patches; needed to pool tokens other than by ``cls``.
        prefix: Tokens before the patches.

    Returns:
        (B, D) or (B, C), not normalised.

    Raises:
        ConfigError: The pooling is unknown or does not fit what the network returns.

    >>> import numpy as np
    >>> pool(np.ones((1, 5, 3)), "gap", grid=(2, 2)).tolist()
    [[1.0, 1.0, 1.0]]
    """
    if pooling not in POOLINGS:
        raise ConfigError(f"pooling {pooling!r} is not one of {', '.join(POOLINGS)}")
    shape = tuple(output.shape)
    if pooling == "head" and (len(shape) == 2 or shape[2:] == (1, 1)):
        return output.reshape(shape[:2])
    if pooling == "cls" and len(shape) == 3 and prefix > 0:
        return output[:, 0]
    if pooling in MAP_POOLINGS and len(shape) == 4:
        return MAP_POOLINGS[pooling](output)
    if pooling in MAP_POOLINGS and len(shape) == 3:
        if grid is None or prefix + grid[0] * grid[1] != shape[1]:
            raise ConfigError(
                f"pooling {pooling!r} needs the patch grid: {shape[1]} tokens, of which {prefix} come before "
                f"the patches, do not fit a grid of {grid}; pooling cls works without"
            )
        return MAP_POOLINGS[pooling](tokens_to_maps(output, grid, prefix))
    fits = {2: ("head",), 3: (("cls",) if prefix else ()) + tuple(MAP_POOLINGS), 4: tuple(MAP_POOLINGS)}.get(
        len(shape), ()
    )
    raise ConfigError(
        f"pooling {pooling!r} does not fit a model output of shape {shape}; "
        + (f"use one of {', '.join(fits)}" if fits else "name another output")
    )


def token_grid(height: int, width: int, patches: int) -> tuple[int, int] | None:
    """Find the patch grid of an input from its number of patch tokens, for models that do not say.

    Args:
        height: Input height in pixels.
        width: Input width in pixels.
        patches: Patch tokens, without class token and registers.

    Returns:
        (H, W) in patches, or None when no square patch divides both sides into that many.

    >>> token_grid(224, 448, 512)
    (16, 32)
    """
    for patch in range(1, min(height, width) + 1):
        if height % patch == 0 and width % patch == 0 and height * width == patches * patch * patch:
            return height // patch, width // patch
    return None
