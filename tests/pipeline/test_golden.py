"""A tiny run end to end with exact numbers; a change of any of them must be meant."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import draw_photo, write
from tests.networks import tiny_network

from ilion import api
from ilion.config import ExperimentConfig, from_dict

QUERIES = 4
AVERAGE_PRECISION: dict[tuple[str, int], list[float]] = {
    ("ilias", 10): [5 / 9, 53 / 90, 7 / 18, 4 / 9],
    ("ilias", 2): [1 / 2, 1 / 4, 1 / 4, 1 / 2],
    ("trec", 2): [1 / 3, 1 / 6, 1 / 6, 1 / 3],
    ("revisited", 10): [19 / 36, 83 / 180, 5 / 18, 19 / 45],
}
"""AP@k of the queries in order, by definition and k."""


def scene(object_seed: int, scene_seed: int, side: int) -> bytes:
    """Paste the object into another picture; PNG, so that no decoder has a say."""
    canvas = Image.open(io.BytesIO(draw_photo(7000 + scene_seed, (64, 64), "PNG")))
    thing = Image.open(io.BytesIO(draw_photo(object_seed, (64, 64), "PNG")))
    canvas.paste(thing.resize((side, side), Image.Resampling.NEAREST), (4, 4))
    out = io.BytesIO()
    canvas.save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four objects, each pasted into three scenes at three sizes, among twenty distractors."""
    root = tmp_path_factory.mktemp("golden")
    for number in range(QUERIES):
        home = root / "photos" / "objects" / f"object {number}"
        write(home / "query" / "front.png", draw_photo(number, (64, 64), "PNG"))
        for view, side in enumerate((52, 40, 28)):
            write(home / "positive" / f"{view}.png", scene(number, 100 * number + view, side))
    for number in range(20):
        write(
            root / "photos" / "distractors" / f"{number:02d}.png", draw_photo(500 + number, (64, 48), "PNG")
        )
    tiny_network(root / "tiny.onnx")
    return root


@pytest.mark.parametrize(("definition", "k"), list(AVERAGE_PRECISION))
def test_the_numbers_are_those(folder: Path, definition: str, k: int) -> None:
    config = from_dict(
        ExperimentConfig,
        {
            "output": str(folder / "run"),
            "dataset": {"path": str(folder / "photos")},
            "extraction": {"model": f"onnx:{folder / 'tiny.onnx'}", "threads": 1},
            "search": {"k": 10},
            "evaluation": {"definition": definition, "k": k},
        },
    )
    result = api.evaluate(config)
    assert result.ranking.query_ids == tuple(f"objects/object {n}/query/front.png" for n in range(QUERIES))
    np.testing.assert_allclose(result.evaluation.per_query, AVERAGE_PRECISION[definition, k], atol=1e-9)
