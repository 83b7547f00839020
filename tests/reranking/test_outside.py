"""Local features, a codec and a scorer in a file of one's own, through the pipeline."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import scenes

from ilion import api
from ilion.config import ExperimentConfig, load_experiment
from ilion.config.experiment import check_parts
from ilion.errors import ArtifactError, ConfigError
from ilion.localfeatures.codecs import CODECS, rebuild
from ilion.reranking.base import SCORERS, Findings, scorer_class
from ilion.types import LocalFeatures

FEATURES = """
from dataclasses import replace
from ilion.localfeatures.base import build

class Strongest:
    # RootSIFT features whose response is among the largest of the image
    def __init__(self, name, options):
        self.inner = build("rootsift", replace(options, selection="response"))
        self.spec = replace(self.inner.spec, name="strongest")

    def extract(self, images):
        return self.inner.extract(images)
"""
CODEC = """
from dataclasses import dataclass
import numpy as np
from ilion.localfeatures.codecs import Code

@dataclass(frozen=True)
class Halves(Code):
    # four bits a number, two numbers a byte
    top: np.ndarray
    dim: int

    @classmethod
    def fit(cls, sample, settings, seed):
        return cls(np.array([sample.max()]), sample.shape[1])

    @classmethod
    def choose_size(cls, dim, metric, budget, features):
        return dim // 2

    @property
    def size(self):
        return self.dim // 2

    def encode(self, descriptors):
        steps = np.clip(np.rint(descriptors / self.top * 15), 0, 15).astype(np.uint8)
        return steps[:, ::2] << 4 | steps[:, 1::2]

    def decode(self, codes):
        steps = np.stack([codes >> 4, codes & 15], axis=2).reshape(len(codes), self.dim)
        return (steps * self.top / 15).astype(np.float32)
"""
SCORER = """
import numpy as np
from ilion.reranking.base import Findings

class Nearest:
    # share of the query's features that have a near one in the image
    def score(self, query, images):
        near = [(query.descriptors @ i.descriptors.T > 0.9).any(axis=1).mean() if len(i.scores) else np.nan
                for i in images]
        return Findings(np.array(near, np.float32))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("outside")
    scenes.write_photos(root)
    return root


def write(path: Path, *parts: str) -> str:
    path.write_text("\n".join(parts))
    return str(path)


def experiment(folder: Path, code: str, cache: Path, **more: Any) -> ExperimentConfig:
    names = {"features": f"{code}:Strongest", "codec": f"{code}:Halves", "scorer": f"{code}:Nearest"}
    config = scenes.experiment(
        folder, rerank={"keypoints": 150, "budget": 3000, "shortlist": 20, **names}, trust=[code], **more
    )
    return dataclasses.replace(config, cache=str(cache))


def stored(cache: Path, kind: str) -> list[dict[str, Any]]:
    return [
        json.loads(path.read_text())["inputs"]
        for path in sorted(cache.glob(f"{kind}-[0-9a-f]*/manifest.json"))
    ]


@pytest.mark.slow
def test_features_a_codec_and_a_scorer_of_ones_own(folder: Path, tmp_path: Path) -> None:
    code, cache = write(tmp_path / "mine.py", FEATURES, CODEC, SCORER), tmp_path / "cache"
    result = api.evaluate(experiment(folder, code, cache))
    assert result.reranking is not None
    assert result.evaluation.mean > result.reranking.before.mean + 0.1
    assert len(result.reranking.explain(0, 0).matches) == 0
    assert result.cost.bytes_per_image > 0

    # workers do the same, and take up what is there
    again = api.evaluate(experiment(folder, code, tmp_path / "workers", compute={"processes": 2}))
    np.testing.assert_array_equal(again.ranking.similarities, result.ranking.similarities)
    names = [sorted(p.name for p in c.glob("local-[0-9a-f]*")) for c in (cache, tmp_path / "workers")]
    assert names[0] == names[1]
    kept = api.evaluate(experiment(folder, code, cache, evaluation={"bootstrap": 50, "k": 5}))
    assert kept.reranking is not None
    assert len(stored(cache, "evidence")) == 1

    # what the file says is part of what everything depends on, and where it lies is not
    kinds = ("codec", "local", "evidence")
    (tmp_path / "moved").mkdir()
    moved = write(tmp_path / "moved" / "mine.py", FEATURES, CODEC, SCORER)
    api.evaluate(experiment(folder, moved, cache))
    assert [len(stored(cache, kind)) for kind in kinds] == [1, 1, 1]
    changed = write(tmp_path / "mine.py", FEATURES, CODEC, SCORER, "# another state of the file")
    api.evaluate(experiment(folder, changed, cache))
    assert [len(stored(cache, kind)) for kind in kinds] == [2, 2, 2]
    one, other = stored(cache, "evidence")
    assert one["scorer"]["scorer"] == other["scorer"]["scorer"] == "mine.py:Nearest"
    assert one["scorer"]["code"] != other["scorer"]["code"]


def test_a_stored_codec_from_outside_needs_its_code(folder: Path, tmp_path: Path) -> None:
    code = write(tmp_path / "halves.py", CODEC)
    config = scenes.experiment(folder, rerank={"features": "rootsift", "codec": f"{code}:Halves"})
    with pytest.raises(ConfigError, match=r"rerank.codec.*allow it: trust"):
        check_parts(config)
    check_parts(dataclasses.replace(config, trust=(code,)))
    made = CODECS.find(f"{code}:Halves")
    plain = {
        "kind": made.name,
        "dim": 4,
        "layout": {"position": 8, "shape": 0, "score": 0, "scales": [-12.0, 0.0]},
        "features": None,
        "code": made.digest,
    }
    codec = rebuild(plain, {"top": np.array([1.0])})
    assert codec.settings() == plain
    with pytest.raises(ArtifactError, match=r"'halves.py:Halves' is unknown here"):
        rebuild({**plain, "code": "of another state"}, {"top": np.array([1.0])})


def test_names_that_nothing_has(tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    for setting, value, message in (
        ("scorer", "geometri", "rerank.scorer: no scorer is named 'geometri'; did you mean 'geometry'"),
        ("codec", "uint16", "rerank.codec: no codec is named 'uint16'; did you mean 'uint8'"),
        ("features", "rootsifd", "rerank.features: no local features are named .* 'rootsift'"),
    ):
        path.write_text(f'[rerank]\n{setting} = "{value}"\n')
        with pytest.raises(ConfigError, match=message):
            load_experiment(path)


class Wrong:
    """A scorer that forgets an image."""

    def score(self, query: LocalFeatures, images: Any) -> Findings:
        return Findings(np.zeros(len(images) - 1, np.float32))


@pytest.mark.slow
def test_what_is_no_scorer_and_what_scores_wrongly(folder: Path) -> None:
    with pytest.raises(ConfigError, match="'geometry:fast': nothing may follow the name"):
        scorer_class("geometry:fast")
    SCORERS.register("wrong")(Wrong)
    SCORERS.register("no class")(lambda: None)
    try:
        with pytest.raises(ConfigError, match="must be a class with a method score"):
            scorer_class("no class")
        wrong = {"features": "rootsift", "keypoints": 50, "scorer": "wrong"}
        with pytest.raises(ConfigError, match=r"Wrong.score gave float\d+ scores of shape \(.*,\) for"):
            api.evaluate(scenes.experiment(folder, rerank=wrong))
    finally:
        for name in ("wrong", "no class"):
            del SCORERS._parts[name]
