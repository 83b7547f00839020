"""Warps and filters whose results depend neither on OpenCV's version nor on the processor's instructions.

OpenCV computes where a pixel comes from in ways that changed between versions. Here NumPy does that in
float64, positions are rounded to 1/32 pixel, and OpenCV only interpolates between 8-bit pixels with
whole-number weights.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

_STEPS = 32
"""Positions that OpenCV tells apart between two pixels."""
_FAR = 16_000
"""Largest coordinate of a source in pixels; OpenCV holds them in 16 bits."""


def remap(
    image: NDArray[Any], x: NDArray[Any], y: NDArray[Any], border: int, onto: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Return the pixels of an image at the given positions, interpolated linearly.

    Args:
        image: (h, w) or (h, w, C), at most 16,000 pixels on a side.
        x: (H, W) columns of the image; what is not finite lies outside.
        y: (H, W) rows.
        border: OpenCV's kind of border; ``cv2.BORDER_TRANSPARENT`` leaves the pixels of ``onto`` as they are.
        onto: (H, W) or (H, W, C) picture that is changed in place; None starts a new one.
    """
    rows, columns = image.shape[:2]
    whole = np.empty((*x.shape, 2), np.int16)
    part = np.zeros(x.shape, np.uint16)
    for axis, (at, size) in enumerate(((x, columns), (y, rows))):
        steps = np.rint(np.multiply(at, _STEPS, dtype=np.float64))
        limit = float(_FAR * _STEPS)
        if border == cv2.BORDER_WRAP:
            steps = np.mod(np.nan_to_num(steps, nan=0.0, posinf=0.0, neginf=0.0), size * _STEPS)
        fixed = np.clip(np.nan_to_num(steps, nan=-limit), -limit, limit).astype(np.int32)
        whole[..., axis] = fixed >> 5
        part += ((fixed & 31) * (_STEPS if axis else 1)).astype(np.uint16)
    out: NDArray[Any] = cv2.remap(image, whole, part, cv2.INTER_LINEAR, dst=onto, borderMode=border)
    return out


def warp(
    image: NDArray[Any],
    matrix: NDArray[Any],
    size: tuple[int, int],
    border: int,
    onto: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return an image seen through a homography or an affine map.

    Args:
        image: (h, w) or (h, w, C).
        matrix: (3, 3) or (2, 3), from pixels of the image to pixels of the result.
        size: Width and height of the result.
        border: See `remap`.
        onto: See `remap`.
    """
    full: F64 = np.eye(3)
    full[: len(matrix)] = matrix
    (a, b, c), (d, e, f), (g, h, i) = _adjugate(full)
    u = np.arange(size[0], dtype=np.float64)[None, :]
    v = np.arange(size[1], dtype=np.float64)[:, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        depth = g * u + h * v + i
        return remap(image, (a * u + b * v + c) / depth, (d * u + e * v + f) / depth, border, onto)


def _adjugate(m: F64) -> F64:
    """Return the inverse up to a factor, which a homography does not need."""
    return np.array([np.cross(m[1], m[2]), np.cross(m[2], m[0]), np.cross(m[0], m[1])]).T


def convolve(image: NDArray[Any], across: NDArray[Any], down: NDArray[Any]) -> F64:
    """Return an image (h, w) or (h, w, C) filtered by two odd kernels in float64, mirrored at its borders."""
    out = np.asarray(image, np.float64)
    for axis, kernel in ((1, across), (0, down)):
        weights = np.asarray(kernel, np.float64).ravel()
        reach = len(weights) // 2
        pad = [(reach, reach) if k == axis else (0, 0) for k in range(out.ndim)]
        padded, length = np.pad(out, pad, mode="reflect"), out.shape[axis]
        out = np.zeros_like(out)
        for k, weight in enumerate(weights):
            out += weight * np.take(padded, range(k, k + length), axis=axis)
    return out


def smooth(image: NDArray[Any], sigma: float) -> F64:
    """Return an image (h, w) or (h, w, C) blurred by a Gaussian of ``sigma`` pixels, in float64."""
    reach = int(np.ceil(4 * sigma))
    kernel = np.exp(-np.square(np.arange(-reach, reach + 1)) / (2 * sigma**2))
    return convolve(image, kernel / kernel.sum(), kernel / kernel.sum())


def enlarge(image: NDArray[Any], size: tuple[int, int], *, cubic: bool = True) -> F64:
    """Return an image (h, w) or (h, w, C) enlarged in float64, by cubic or linear interpolation.

    The same formula as OpenCV's (``a = -0.75``; what lies outside repeats the border).

    Args:
        image: Any number of channels.
        size: Width and height of the result.
        cubic: Whether four pixels take part along each axis instead of two.
    """
    out = np.asarray(image, np.float64)
    for axis, length in ((0, size[1]), (1, size[0])):
        before = out.shape[axis]
        at = (np.arange(length) + 0.5) * before / length - 0.5
        first = np.floor(at)
        parts: F64 = np.zeros((*out.shape[:axis], length, *out.shape[axis + 1 :]))
        for tap in (-1, 0, 1, 2) if cubic else (0, 1):
            weight = _cubic(np.abs(at - first - tap)) if cubic else 1 - np.abs(at - first - tap)
            rows = np.clip(first + tap, 0, before - 1).astype(np.int64)
            shape = [length if k == axis else 1 for k in range(out.ndim)]
            parts += weight.reshape(shape) * np.take(out, rows, axis=axis)
        out = parts
    return out


def _cubic(far: F64, a: float = -0.75) -> F64:
    """Return Keys' weights of pixels at a distance in [0, 2]."""
    near = ((a + 2) * far - (a + 3)) * far * far + 1
    return np.where(far <= 1, near, ((a * far - 5 * a) * far + 8 * a) * far - 4 * a)


def streak(image: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return an 8-bit image (h, w, C) filtered by an odd square kernel of whole numbers over their sum."""
    reach = len(counts) // 2
    rows, columns = image.shape[:2]
    padded = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REFLECT_101).astype(np.int32)
    total = int(counts.sum())
    out = np.full(image.shape, total // 2, np.int32)
    for y, x in np.argwhere(counts):
        out += int(counts[y, x]) * padded[y : y + rows, x : x + columns]
    return (out // total).astype(np.uint8)
