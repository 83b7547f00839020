"""Results by domain: a model for cups, one for tools, and a general one, side by side."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from ilion import api
from ilion.config import load_experiment
from ilion.outcome import RunResult
from ilion.report.sections.domains import domain_of, domain_rows, paired_difference
from ilion.wording import load_words

CATEGORIES = {"cups": 9, "tools": 7, "one <b>only</b>": 1}


def make(root: Path, queries: int = 2) -> list[str]:
    """Objects of three kinds with two queries and one positive each; returns the queries."""
    folder = root / "image_ids"
    folder.mkdir(parents=True)
    tree: dict[str, dict[str, dict[str, list[str]]]] = {}
    asked, positives = [], []
    for category, count in CATEGORIES.items():
        names = [f"{re.sub('[^a-z]', '', category)}_{i:03d}" for i in range(count)]
        tree[category] = {"all": {"x": names}}
        for name in names:
            # the first object of a kind has more queries than the others: it must not weigh more
            asked += [f"{name}/query/Q_{i}.jpg" for i in range(queries + 3 * name.endswith("_000"))]
            positives.append(f"{name}/pos/P.jpg,0.1,20")
    (folder / "image_query_ids.txt").write_text("\n".join(asked))
    (folder / "positive_ids.txt").write_text("\n".join(positives))
    (root / "taxonomy.json").write_text(json.dumps(tree))
    return asked


def run(root: Path, name: str, asked: list[str], ranks: dict[str, int], *settings: str) -> RunResult:
    """A run that finds the positive of each kind of object at about a given rank."""
    rng = np.random.default_rng(len(name))
    results = {}
    for query in asked:
        instance = query.split("/")[0]
        at = ranks[instance.split("_")[0]] + int(rng.integers(0, 2))
        ids = [f"0.tar/{i}" for i in range(8)]
        ids.insert(at - 1, f"{instance}/pos/P.jpg")
        results[query] = {image: 1 - 0.1 * rank for rank, image in enumerate(ids)}
    path = root / f"{name}.json"
    path.write_text(json.dumps(results))
    config = load_experiment(
        root, [f"output={json.dumps(str(root / name))}", "evaluation.bootstrap=200", *settings]
    )
    return api.import_results(path, config)[0]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, list[RunResult]]:
    root = tmp_path / "set"
    asked = make(root)
    ranks = {
        "general": {"cups": 3, "tools": 3, "onebonlyb": 1},
        "cupmodel": {"cups": 1, "tools": 7, "onebonlyb": 8},
        "twin": {"cups": 3, "tools": 3, "onebonlyb": 1},
    }
    return root, [
        run(root, "general", asked, ranks["general"]),
        run(root, "cupmodel", asked, ranks["cupmodel"], "report.domain=cups"),
        run(root, "general", asked, ranks["twin"]),
    ]


@pytest.mark.slow
def test_means_and_differences_are_those_of_a_plain_loop(runs: tuple[Path, list[RunResult]]) -> None:
    _, results = runs
    rows = domain_rows(results, "category")
    assert [row.label for row in rows] == ["cups", "tools", "one <b>only</b>", ""]
    assert [row.instances for row in rows] == [9, 7, 1, 17]
    for row in rows:
        means = []
        for result in results:
            e = result.evaluation
            by_instance = defaultdict(list)
            for query, instance, value in zip(e.query_ids, e.instances, e.per_query, strict=True):
                if row.label and result.dataset.labels["category"][instance] != row.label:
                    continue
                by_instance[instance if row.label else query].append(value)
            means.append(np.mean([np.mean(values) for values in by_instance.values()]))
        found = [cell for cell in row.cells if cell]
        assert [cell.mean for cell in found] == pytest.approx(means)
        assert found[0].difference is None
        for cell, mean in zip(found[1:], means[1:], strict=True):
            assert cell.difference is not None
            assert cell.difference.mean == pytest.approx(mean - means[0])
            assert cell.difference.ci95.low <= cell.difference.mean <= cell.difference.ci95.high
            assert cell.best == (mean == max(means))


@pytest.mark.slow
def test_what_is_clear_is_told_from_what_is_not(runs: tuple[Path, list[RunResult]]) -> None:
    _, results = runs
    cups, tools, single, every = ([cell.difference for cell in row.cells[1:] if cell]
                                  for row in domain_rows(results, "category"))  # fmt: skip
    assert [d.clear for d in (cups[0], tools[0]) if d] == [True, True]
    # one object says nothing about others, however large the difference
    assert [(d.clear, d.ci95.low, d.ci95.high) for d in single[:1] if d] == [(False, -1.0, 1.0)]
    # a run of the same ranks as the main one
    assert [d.mean for row in (cups, tools, single, every) for d in row[1:] if d] == [0.0] * 4
    e = results[0].evaluation
    nothing = paired_difference(e, e, np.ones(len(e.query_ids), bool), by_instance=False)
    assert (nothing.mean, nothing.clear) == (0.0, False)


@pytest.mark.slow
def test_the_report_has_one_table_of_all_runs(runs: tuple[Path, list[RunResult]], tmp_path: Path) -> None:
    root, results = runs
    assert [domain_of(r) for r in results] == ["", "cups", ""]
    html = api.report([root / "general", root / "cupmodel"], tmp_path / "report.html").read_text()
    section = html[html.index('id="domains"') :]
    section = section[: section.index("</section>")]
    assert section.count("<table") == 2  # category and subcategory
    assert section.count('class="number best"') >= 8
    assert "one &lt;b&gt;only" in section
    assert "for cups" in section
    words = load_words("report", "en")
    assert words("domains.best_in", count=1, of=3, design="cupmodel.json") in section
    assert words("domains.best_in", count=2, of=3, design="general.json") in section
    assert re.search(r'class="change clear">[+−][\d.]+ \([+−][\d.]+ to [+−][\d.]+\)', section)
    alone = api.report([root / "general"], tmp_path / "alone.html").read_text()
    assert 'id="domains"' not in alone
