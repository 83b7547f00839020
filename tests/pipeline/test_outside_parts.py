"""Code from outside that is wrong in any way ends in a sentence that names it, whatever it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.conftest import draw_photo, write

from ilion import registry
from ilion.config import load_experiment
from ilion.errors import IlionError
from ilion.pipeline import Pipeline

MODEL = """
import numpy as np
from ilion.descriptors.base import ExtractorSpec

class Model:
    def __init__(self, info=None, options=None):
        self.spec = ExtractorSpec(
            name="mine", weights="none", revision="1", dim=12, resize="long", side=64,
            mean=(0.0,) * 3, std=(1.0,) * 3, pooling="head", licence="MIT",
        )

    def extract(self, images):
        levels = [[np.histogram(i[..., c], 4, (0, 256))[0] for c in range(3)] for i in images]
        values = np.array(levels, np.float32).reshape(len(images), 12) + 1
        return values / np.linalg.norm(values, axis=1, keepdims=True)
"""
LOCAL = """
import numpy as np
from dataclasses import dataclass, replace
from ilion.datasets import Layout
from ilion.localfeatures.base import build
from ilion.localfeatures.codecs import Code
from ilion.reranking.base import Findings
"""


@pytest.fixture(autouse=True)
def _nothing_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages name the parts from outside that a process has asked for: here none of other tests."""
    monkeypatch.setattr(registry, "_used", set())


SETTINGS = {
    "model": ["extraction.model={}"],
    "tower": ["extraction.text_tower={}", "dataset.queries=text"],
    "engine": ["search.method={}"],
    "features": ["rerank.features={}"],
    "codec": ["rerank.features=rootsift", "rerank.codec={}", "rerank.budget=8192"],
    "scorer": ["rerank.features=rootsift", "rerank.scorer={}"],
    "metric": ['evaluation.metrics=["{}"]'],
    "layout": ["dataset.layout={}"],
    "method": ["adaptation.method={}", "adaptation.labels={labels}", "adaptation.seen=keep"],
}
ALL = {
    "takes-nothing": "def part(): return 1",
    "raises": "def part(*a, **k): raise ValueError('boo')",
    "gives-none": "def part(*a, **k): return None",
    "gives-text": "def part(*a, **k): return 'text'",
    "is-a-number": "part = 3",
    "is-missing": "parts = 3",
    "is-not-python": "def part(:",
    "imports-nothing": "import no_such_thing",
    "ends-the-program": "raise SystemExit(0)",
    "ends-it-later": "def part(*a, **k): raise SystemExit(0)",
    "is-an-empty-class": "class part: pass",
    "takes-too-much": "class part:\n    def __init__(self, a, b, c, d, e): pass",
    "never-returns": "def part(*a, **k): return part(*a, **k)",
    "makes-attributes": "def __getattr__(name): raise RuntimeError(f'no {name}')",
}
"""What any part may be wrong in."""


def _model(body: str) -> str:
    return f"{MODEL}\nclass part(Model):\n    {body}\n"


def _features(body: str) -> str:
    return (
        f"{LOCAL}\nclass part:\n    def __init__(self, name, options):\n"
        "        self.inner = build('rootsift', options)\n"
        "        self.spec = replace(self.inner.spec, name='mine')\n"
        f"    def extract(self, images):\n        {body}\n"
    )


def _codec(
    fit: str = "return cls(sample.shape[1])", size: str = "dim", encode: str = "", decode: str = ""
) -> str:
    return (
        f"{LOCAL}\n@dataclass(frozen=True)\nclass part(Code):\n    dim: int\n    @classmethod\n"
        f"    def fit(cls, sample, settings, seed):\n"
        f"        {fit or 'return cls(sample.shape[1])'}\n    @classmethod\n"
        f"    def choose_size(cls, dim, metric, budget, features): return {size}\n"
        f"    def encode(self, values):\n        {encode or 'return (values * 255).astype(np.uint8)'}\n"
        f"    def decode(self, codes):\n        {decode or 'return codes.astype(np.float32)'}\n"
    )


def _scorer(body: str, head: str = "") -> str:
    return f"{LOCAL}\nclass part:\n    {head}\n    def score(self, query, images):\n        {body}\n"


def _layout(read: str, recognises: str = "return True", head: str = "needs = 'x'") -> str:
    return (
        f"{LOCAL}\nclass part(Layout):\n    {head}\n    def recognises(self, folder): {recognises}\n"
        f"    def read(self, folder): {read}\n"
    )


def _tower(body: str) -> str:
    return (
        f"{LOCAL}\nclass part:\n    revision = '1'\n    def __init__(self, options): pass\n"
        f"    def extract_text(self, texts): {body}\n"
    )


def _method(body: str, field: str = "seed") -> str:
    return (
        f"{LOCAL}\n@dataclass(frozen=True)\nclass part:\n    {field}: int = 0\n"
        f"    def learn(self, photos): {body}\n"
    )


