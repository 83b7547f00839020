"""The settings of a synthetic set, and the manifest that says to which settings a folder belongs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ilion import storage
from ilion.errors import ConfigError, DatasetError
from ilion.opening import check_folder, kind_of, parse_json, read_bytes
from ilion.synthetic.photos import Settings

DistractorFormat = Literal["tar", "folder"]
MANIFEST = "synthetic.json"
RECIPE = 1
"""Raised whenever the pictures of a seed change."""


@dataclass(frozen=True)
class Plan:
    """The settings of a set as its manifest holds them."""

    settings: Settings
    positives: int
    distractors: int
    shard_size: int
    distractor_format: DistractorFormat

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        values = asdict(self)
        return {**values.pop("settings"), **values}

    def shards(self) -> Iterator[tuple[int, int, int]]:
        """Yield number, first distractor and end of each shard."""
        for number, start in enumerate(range(0, self.distractors, self.shard_size)):
            yield number, start, min(start + self.shard_size, self.distractors)


def check(plan: Plan, workers: int) -> None:
    """Check that all numbers are in range.

    Raises:
        ConfigError: A number is not.
    """
    settings = plan.settings
    for name, value, low, high in (
        ("instances", settings.instances, 1, 1_000_000),
        ("positives", plan.positives, 1, 100),
        ("distractors", plan.distractors, 0, 1_000_000_000),
        ("shard_size", plan.shard_size, 1, 1_000_000),
        ("image_side", settings.image_side, 128, 2048),
        ("seed", settings.seed, 0, 2**63 - 1),
        ("workers", workers, 1, 1024),
    ):
        if not low <= value <= high:
            raise ConfigError(f"{name} is {value:,}; it must lie between {low:,} and {high:,}")
    if plan.distractor_format not in ("tar", "folder"):
        raise ConfigError(f"distractor_format is {plan.distractor_format!r}; it must be 'tar' or 'folder'")


def claim(folder: Path, plan: Plan) -> None:
    """Write the manifest into a fresh folder; check the one that is there.

    Raises:
        DatasetError: The folder holds something else, or a set of other settings.
    """
    manifest = folder / MANIFEST
    wanted = {"recipe": RECIPE, "settings": plan.as_dict()}
    if manifest.is_file():
        try:
            found = parse_json(read_bytes(manifest))
            settings = dict(found["settings"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{manifest}: is no manifest of a synthetic set ({error}); choose another folder"
            ) from error
        differ = [
            f"{name} is {settings.get(name)!r} there and {value!r} here"
            for name, value in plan.as_dict().items()
            if settings.get(name) != value
        ]
        if found.get("recipe") != RECIPE:
            differ.append(f"it was made by recipe {found.get('recipe')!r} and this version has {RECIPE}")
        if differ:
            raise DatasetError(
                f"{folder} holds another synthetic set: {'; '.join(differ)}. Choose another folder"
            )
        return
    if folder.exists() and not folder.is_dir():
        kind = kind_of(folder.stat().st_mode) or "a file"
        raise DatasetError(f"{folder} is {kind}, not a folder; choose a new or empty folder")
    check_folder(folder.parent)
    if folder.exists() and any(p.name != ".lock" for p in folder.iterdir()):
        raise DatasetError(f"{folder} is not empty and holds no synthetic set; choose a new or empty folder")
    storage.write_json(manifest, wanted)
