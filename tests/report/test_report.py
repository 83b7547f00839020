"""The report as a file: what it says, that it is safe, complete and small enough."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args, get_type_hints

import cv2
import numpy as np
import pytest

from ilion.config.evaluation import ReportConfig
from ilion.errors import ArtifactError, ConfigError
from ilion.evaluation.evaluate import evaluate, positives_ranks
from ilion.evaluation.truth import axes_from_ids, truth_from_ids
from ilion.images import decode
from ilion.outcome import Cost, Machine, RunResult, Skipped
from ilion.report import build, write_report
from ilion.report.context import select
from ilion.report.sections.facts import outcome, recall_by_rank
from ilion.report.sections.verdict import best_first
from ilion.types import Box, FileSource, ImageRecord, Query, Ranking, RetrievalDataset
from ilion.wording import Words, languages, load_words

VOID = {"meta", "link", "img", "input", "br", "hr"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"


@dataclass(frozen=True)
class ListShard:
    """A shard that is a list, and knows whether it was read."""

    name: str
    content: tuple[ImageRecord, ...]
    read: list[str] = field(default_factory=list)

    def records(self) -> Iterator[ImageRecord]:
        for record in self.content:
            self.read.append(record.id)
            yield record

    def fingerprint(self) -> str:
        return self.name


class Page(HTMLParser):
    """Parses the report strictly: every element must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def visible(self) -> str:
        return " ".join(text for tag, text in self.texts if tag not in ("style", "script"))


def draw(path: Path, seed: int, size: tuple[int, int] = (64, 48)) -> FileSource:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    cv2.imwrite(str(path), noise)
    return FileSource(path)


