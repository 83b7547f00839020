"""The sections of the report, each a function from the context to a template and its data.

To add one, write such a function and its template, and put it into `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from markupsafe import Markup

from ilion.outcome import RunResult, SliceResult
from ilion.report.charts import charts
from ilion.report.context import Context, Section
from ilion.report.sections.domains import domains_section
from ilion.report.sections.facts import recall_by_rank
from ilion.report.sections.gallery import gallery_section
from ilion.report.sections.reading import kinds_section, long_texts, reading_section
from ilion.report.sections.reranking import reranking_section
from ilion.report.sections.verdict import (
    all_skipped,
    answer_ms,
    caveats,
    known_slices,
    label_axes,
    slice_label,
    verdict,
)

_MAX_BARS = 12
_MAX_SKIPPED = 500


def verdict_section(context: Context) -> Section:
    """Say in words how well it works, with four key figures."""
    words, main = context.words, context.main
    evaluation, cost, queries = main.evaluation, main.cost, context.outcome.queries
    hits = sum(f.hit_at_1 for f in queries)
    figures = [
        (
            words.percent(evaluation.mean, 1),
            words("key.precision", k=str(evaluation.k)),
            words(
                "key.precision_note",
                low=words.percent(evaluation.ci95.low),
                high=words.percent(evaluation.ci95.high),
            ),
        ),
        (
            words.percent(hits / len(queries)),
            words("key.first"),
            words("key.first_note", hits=hits, count=len(queries)),
        ),
        (
            words.milliseconds(cost.extraction_ms_per_image),
            words("key.photo"),
            words("key.photo_note", bytes=words.size(cost.bytes_per_image)),
        ),
        (
            words.milliseconds(answer_ms(main)),
            words("key.query"),
            words(
                "key.query_note",
                describe=words.milliseconds(cost.query_ms_per_query),
                search=words.milliseconds(cost.search_ms_per_query),
            ),
        ),
    ]
    data = {
        "sentences": verdict(context.results, context.outcome, words),
        "caveats": caveats(context.results, context.outcome, len(context.pictures.problems), words),
        "figures": figures,
    }
    return Section("verdict", words("verdict.title"), data)


def runs_section(context: Context) -> Section:
    """Tabulate accuracy and cost of every run, and all metrics and slices of the main one."""
    words, main = context.words, context.main
    data = {
        "runs": list(enumerate(context.results, start=1)),
        "datasets_differ": len({r.dataset.name for r in context.results}) > 1,
        "cutoffs_differ": len({(r.evaluation.definition, r.evaluation.k) for r in context.results}) > 1,
        "machines": [_machine(r, context) for r in context.results],
        "slices": [(s, slice_label(s.axis, s.label, words)) for s in main.evaluation.slices],
        "definitions": _definitions(context),
    }
    return Section("runs", words("runs.title"), data)


def _machine(result: RunResult, context: Context) -> str:
    machine = result.cost.machine
    key = "runs.machine_accelerator" if machine.accelerator else "runs.machine_value"
    return context.words(
        key,
        cpu=machine.cpu,
        count=machine.cores,
        memory=context.words.size(machine.memory_bytes),
        accelerator=machine.accelerator,
    )


def _definitions(context: Context) -> list[tuple[str, str]]:
    words = context.words
    names = dict.fromkeys(r.evaluation.definition for r in context.results)
    return [
        *((words("define.mAP"), words(f"define.{name}")) for name in names),
        (words("define.R@n"), words("define.r_at")),
        (words("define.P@n"), words("define.p_at")),
        (words("define.recall_name"), words("define.recall")),
        (words("define.oracle_name"), words("define.oracle")),
        (words("define.interval_name"), words("define.interval")),
        (words("define.cost_name"), words("define.cost")),
    ]


def plots_section(context: Context) -> Section:
    """Plot accuracy against cost, by size, clutter and label, by rank and by query."""
    words, evaluation = context.words, context.main.evaluation
    costs: tuple[tuple[str, str, Callable[[RunResult], float]], ...] = (
        ("photo", "ms", lambda r: r.cost.extraction_ms_per_image),
        ("bytes", "bytes", lambda r: r.cost.bytes_per_image),
        ("query", "ms", answer_ms),
    )
    panels = [
        (words(f"plots.cost_{name}"), _cost_panel(context, name, unit, cost)) for name, unit, cost in costs
    ]
    recall, any_hit = recall_by_rank(context.outcome.queries, context.outcome.k)
    aps = evaluation.per_query
    data = {
        "single": len(context.results) == 1,
        "panels": panels,
        "values": [(axis, _value_bars(context, axis)) for axis in ("scale", "clutter")],
        "labels": [(axis, *_label_bars(context, axis)) for axis in label_axes(evaluation)],
        "ranks": charts.positives_by_rank("c-rank", recall, any_hit, words("plots.rank_heading"), words),
        "precisions": charts.sorted_precisions(
            "c-precision", aps, evaluation.mean, words("plots.precision_heading"), words
        ),
        "precision_intro": words(
            "plots.precision_intro",
            count=len(aps),
            low=int((aps < 0.1).sum()),
            high=int((aps > 0.9).sum()),
        ),
    }
    return Section("plots", words("plots.title"), data)


def _cost_panel(context: Context, name: str, unit: str, cost: Callable[[RunResult], float]) -> Markup | None:
    words = context.words
    points = [
        charts.Point(
            mark=str(number),
            name=result.design,
            cost=cost(result),
            cost_text=words.cost(cost(result), unit),
            accuracy=result.evaluation.mean,
            ci95=result.evaluation.ci95,
            main=result is context.main,
        )
        for number, result in enumerate(context.results, start=1)
        if cost(result) > 0
    ]
    if not points:
        return None
    return charts.accuracy_against_cost(f"c-{name}", points, words(f"plots.cost_{name}"), unit, words)


def _bar(context: Context, part: SliceResult) -> charts.Bar:
    words = context.words
    remark = words(
        "chart.bar_remark",
        value=words.percent(part.mean, 1),
        low=words.percent(part.ci95.low),
        high=words.percent(part.ci95.high),
        count=part.instances,
    )
    return charts.Bar(slice_label(part.axis, part.label, words), part.mean, part.ci95, remark)


def _value_bars(context: Context, axis: str) -> Markup | None:
    slices = known_slices(context.main.evaluation, axis)
    if not slices:
        return None
    rows = [_bar(context, s) for s in context.main.evaluation.slices if s.axis == axis]
    return charts.bars(f"c-{axis}", rows, context.words(f"plots.{axis}_heading"), context.words)


def _label_bars(context: Context, axis: str) -> tuple[Markup, int]:
    """Draw the labels of an axis from the weakest to the strongest; of many, the two ends."""
    slices = sorted(known_slices(context.main.evaluation, axis), key=lambda s: s.mean)
    left_out = max(0, len(slices) - _MAX_BARS)
    if left_out:
        slices = slices[: _MAX_BARS // 2] + slices[-(_MAX_BARS // 2) :]
    number = label_axes(context.main.evaluation).index(axis)
    title = context.words("plots.label_heading", axis=axis)
    return charts.bars(f"c-label{number}", [_bar(context, s) for s in slices], title, context.words), left_out


def queries_section(context: Context) -> Section:
    """List every query."""
    data = {"queries": context.outcome.queries, "note": long_texts(context)}
    return Section("queries", context.words("queries.title"), data)


def skipped_section(context: Context) -> Section:
    """List the images that could not be used, in any of the runs."""
    skipped = all_skipped(context.results)
    data = {"skipped": skipped[:_MAX_SKIPPED], "count": len(skipped), "more": len(skipped[_MAX_SKIPPED:])}
    return Section("skipped", context.words("skipped.title"), data)


def provenance_section(context: Context) -> Section:
    """Print what is needed to repeat the runs."""
    words = context.words
    trees = []
    for result in context.results:
        machine: Mapping[str, object] = asdict(result.cost.machine)
        facts = {
            words("provenance.cpu"): machine["cpu"],
            words("provenance.cores"): machine["cores"],
            words("provenance.memory"): words.size(result.cost.machine.memory_bytes),
            words("provenance.accelerator"): machine["accelerator"] or words("table.none"),
            words("provenance.system"): machine["system"],
            words("provenance.python"): machine["python"],
        }
        tree = {words("provenance.machine"): facts, words("provenance.recorded"): result.provenance}
        trees.append((words("provenance.run", name=result.name, design=result.design), tree))
    return Section("provenance", words("provenance.title"), {"trees": trees})


SECTIONS: tuple[Callable[[Context], Section | None], ...] = (
    verdict_section,
    runs_section,
    domains_section,
    plots_section,
    kinds_section,
    reading_section,
    reranking_section,
    gallery_section,
    queries_section,
    skipped_section,
    provenance_section,
)
"""The sections in their order on the page; one that gives None has nothing to say about the run."""
