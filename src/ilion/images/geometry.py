"""From an upright image to what a model takes: crop, mask, rotate, resize, and batches of one shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from math import ceil, floor
from typing import TypeVar

import cv2
import numpy as np
from PIL import Image

from ilion.errors import ConfigError, ImageError
from ilion.types import RGB, Box, Float32, Float64, Resize

T = TypeVar("T")

FILL = (124, 116, 104)
"""RGB colour of padding and masks: the mean of ImageNet, so that it is near zero after normalisation."""

MAX_RESULT_PIXELS = 2**22
"""Most pixels that resize mode "short" may make of a strip of more than `_MAX_ASPECT` to 1; a network takes
hundreds of bytes for each."""

_MAX_ASPECT = 16

_HALVED = 6
"""Least factor at which pixels are first averaged two by two, which costs little and changes little."""

_HALVED_ALONE = 32
"""Least factor at which one axis alone is averaged, where the other hardly shrinks: fitting a filter takes
time that grows with the cube of the factor."""

_MARGIN = 1.5
"""Factor by which a JPEG decoded at a fraction is larger than needed, as the fraction's own filter is coarse.
With less, the cosine of EfficientNet descriptors to those after a full decode falls below 0.995."""


def least_size(mode: Resize, side: int) -> tuple[int, int]:
    """Return the least (longer side, shorter side) in pixels that `decode` should deliver before `resize`.

    >>> least_size("long", 384), least_size("short", 224), least_size("square", 224)
    ((576, 1), (336, 336), (336, 336))
    """
    if mode == "ilias":  # decodes everything, as its extractor does
        return (65535, 65535)
    least = ceil(_MARGIN * side)
    return (least, 1) if mode in ("long", "pad", "none") else (least, least)


def resize(image: RGB, mode: Resize, side: int, *, pad_multiple: int = 1) -> RGB:
    """Bring an image to the size that a model takes. An image that fits already is returned as it is.

    Args:
        image: (H, W, 3).
        mode: ``long``: the longer side becomes ``side``, aspect kept. ``short``: the shorter side does.
            ``square``: both do, aspect not kept. ``center-crop``: the central square, then ``square``.
            ``pad``: as ``long``, then centred on a square of `FILL`. ``none``: nothing. ``ilias``: as
            ``long``, with rounding and interpolation of the ILIAS benchmark's own extractor.
        side: Side in pixels, at least 1.
        pad_multiple: Number (the patch of a vision transformer) to a multiple of which height and width are
            then padded with `FILL`, evenly on both sides.

    Raises:
        ConfigError: Unknown mode, or a number that is not positive.
        ImageError: ``short`` would make a strip of more than 16 to 1 and of more than `MAX_RESULT_PIXELS`.

    >>> photo = np.zeros((300, 400, 3), np.uint8)
    >>> [resize(photo, mode, 200).shape[:2] for mode in ("long", "short", "square", "center-crop", "pad")]
    [(150, 200), (200, 267), (200, 200), (200, 200), (200, 200)]
    >>> resize(photo, "long", 200, pad_multiple=14).shape
    (154, 210, 3)
    """
    if side < 1 or pad_multiple < 1:
        raise ConfigError(f"side ({side}) and pad_multiple ({pad_multiple}) must be at least 1")
    height, width = image.shape[:2]
    longer, shorter = max(height, width), min(height, width)
    match mode:
        case "long" | "pad":
            result = _stretch(image, _scale(width, side, longer), _scale(height, side, longer))
        case "short":
            new_width, new_height = _scale(width, side, shorter), _scale(height, side, shorter)
            if new_width * new_height > max(MAX_RESULT_PIXELS, _MAX_ASPECT * side * side):
                raise ImageError(
                    f"an image of {width} x {height} pixels becomes {new_width} x {new_height} when its "
                    "shorter side is resized; use resize = long, square or pad, or leave this image out"
                )
            result = _stretch(image, new_width, new_height)
        case "square":
            result = _stretch(image, side, side)
        case "center-crop":
            top, left = (height - shorter) // 2, (width - shorter) // 2
            square = image if height == width else image[top : top + shorter, left : left + shorter]
            result = _stretch(square, side, side)
        case "ilias":
            result = _resize_as_ilias(image, side)
        case "none":
            result = image
        case _:
            raise ConfigError(
                f"unknown resize mode {mode!r}; use long, short, square, center-crop, pad, none or ilias"
            )
    if mode == "pad":
        result = _pad(result, side, side)
    height, width = result.shape[:2]
    return _pad(result, ceil(width / pad_multiple) * pad_multiple, ceil(height / pad_multiple) * pad_multiple)


def _resize_as_ilias(image: RGB, side: int) -> RGB:
    """Bring the longer side to ``side`` as the public extractor does: sides cut off, Pillow's bicubic."""
    height, width = image.shape[:2]
    ratio = height / width
    size = (side, max(1, int(side * ratio))) if ratio <= 1 else (max(1, int(side / ratio)), side)
    if size == (width, height):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def _scale(length: int, numerator: int, denominator: int) -> int:
    """Scale a length, rounded half up, at least one pixel."""
    return max(1, (2 * length * numerator + denominator) // (2 * denominator))


def _stretch(image: RGB, width: int, height: int) -> RGB:
    """Resize by OpenCV's cubic interpolation, after a low-pass filter along each axis that shrinks.

    Together they are the antialiased cubic interpolation of Pillow (BICUBIC), but for the edge of the image,
    at a fraction of its time. Enlarging is sharper than Pillow's by a hair, as OpenCV's kernel is.
    """
    old_height, old_width = image.shape[:2]
    if (old_width, old_height) == (width, height):
        return image
    while old_width >= _HALVED * width and old_height >= _HALVED * height:
        old_width, old_height = old_width // 2, old_height // 2
        even = image[: 2 * old_height, : 2 * old_width]
        image = np.asarray(cv2.resize(even, (old_width, old_height), interpolation=cv2.INTER_AREA), np.uint8)
    across = old_width // (8 * width) if old_width >= _HALVED_ALONE * width else 1
    down = old_height // (8 * height) if old_height >= _HALVED_ALONE * height else 1
    if across > 1 or down > 1:
        old_width, old_height = old_width // across, old_height // down
        even = image[: down * old_height, : across * old_width]
        image = np.asarray(cv2.resize(even, (old_width, old_height), interpolation=cv2.INTER_AREA), np.uint8)
    taps_x, taps_y = _low_pass(round(32 * old_width / width)), _low_pass(round(32 * old_height / height))
    if len(taps_x) > 1 or len(taps_y) > 1:
        image = np.asarray(
            cv2.sepFilter2D(image, -1, taps_x, taps_y, borderType=cv2.BORDER_REFLECT), np.uint8
        )
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@lru_cache(maxsize=512)
def _low_pass(factor_32: int) -> Float32:
    """Return the taps of the filter for shrinking by ``factor_32 / 32``; a single one when nothing shrinks.

    They are fitted so that the filter followed by OpenCV's interpolation is, as nearly as possible, the
    kernel of Pillow stretched by the factor. In steps of 1/32 a fit serves many image sizes.
    """
    factor = factor_32 / 32
    if factor <= 1:
        return np.ones(1, np.float32)
    reach = ceil(2 * factor)
    x = np.arange(-2 * factor - 3, 2 * factor + 3, 1 / 16)
    shifted = np.stack([_keys(x - tap, -0.75) for tap in range(-reach, reach + 1)], axis=1)
    taps = np.linalg.lstsq(shifted, _keys(x / factor, -0.5), rcond=None)[0]
    # Taps at the ends that change no pixel by a level of 8 bits are dropped. Exactly symmetric, for which
    # OpenCV is faster, and of sum 1, so that flat colours stay.
    taps = taps + taps[::-1]
    kept = np.flatnonzero(np.abs(taps / taps.sum()) >= 1 / 256)
    taps = taps[kept[0] : kept[-1] + 1]
    return np.asarray(taps / taps.sum(), np.float32)


def _keys(x: Float64, a: float) -> Float64:
    """Return the cubic kernel of Keys (1981); a is -0.5 in Pillow and -0.75 in OpenCV."""
    x = np.abs(x)
    near, far = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _pad(image: RGB, width: int, height: int) -> RGB:
    """Centre an image on a canvas of `FILL`."""
    old_height, old_width = image.shape[:2]
    if (old_width, old_height) == (width, height):
        return image
    top, left = (height - old_height) // 2, (width - old_width) // 2
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = FILL
    canvas[top : top + old_height, left : left + old_width] = image
    return canvas


def crop(image: RGB, boxes: Sequence[Box], margin: float = 0.0) -> RGB:
    """Cut out the smallest rectangle that holds all boxes; without boxes the image stays whole.

    One rectangle, because a query is described by one descriptor: an object in two parts stays one object.

    Args:
        image: (H, W, 3).
        boxes: Boxes in pixels of this image. What sticks out is clipped; touched pixels belong to the box.
        margin: Fraction of its width and height by which the rectangle is widened on each side.

    Raises:
        ImageError: A box lies entirely outside the image.

    >>> photo = np.arange(100 * 200 * 3, dtype=np.uint32).reshape(100, 200, 3).astype(np.uint8)
    >>> crop(photo, [Box(10, 20, 30, 40), Box(150, 30, 90, 10)]).shape
    (40, 190, 3)
    >>> crop(photo, [Box(100, 50, 20, 20)], margin=0.5).shape
    (40, 40, 3)
    """
    if not boxes:
        return image
    height, width = image.shape[:2]
    for box in boxes:
        _clip(box, width, height)
    x0, y0 = min(b.x for b in boxes), min(b.y for b in boxes)
    x1, y1 = max(b.x + b.width for b in boxes), max(b.y + b.height for b in boxes)
    dx, dy = margin * (x1 - x0), margin * (y1 - y0)
    left, top, right, bottom = _clip(Box(x0 - dx, y0 - dy, x1 - x0 + 2 * dx, y1 - y0 + 2 * dy), width, height)
    if (left, top, right, bottom) == (0, 0, width, height):
        return image
    return np.ascontiguousarray(image[top:bottom, left:right])


def mask(image: RGB, boxes: Sequence[Box], fill: tuple[int, int, int] = FILL) -> RGB:
    """Paint over everything outside the boxes; without boxes the image stays whole.

    Args:
        image: (H, W, 3); not changed.
        boxes: Boxes in pixels of this image. What sticks out is clipped; touched pixels belong to the box.
        fill: RGB colour of what is hidden.

    Raises:
        ImageError: A box lies entirely outside the image.

    >>> int((mask(np.ones((10, 10, 3), np.uint8), [Box(0, 0, 5, 2)], fill=(0, 0, 0)) == 1).all(axis=2).sum())
    10
    """
    if not boxes:
        return image
    height, width = image.shape[:2]
    result = np.empty_like(image)
    result[:] = fill
    for box in boxes:
        left, top, right, bottom = _clip(box, width, height)
        result[top:bottom, left:right] = image[top:bottom, left:right]
    return result


def _clip(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom in whole pixels inside the image."""
    left, top = max(0, floor(box.x)), max(0, floor(box.y))
    right, bottom = min(width, ceil(box.x + box.width)), min(height, ceil(box.y + box.height))
    if left >= right or top >= bottom:
        raise ImageError(
            f"box x={box.x:g} y={box.y:g} width={box.width:g} height={box.height:g} lies outside the image "
            f"of {width} x {height} pixels; boxes are x y width height in pixels of the upright image"
        )
    return left, top, right, bottom


def rotate(image: RGB, degrees: int) -> RGB:
    """Turn an image counter-clockwise.

    Args:
        image: (H, W, 3).
        degrees: A multiple of 90; 0 returns the image as it is.

    Raises:
        ConfigError: Another angle.

    >>> rotate(np.zeros((2, 5, 3), np.uint8), 90).shape
    (5, 2, 3)
    """
    if degrees % 90:
        raise ConfigError(f"images can be rotated by multiples of 90 degrees, not by {degrees}")
    quarter_turns = degrees // 90 % 4
    if quarter_turns == 0:
        return image
    codes = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
    return np.asarray(cv2.rotate(image, codes[quarter_turns - 1]), np.uint8)


def batches_by_shape(
    images: Iterable[tuple[T, RGB]], batch_size: int, window: int
) -> Iterator[list[tuple[T, RGB]]]:
    """Group images of equal shape, so that a model can take several at once.

    At most ``window`` images wait. When that many wait, the group whose first image came first goes out,
    however small: rare shapes cannot pile up, and common ones have a whole window to fill a batch.

    Args:
        images: Keys and images, in any order.
        batch_size: Most images of a batch.
        window: Most images that wait.

    Yields:
        Batches of one shape, in an order that depends on nothing but the input; each image exactly once.

    Raises:
        ConfigError: A number is not positive.

    >>> shapes = [(2, 2), (3, 2), (2, 2), (2, 2)]
    >>> stream = [(i, np.zeros((*shape, 3), np.uint8)) for i, shape in enumerate(shapes)]
    >>> [[key for key, _ in batch] for batch in batches_by_shape(stream, 2, 8)]
    [[0, 2], [1], [3]]
    """
    if batch_size < 1 or window < 1:
        raise ConfigError(f"batch_size ({batch_size}) and window ({window}) must be at least 1")
    waiting: dict[tuple[int, ...], list[tuple[T, RGB]]] = {}
    count = 0
    for key, image in images:
        group = waiting.setdefault(image.shape, [])
        group.append((key, image))
        count += 1
        shape = image.shape if len(group) == batch_size else next(iter(waiting)) if count == window else None
        if shape is not None:
            batch = waiting.pop(shape)
            count -= len(batch)
            yield batch
    yield from waiting.values()