Maker = Callable[..., RunResult]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Return a function that builds a run over small pictures and random similarities."""

    def make_run(
        *,
        queries: int = 4,
        positives: int = 3,
        distractors: int = 20,
        gain: float = 0.2,
        k: int = 20,
        texts: int = 0,
        names: Callable[[int], str] = lambda i: f"object{i}",
        labels: Mapping[str, Mapping[str, str]] | None = None,
        values: bool = False,
        boxes: bool = False,
        size: tuple[int, int] = (64, 48),
        seed: int = 0,
    ) -> RunResult:
        rng = np.random.default_rng(seed)
        folder = tmp_path / "photos"
        folder.mkdir(exist_ok=True)
        box = (Box(8, 6, 30, 20),) if boxes else ()
        objects = [names(i) for i in range(queries - texts)]
        made = []
        for i, name in enumerate(objects):
            image = ImageRecord(f"{name}/q", draw(folder / f"q{i}.jpg", i, size), box)
            made.append(Query(f"{name}/q", name, image=image))
        made += [Query(f"{objects[i]}/t", objects[i], text=f"text about {objects[i]}") for i in range(texts)]
        records = [
            ImageRecord(f"{name}/p{j}", draw(folder / f"p{i}_{j}.jpg", 1000 + 10 * i + j, size), box)
            for i, name in enumerate(objects)
            for j in range(positives)
        ]
        records += [
            ImageRecord(f"d{j}", draw(folder / f"d{j}.jpg", 90_000 + j, size)) for j in range(distractors)
        ]
        ids = tuple(record.id for record in records)
        wanted = {q.id: tuple(f"{q.instance}/p{j}" for j in range(positives)) for q in made}
        attributes = {}
        if values:
            of_positives = ids[: len(objects) * positives]
            attributes = {
                "scale": {
                    image: float(v)
                    for image, v in zip(of_positives, rng.beta(1, 4, len(of_positives)), strict=True)
                },
                "clutter": {
                    image: float(v)
                    for image, v in zip(of_positives, rng.integers(1, 90, len(of_positives)), strict=True)
                },
            }
        dataset = RetrievalDataset(
            "tiny",
            tmp_path,
            tuple(made),
            (ListShard("a", tuple(records)),),
            wanted,
            labels=labels or {},
            attributes=attributes,
        )
        query_ids = tuple(q.id for q in made)
        truth = truth_from_ids(query_ids, ids, wanted)
        similarities = rng.uniform(0, 0.6, (len(made), len(ids))).astype(np.float32)
        for row, each in enumerate(truth.positives):
            similarities[row, each] += gain
        kept = min(k, len(ids))
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :kept]
        ranking = Ranking(
            query_ids,
            ids,
            order,
            np.take_along_axis(similarities, order, axis=1),
            np.full(len(made), kept),
        )
        instances = [q.instance for q in made]
        axes = axes_from_ids(query_ids, instances, ids, wanted, labels or {}, attributes)
        machine = Machine("TestCPU 9", 2, 8_000_000_000, "TestOS", "3.11")
        cost = Cost(61.25, 63.5, 2816.0, 2.5, 912_000_000, {"extract": 12.5, "search": 0.25}, (), machine)
        return RunResult(
            "trial",
            "design-a",
            dataset,
            ranking,
            truth,
            evaluate(ranking, truth, axes, k=k, bootstrap=50),
            cost,
            (),
            {"config": {"model": "design-a", "scales": (1.0, 0.7)}, "licence": "Apache-2.0"},
        )

    return make_run


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Page]:
    """Return a function that writes a report and parses it."""

    def written(*runs: RunResult, gallery: int = 12) -> Page:
        path = write_report(runs, tmp_path / "out" / "report.html", gallery=gallery)
        return Page(path.read_text("utf-8"))

    return written


def test_it_loads_nothing_from_outside(make: Maker, report: Callable[..., Page]) -> None:
    page = report(make(boxes=True, values=True, texts=2), gallery=6)
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form", "foreignobject"}
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        for name in ("href", "src", "srcset", "action", "data", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/jpeg;base64,"))
    style = next(text for tag, text in page.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_exactly_the_embedded_style_and_script(tmp_path: Path, make: Maker) -> None:
    text = write_report([make()], tmp_path / "r.html").read_text("utf-8")
    policy = next(
        a["content"] or "" for a in Page(text).all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy


def test_hostile_text_stays_text(make: Maker, report: Callable[..., Page]) -> None:
    run = make(names=lambda i: f"{HOSTILE}{i}", texts=2, labels={HOSTILE: {f"{HOSTILE}0": HOSTILE}})
    run = replace(
        run,
        name=HOSTILE,
        design=HOSTILE,
        dataset=replace(run.dataset, name=HOSTILE),
        skipped=(Skipped(HOSTILE, HOSTILE, HOSTILE),),
        provenance={HOSTILE: {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]}},
        cost=replace(
            run.cost,
            stage_seconds={HOSTILE: 1.0},
            reused=(HOSTILE,),
            machine=replace(run.cost.machine, cpu=HOSTILE, accelerator=HOSTILE),
        ),
    )
    page = report(run)
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert page.visible.count(HOSTILE) > 20
    assert "&lt;" not in page.visible


def test_every_picture_is_there_once(make: Maker, report: Callable[..., Page]) -> None:
    page = report(make(boxes=True), gallery=4)
    defined = [a["id"] for a in page.all("image")]
    used = [(a["href"] or "")[1:] for a in page.all("use")]
    assert len(defined) == len(set(defined)) > 10
    assert len(used) > len(defined)
    assert set(used) == set(defined)
    for attributes in page.all("image"):
        data = base64.b64decode((attributes["href"] or "").partition(",")[2])
        assert decode(data).image.shape == (48, 64, 3)
        assert (attributes["width"], attributes["height"]) == ("64", "48")


def test_references_lead_somewhere(make: Maker, report: Callable[..., Page]) -> None:
    page = report(make(values=True, texts=1))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        wanted = (attributes.get("aria-labelledby") or "").split()
        href = attributes.get("href") or ""
        wanted += [href[1:]] if href.startswith("#") else []
        assert set(wanted) <= set(ids)


def test_numbers_are_those_of_the_evaluation(make: Maker, report: Callable[..., Page]) -> None:
    first, second = make(queries=6, gain=0.25), replace(make(queries=6, gain=0.1), design="design-b")
    page = report(first, second)
    carried = {a["value"] for a in page.all("data")}
    for run in (first, second):
        e, c = run.evaluation, run.cost
        numbers = [e.mean, e.ci95.low, e.ci95.high, *(e.metrics[m] for m in ("R@1", "R@10", "recall@20"))]
        numbers += [c.extraction_ms_per_image, c.bytes_per_image, c.search_ms_per_query, c.peak_memory_bytes]
        assert {repr(float(v)) for v in numbers} <= carried
        assert f"{100 * e.mean:.1f}%" in page.visible
    e = first.evaluation
    assert {repr(float(v)) for v in (*e.per_query, *e.metrics.values())} <= carried
    assert {repr(i.low) for i in e.metric_ci95.values()} <= carried
    right = int(e.per_query_metrics["R@1"].sum())
    assert f"For {right} of 6 objects the first photo returned shows the object." in page.visible
    assert f"On average {100 * e.metrics['recall@20']:.0f}% of the photos" in page.visible
    assert f"between {100 * e.ci95.low:.0f}% and {100 * e.ci95.high:.0f}%" in page.visible
    assert "Describing a photo takes 61 ms and 2.8 KB , answering a query 66 ms" in page.visible


def test_further_metrics_have_columns_of_their_own(make: Maker, report: Callable[..., Page]) -> None:
    run = make(queries=3)
    judged = evaluate(run.ranking, run.ground_truth, k=20, metrics=["trec@7"], bootstrap=20)
    text = report(replace(run, evaluation=judged), make(queries=3)).visible
    assert text.count("trec@7") == 2  # in the table of runs, and among all metrics of the first
    assert "trec@7" not in report(run).visible


def test_ranks_agree_with_the_evaluation(make: Maker) -> None:
    run = make(queries=7, positives=3, gain=0.05, k=15)
    truth = run.ground_truth
    ignored = tuple(
        run.ranking.indices[q, :2][~np.isin(run.ranking.indices[q, :2], p)]
        for q, p in enumerate(truth.positives)
    )
    truth = replace(truth, ignored=tuple(np.sort(rows) for rows in ignored))
    run = replace(run, ground_truth=truth, evaluation=evaluate(run.ranking, truth, k=10, bootstrap=10))
    facts = outcome(run)
    for each, ranks in zip(facts.queries, positives_ranks(run.ranking, truth), strict=True):
        assert each.hit_ranks.tolist() == sorted(r for r in ranks.tolist() if 0 < r <= 10)
        assert each.positives == 3
    recall, any_hit = recall_by_rank(facts.queries, 10)
    metrics = run.evaluation.metrics
    assert recall[9] == pytest.approx(metrics["recall@10"])
    assert [any_hit[n - 1] for n in (1, 5, 10)] == pytest.approx([metrics[f"R@{n}"] for n in (1, 5, 10)])


def test_ignored_images_take_no_rank(make: Maker, report: Callable[..., Page]) -> None:
    run = make(queries=1, gain=-1.0)
    top = int(run.ranking.indices[0, 0])
    truth = replace(run.ground_truth, ignored=(np.array([top]),))
    page = report(
        replace(run, ground_truth=truth, evaluation=evaluate(run.ranking, truth, k=20, bootstrap=10))
    )
    described = [a["aria-label"] or "" for a in page.all("svg") if a.get("class") == "picture"]
    assert described[1].startswith("Ignored, takes no rank")
    assert described[2].startswith("Rank 1, does not show the object")
    wrong = [text for text in described if text.startswith("Rank 1,")]
    assert len(wrong) == 2  # in the gallery and among the wrong answers


def test_one_query_without_any_hit(make: Maker, report: Callable[..., Page]) -> None:
    run = make(queries=1, gain=-1.0, k=5)
    page = report(run)
    assert "For 0 of 1 object the first photo returned" in page.visible
    assert "For 1 object no photo is among the first 5 results: object0 ." in page.visible
    assert "no positive in the first 5" in page.visible
    assert "1 of 1 queries does poorly" in page.visible
    assert "not found" in page.visible
    assert "First positive" in page.visible  # the table's heading
    assert not any("further" in (a.get("class") or "") for a in page.all("figure"))


def test_a_late_first_positive_is_shown(make: Maker, report: Callable[..., Page]) -> None:
    run = make(queries=1, positives=1, gain=-1.0, k=21)
    page = report(run)
    assert "first positive at rank 21" in page.visible
    tiles = [a["class"] or "" for a in page.all("figure")]
    assert tiles[:13] == ["tile query", *["tile miss"] * 11, "tile hit further"]


def test_nothing_wrong_at_all(make: Maker, report: Callable[..., Page]) -> None:
    page = report(make(queries=3, positives=5, gain=1.0, k=5))
    assert "There are no wrong answers at all." in page.visible
    assert "For 3 of 3 objects" in page.visible


def test_missing_size_and_clutter_say_what_to_add(make: Maker, report: Callable[..., Page]) -> None:
    bare = report(make())
    assert "Add a box for each positive" in bare.visible
    assert "Add a clutter value" in bare.visible
    assert "Add a taxonomy or a category" in bare.visible
    labels = {"category": {"object0": "tools", "object1": "tools", "object2": "toys", "object3": "toys"}}
    full = report(make(queries=8, values=True, labels=labels))
    assert "Add a" not in full.visible
    assert {"under 6.9%", "27% or more", "fewer than 18", "53 or more", "tools", "toys"} <= {
        text for tag, text in full.texts if tag == "text"
    }
    assert "By category" in full.visible


def test_slices_are_drawn_to_scale(make: Maker, report: Callable[..., Page]) -> None:
    labels = {"kind": {f"object{i}": "even" if i % 2 == 0 else "odd" for i in range(6)}}
    run = make(queries=6, labels=labels)
    page = report(run)
    drawn = sorted(
        float(a["width"] or 0)
        for a in page.all("rect")
        if a.get("class") == "bar" and a.get("height") == "12"
    )
    means = sorted(s.mean for s in run.evaluation.slices)
    assert drawn == pytest.approx([m * 438 for m in means], abs=0.06)


def test_skipped_images_and_lost_positives_are_said(make: Maker, report: Callable[..., Page]) -> None:
    run = make()
    lost = replace(run.ground_truth, unreachable=np.array([1, 1, 0, 0]))
    evaluation = evaluate(run.ranking, lost, k=20, bootstrap=10)
    skipped = tuple(Skipped(f"bad{i}", f"photos/bad{i}.jpg", "truncated JPEG") for i in range(3))
    page = report(replace(run, ground_truth=lost, evaluation=evaluation, skipped=skipped))
    assert "3 images could not be used and were skipped" in page.visible
    assert "2 expected answers are not in the database" in page.visible
    assert all(f"photos/bad{i}.jpg" in page.visible for i in range(3))
    assert "Nothing was skipped" in report(run).visible
    beside = replace(run, skipped=skipped[:1])
    assert "1 image could not be used and was skipped" in report(run, beside, beside).visible


def test_text_queries_show_their_text(make: Maker, report: Callable[..., Page]) -> None:
    page = report(make(queries=6, texts=3), gallery=6)
    assert "3 queries are photos and 3 are texts" in page.visible
    quoted = {text for tag, text in page.texts if tag == "blockquote"}
    assert quoted == {f"text about object{i}" for i in range(3)}
    assert "queries about 3 objects" in page.visible


def test_an_unreadable_picture_becomes_a_grey_field(make: Maker, report: Callable[..., Page]) -> None:
    run = make(queries=2)
    shown = run.dataset.queries[0].image
    other = run.dataset.queries[1].image
    assert shown is not None
    assert other is not None
    assert isinstance(shown.source, FileSource)
    assert isinstance(other.source, FileSource)
    shown.source.path.write_bytes(b"no picture")
    other.source.path.unlink()
    page = report(run)
    assert page.visible.count("cannot be read") == 2
    assert "2 pictures could not be read for this report" in page.visible


def test_images_that_the_data_set_no_longer_has_are_grey(make: Maker, report: Callable[..., Page]) -> None:
    run = make()
    empty = replace(run.dataset, database=(ListShard("a", ()),))
    page = report(replace(run, dataset=empty))
    assert "photos are no longer in the data set, which has changed since the run" in page.visible
    assert "no longer in the data set" not in report(run).visible


def test_cutoffs_beyond_the_database_are_not_shown(make: Maker, report: Callable[..., Page]) -> None:
    images = len(make().ranking.database_ids)
    page = report(make(k=1000))
    assert "among the first 1,000" not in page.visible
    assert "among the first 1000" not in page.visible
    assert "recall@100" not in page.visible
    assert "Recall@1000" not in page.visible
    assert "Oracle@1000" not in page.visible
    assert "recall@1000" not in page.visible
    small = make(k=images - 1)
    assert f"among the first {images - 1} results" in report(small).visible


def test_cutoffs_beyond_the_database_are_not_in_the_table_of_kinds(
    make: Maker, report: Callable[..., Page]
) -> None:
    """29 photos and lists of 20 and of 1,000: what the first 1,000 hold of 29 says nothing."""
    for k, shown in ((20, True), (1000, False)):
        page = report(make(texts=1, k=k))
        assert "image" in page.visible
        heads = [text for tag, text in page.texts if tag == "th"]
        # once in the table of runs, once in that of kinds
        assert heads.count(f"Recall@{k}") == 2 * shown
        assert heads.count(f"mAP@{k}") == 1


def test_the_best_design_is_the_headline(make: Maker, report: Callable[..., Page]) -> None:
    weak, strong = make(gain=0.0), replace(make(gain=0.9), design="the better one")
    assert strong.evaluation.mean > weak.evaluation.mean
    page = report(weak, strong)
    assert page.visible == report(strong, weak).visible
    assert f"{100 * strong.evaluation.mean:.1f}" in page.visible
    assert "the better one" in page.visible[:400]


def test_runs_of_different_cutoffs_keep_their_order(make: Maker) -> None:
    one, other = make(gain=0.0, k=10), make(gain=0.9, k=20)
    assert best_first([one, other]) == [one, other]
    assert best_first([one, replace(make(gain=0.9, k=10), name="b")])[0].name == "b"


def test_every_language_of_the_settings_has_its_words() -> None:
    assert set(get_args(get_type_hints(ReportConfig)["language"])) == set(languages("report"))


def test_wide_tables_hint_at_what_is_to_the_right(make: Maker, report: Callable[..., Page]) -> None:
    assert "swipe or scroll sideways" in report(make()).visible


def test_parts_of_different_runs_are_an_error(make: Maker, tmp_path: Path) -> None:
    run = make()
    alien = replace(run.evaluation, query_ids=("x", *run.evaluation.query_ids[1:]))
    with pytest.raises(ArtifactError, match="query 'x' was evaluated but is not in the data set"):
        write_report([replace(run, evaluation=alien)], tmp_path / "r.html")


def test_shards_are_read_only_as_far_as_needed(make: Maker, tmp_path: Path) -> None:
    run = make()
    (shard,) = run.dataset.database
    records = tuple(shard.records())
    last = max(select(run, 4)[0].queries[0].rows)  # any row will do: all shown rows lie in the first shard
    assert last < len(records)
    unread = ListShard("b", records[:1])
    write_report([replace(run, dataset=replace(run.dataset, database=(shard, unread)))], tmp_path / "r.html")
    assert unread.read == []


def test_the_same_run_gives_the_same_bytes(make: Maker, tmp_path: Path) -> None:
    run = make(values=True, texts=1, boxes=True)
    first = write_report([run], tmp_path / "a.html").read_bytes()
    assert write_report([run], tmp_path / "b.html").read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html", "photos"]


def test_several_runs(make: Maker, report: Callable[..., Page]) -> None:
    run = make()
    fast = replace(run, design="design-b", cost=replace(run.cost, extraction_ms_per_image=9.0))
    page = report(run, fast)
    assert "Of the 2 designs compared," in page.visible
    assert "design-b the fastest to describe a photo ( 9.0 ms )" in page.visible
    other = replace(run, evaluation=evaluate(run.ranking, run.ground_truth, k=5, bootstrap=10))
    page = report(run, other)
    assert "their accuracies are not comparable" in page.visible
    assert "ilias, k = 5" in page.visible
    free = replace(run, cost=replace(run.cost, bytes_per_image=0.0))
    assert "No run has a measured value" in report(free).visible


def test_the_progress_of_pictures(make: Maker, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_report([make()], tmp_path / "r.html", progress=lambda done, total: calls.append((done, total)))
    total = len(calls)
    assert calls == [(i + 1, total) for i in range(total)]
    assert total > 10


@pytest.mark.slow
def test_a_thousand_queries_stay_within_15_mb(make: Maker, tmp_path: Path) -> None:
    run = make(queries=1000, positives=1, distractors=400, k=100, size=(160, 120))
    path = write_report([run], tmp_path / "r.html")
    assert path.stat().st_size < 5_000_000
    page = Page(path.read_text("utf-8"))
    assert "1,000 of 1,000" not in page.visible
    assert sum(a.get("class") == "spark" for a in page.all("svg")) == 1000

    path = write_report([run], tmp_path / "r.html", gallery=300, max_bytes=8_000_000)
    assert 2_000_000 < path.stat().st_size < 8_000_000
    text = path.read_text("utf-8")
    assert text.count("<image id=") > 900
    assert "pictures were left out" not in text


@pytest.mark.slow
def test_what_does_not_fit_is_left_out_and_said(make: Maker, tmp_path: Path) -> None:
    run = make(queries=12, distractors=60, size=(224, 160))
    path = write_report([run], tmp_path / "r.html")
    everything = len(Page(path.read_text("utf-8")).all("image"))
    limit = len(re.sub(r'"data:[^"]*"', '""', path.read_text("utf-8"))) + 20_000
    path = write_report([run], tmp_path / "r.html", max_bytes=limit)
    assert path.stat().st_size <= limit
    page = Page(path.read_text("utf-8"))
    left = everything - len(page.all("image"))
    assert 0 < left < everything
    assert f"{left} pictures were left out" in page.visible
    with pytest.raises(ConfigError, match="bytes without any picture, more than max_bytes = 50,000"):
        write_report([run], tmp_path / "r.html", max_bytes=50_000)


def test_mistaken_arguments(make: Maker, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one result"):
        write_report([], tmp_path / "r.html")
    with pytest.raises(ConfigError, match="gallery must be 0 or more queries, got -1"):
        write_report([make()], tmp_path / "r.html", gallery=-1)
    with pytest.raises(ConfigError, match=r"report has no text in the language 'xx'; choose one of en"):
        write_report([make()], tmp_path / "r.html", language="xx")
    empty = write_report([make()], tmp_path / "r.html", gallery=0)
    assert Page(empty.read_text("utf-8")).all("image") == []


def test_every_word_comes_from_the_catalogue(
    make: Maker, report: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Translate every string into Greek letters: no Latin word may remain but the data's own."""
    english = load_words("report", "en").entries
    rules = {
        "plural": "none",
        "thousands": " ",
        "decimal": ",",
        "between_sentences": " ",
        "between_items": ", ",
    }
    catalogue: dict[str, dict[str, str | Mapping[str, str]]] = {"language": dict(rules)}
    for key, entry in english.items():
        section, _, name = key.partition(".")
        text = entry if isinstance(entry, str) else entry["other"]
        greek = "".join(
            re.sub(r":.*(?=})", ":ω|ω", part) if part.startswith("{") else re.sub(r"[A-Za-z]", "ω", part)
            for part in re.split(r"(\{\w+(?::[^{}]+)?\})", text)
        )
        catalogue.setdefault(section, {})[name] = greek if isinstance(entry, str) else {"other": greek}
    monkeypatch.setattr(build, "load_words", lambda room, language: Words(language, catalogue))

    run = make(queries=5, texts=2, names=str, values=True, labels={"7": {"0": "8", "1": "9", "2": "8"}})
    machine = Machine("1", 2, 3, "4", "5")
    run = replace(
        run,
        name="1",
        design="2",
        dataset=replace(run.dataset, name="3"),
        skipped=(Skipped("4", "5", "6"),),
        provenance={"1": {"2": "3"}},
        cost=replace(run.cost, machine=machine, stage_seconds={"1": 2.0}, reused=("1",)),
    )
    page = report(run, replace(run, design="4"))
    data = r"[RP]@\d+|(mAP|recall|oracle)@\d+( \(ilias\))?|ilias|text about \d|\d+/[qtp]\d*|d\d+"
    for tag, text in page.texts:
        if tag not in ("style", "script"):
            assert not re.search("[A-Za-z]", re.sub(data, "", text)), text
    for _, attributes in page.tags:
        for name in ("aria-label", "title", "alt"):
            value = attributes.get(name) or ""
            assert not re.search("[A-Za-z]", re.sub(data + r"|\de-\d+", "", value)), value


def test_a_japanese_report_says_nothing_in_english(make: Maker, tmp_path: Path) -> None:
    run = make(queries=5, values=True, names=str, labels={"色": {"0": "赤", "1": "青", "2": "赤"}})
    run = replace(run, name="部品", design="設計A", dataset=replace(run.dataset, name="部品"), provenance={})
    path = write_report([run, replace(run, design="設計B")], tmp_path / "r.html", language="ja")
    page = Page(path.read_text("utf-8"))
    assert page.all("html")[0]["lang"] == "ja"
    kept = r"[RPn]@[\dkn]+|mAP(@\w+)?|(recall|oracle)@\d+|ilias|ILIAS|Ilion|Python|\b(AP|ID)\b|[KMG]B"
    data = r"TestCPU|TestOS|extract|query|search|ilion compare|\d+/[qtp]\d*|\bd\d+|test [\w ]+"
    for tag, text in page.texts:
        if tag not in ("style", "script"):
            assert not re.search(r"[A-Za-z]{2,}", re.sub(f"{kept}|{data}", "", text)), text
