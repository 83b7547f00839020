"""Well-known models that a hub serves: what `ilion models` lists besides the embedded ones, from ``zoo.csv``.

Sides follow the ILIAS recipe (longer side at the family's test resolution). The figures in ``ilias`` are the
mAP@1k that the ILIAS paper and its leaderboard give on mini-ILIAS (5 million distractors) or the whole (100
million); they were not measured here. Download sizes are those of float32 weights.
"""

from __future__ import annotations

import csv
from pathlib import Path

from ilion.descriptors.registry import ModelInfo, register
from ilion.opening import read_bytes


def _read(row: dict[str, str]) -> ModelInfo:
    figures = [each.rpartition(" ") for each in row["ilias"].split("; ") if each]
    return ModelInfo(
        row["name"],
        row["backend"],
        int(row["dim"]),
        int(row["side"]),
        row["licence"],
        int(row["download_mb"]),
        text=row["backend"] == "openclip",
        extra="torch",
        source=row["source"],
        note=row["note"],
        settings={"pooling": row["pooling"]},
        family=row["family"],
        domain=row["domain"],
        ilias={setting: float(value) for setting, _, value in figures},
    )


_TABLE = read_bytes(Path(__file__).with_name("zoo.csv")).decode("utf-8")
PRESETS = tuple(_read(row) for row in csv.DictReader(_TABLE.splitlines()))

for _info in PRESETS:
    register(_info)
