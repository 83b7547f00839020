"""A tiny data set of textured things in cluttered scenes, to test local features through the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ilion.config import ExperimentConfig, from_dict
from ilion.types import RGB
from tests.conftest import write
from tests.networks import tiny_network


def encoded(image: RGB) -> bytes:
    """Encode as PNG."""
    return cv2.imencode(".png", image)[1].tobytes()


def scene(seed: int, thing: RGB | None = None, side: int = 0) -> bytes:
    """Encode a cluttered picture, with a thing in it."""
    rng = np.random.default_rng(seed)
    image = np.full((240, 320, 3), 150, np.uint8)
    for _ in range(60):
        x, y, w, h = rng.integers(0, 320), rng.integers(0, 240), *rng.integers(5, 40, 2)
        image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    if thing is not None:
        image[30 : 30 + side, 60 : 60 + side] = cv2.resize(thing, (side, side), interpolation=cv2.INTER_AREA)
    return encoded(image)


def thing(seed: int) -> RGB:
    """Draw a textured thing."""
    rng = np.random.default_rng(900 + seed)
    image = np.full((160, 160, 3), 230, np.uint8)
    for _ in range(40):
        x, y, w, h = rng.integers(0, 160), rng.integers(0, 160), *rng.integers(4, 30, 2)
        image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return image


def write_photos(root: Path, objects: int = 5, distractors: int = 16) -> None:
    """Write objects in three views each, distractors, and a tiny network below ``root``."""
    for number in range(objects):
        home = root / "photos" / "objects" / f"object {number}"
        write(home / "query" / "front.png", encoded(thing(number)))
        for view, side in enumerate((150, 110, 90)):
            write(home / "positive" / f"{view}.png", scene(10 * number + view, thing(number), side))
    for number in range(distractors):
        write(root / "photos" / "distractors" / f"{number:02d}.png", scene(500 + number))
    tiny_network(root / "tiny.onnx")


def experiment(folder: Path, **sections: Any) -> ExperimentConfig:
    """Return an experiment on these photos; ``sections`` are those of the TOML file."""
    values: dict[str, Any] = {
        "output": str(folder / "run"),
        "dataset": {"path": str(folder / "photos")},
        "extraction": {"model": f"onnx:{folder / 'tiny.onnx'}", "threads": 1},
        "evaluation": {"bootstrap": 50},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    return from_dict(ExperimentConfig, values)