OWN = {
    "model": {
        "takes-no-images": _model("def extract(self): return 1"),
        "describes-by-none": _model("def extract(self, images): return None"),
        "describes-by-lists": _model("def extract(self, images): return [[1.0] * 12 for i in images]"),
        "describes-by-texts": _model("def extract(self, images): return np.full((len(images), 12), 'a')"),
        "describes-by-complex": _model("def extract(self, images): return np.full((len(images), 12), 1j)"),
        "divides-by-zero": _model("def extract(self, images): return 1 / 0"),
        "ends-in-extract": _model("def extract(self, images): raise SystemExit(0)"),
        "spec-is-a-dict": _model("def __init__(self, *a): self.spec = {'dim': 12}"),
        "spec-raises": _model("spec = property(lambda self: {}['dim'])\n    def __init__(self, *a): pass"),
    },
    "features": {
        "none": _features("return None"),
        "of-none": _features("return [None for _ in images]"),
        "divides-by-zero": _features("1 / 0"),
        "ends": _features("raise SystemExit(0)"),
        "yields": _features("yield 3"),
    },
    "codec": {
        "fits-none": _codec(fit="return None"),
        "fit-raises": _codec(fit="1 / 0"),
        "size-is-negative": _codec(size="-128"),
        "size-is-text": _codec(size="'a'"),
        "encodes-none": _codec(encode="return None"),
        "encode-raises": _codec(encode="1 / 0"),
        "decodes-none": _codec(decode="return None"),
        "decode-raises": _codec(decode="1 / 0"),
        "lacks-all": f"{LOCAL}\nclass part(Code): pass",
    },
    "scorer": {
        "gives-nothing": _scorer("return None"),
        "divides-by-zero": _scorer("1 / 0"),
        "texts": _scorer("return Findings(['a' for _ in images])"),
        "nothing-at-all": _scorer("return Findings(np.array([None] * len(images)))"),
        "infinite": _scorer("return Findings(np.full(len(images), np.inf, np.float32))"),
        "ends": _scorer("raise SystemExit(0)"),
        "is-made-of-three": _scorer(
            "return Findings(np.zeros(len(images)))", "def __init__(self, a, b, c): pass"
        ),
    },
    "layout": {
        "reads-none": _layout("return None"),
        "reads-text": _layout("return 'text'"),
        "divides-by-zero": _layout("1 / 0"),
        "cannot-recognise": _layout("return 1", "1 / 0"),
        "needs-nothing": _layout("return 1", "return False", "x = 1"),
        "ends": _layout("raise SystemExit(0)"),
        "lacks-all": f"{LOCAL}\nclass part(Layout): pass",
        "is-made-of-one": _layout("return 1", head="needs = 'x'\n    def __init__(self, a): pass"),
    },
    "tower": {
        "none": _tower("return None"),
        "lists": _tower("return [[1.0] * 12 for _ in texts]"),
        "divides-by-zero": _tower("1 / 0"),
    },
    "method": {
        "none": _method("return None"),
        "text": _method("return 'x'"),
        "divides-by-zero": _method("1 / 0"),
        "ends": _method("raise SystemExit(0)"),
        "folds-none": _method("return None", "folds"),
    },
    "engine": {"ends": "def part(ids, queries, database, *, k, threads): raise SystemExit(0)"},
    "metric": {
        "ends": "def part(ranks, positives, k): raise SystemExit(1)",
        "array": "import numpy as np\ndef part(ranks, positives, k): return np.zeros(3)",
    },
}
CASES = [
    pytest.param(kind, code, id=f"{kind}-{name}")
    for kind in SETTINGS
    for name, code in {**ALL, **OWN[kind]}.items()
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two objects with descriptions, and labelled photos."""
    root = tmp_path_factory.mktemp("outside")
    for number, name in enumerate(("mug", "can")):
        for place in ("query/q", "positive/p"):
            write(root / f"set/objects/{name}/{place}.jpg", draw_photo(100 * number, size=(96, 64)))
    for number in range(4):
        write(root / f"set/distractors/{number}.jpg", draw_photo(1000 + number, size=(96, 64)))
    write(root / "set/objects.csv", "object,description\nmug,a mug\ncan,a can\n")
    lines = ["path,class,domain"]
    for number in range(10):
        write(root / f"labels/{number}.jpg", draw_photo(2000 + number, size=(64, 64)))
        lines.append(f"{number}.jpg,{number // 2},things")
    write(root / "labels/labels.csv", "\n".join(lines))
    write(root / "good.py", MODEL)
    return root


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "code"), CASES)
def test_a_wrong_part_ends_in_a_sentence(kind: str, code: str, photos: Path, tmp_path: Path) -> None:
    own = tmp_path / "own_part.py"
    own.write_text(code, encoding="utf-8")
    given = {"labels": str(photos / "labels" / "labels.csv")}
    settings = [each.format(f"{own}:part", **given) for each in SETTINGS[kind]]
    if kind != "model":
        settings.append(f"extraction.model={photos / 'good.py'}:Model")
    if kind != "engine":
        settings.append("search.method=exact")
    settings += [f'trust=["{own}", "{photos / "good.py"}"]', f"output={tmp_path / 'run'}"]
    settings += ["evaluation.bootstrap=20", "compute.retries=0"]
    with pytest.raises(IlionError) as ended:
        Pipeline(load_experiment(photos / "set", settings)).evaluate()
    said = str(ended.value)
    assert re.search(r"own_part|part\b|mine", said), said
    assert "\n  File" not in said


def test_what_an_error_says_of_itself_may_fail_too() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert registry.said_by(Odd()) == "Odd"
