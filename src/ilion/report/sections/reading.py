"""What the words on things did: read in queries and results, and images and texts as queries side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ilion.evaluation.intervals import bootstrap_means, group, mean_interval
from ilion.outcome import Evaluation, Interval, ReadPair
from ilion.outcome import Reading as Outcome
from ilion.report.context import Context, Section
from ilion.report.sections.gallery import Tile, query_tile, result_tile
from ilion.report.sections.verdict import shared_cutoff
from ilion.types import Float64
from ilion.wording import Words

RESULTS = 4
"""Results of a query whose words are shown."""
QUERIES = 8
"""Queries whose words are shown."""
_SAMPLES = 2000


@dataclass(frozen=True)
class Exhibit:
    """A query and its first results, with their words."""

    instance: str
    id: str
    query: Tile | None
    asked: tuple[tuple[str, bool], ...]
    results: tuple[tuple[Tile, ReadPair], ...]


def reading_section(context: Context) -> Section | None:
    """Say what reading brought, and show the words by which results were found."""
    reading, words = context.main.reading, context.words
    if reading is None:
        return None
    chosen = context.selection.chosen
    numbers = list(dict.fromkeys([*chosen.best, *chosen.typical, *chosen.worst]))[:QUERIES]
    explain = reading.explain
    data = {
        "summary": _summary(reading, context),
        "exhibits": [_exhibit(context, explain, number) for number in numbers] if explain else [],
        "gone": "" if explain else words("reading.gone"),
    }
    return Section("reading", words("reading.title"), data)


def _summary(reading: Outcome, context: Context) -> list[str]:
    words, evaluation = context.words, context.main.evaluation
    sentences = [
        words(
            "reading.cost",
            time=words.milliseconds(reading.ms_per_image),
            bytes=words.size(reading.bytes_per_image),
        ),
        words("reading.with_text", share=words.percent(reading.with_text)),
    ]
    if reading.silent:
        sentences.append(words("reading.silent", count=reading.silent))
    if reading.change is not None and reading.before is not None:
        change = reading.change
        sentences.append(
            words(
                "reading.change",
                before=words.percent(reading.before.mean, 1),
                after=words.percent(reading.before.mean + change.difference, 1),
                change=words.points(change.difference),
                low=words.points(change.ci95.low),
                high=words.points(change.ci95.high),
                better=change.better,
                worse=change.worse,
                count=len(evaluation.per_query),
            )
        )
        sentences.append(_weights(reading, words))
    return sentences


def _weights(reading: Outcome, words: Words) -> str:
    if reading.fusion == "rank":
        return words("reading.fused_rank")
    used = words.items(words.number(float(weight), 3) for weight in np.unique(reading.weights))
    if reading.folds.any():
        return words("reading.fused_learnt", weights=used, count=int(reading.folds.max()) + 1)
    return words("reading.fused_fixed", weights=used)


def _exhibit(context: Context, explain: Callable[[int, int], ReadPair], number: int) -> Exhibit:
    facts = context.outcome.queries[number]
    results = tuple(
        (result_tile(context, facts, position), explain(number, int(facts.rows[position])))
        for position in context.selection.shown[number][:RESULTS]
    )
    pairs = [pair.asked for _, pair in results]
    asked = tuple((word[0][0], any(found for _, found in word)) for word in zip(*pairs, strict=True))
    return Exhibit(facts.query.instance, facts.query.id, query_tile(context, facts), asked, results)


def long_texts(context: Context) -> str:
    """Say how many texts of the main run exceed what its model reads; "" where none does."""
    texts = context.main.provenance.get("long texts")
    if not isinstance(texts, Mapping):
        return ""
    return context.words(f"kinds.long_{texts['read']}", count=texts["count"])


@dataclass(frozen=True)
class Kind:
    """One kind of query in one run: means with their intervals."""

    design: str
    name: str
    queries: int
    figures: tuple[tuple[float, Interval] | None, ...]


def kinds_section(context: Context) -> Section | None:
    """Set image and text queries side by side, where a run has both."""
    words = context.words
    rows, cut = [], shared_cutoff(context.results)
    for result in context.results:
        texts = {query.id for query in result.dataset.queries if query.text is not None}
        e = result.evaluation
        is_text = np.array([name in texts for name in e.query_ids])
        for name, chosen in (("image", ~is_text), ("text", is_text)):
            if chosen.any():
                of = e.per_query_metrics
                measured = (e.per_query, of["R@1"], *([of.get(f"recall@{cut}")] if cut else []))
                means = tuple(None if values is None else _mean(e, values, chosen) for values in measured)
                rows.append(Kind(result.design, words(f"kinds.{name}"), int(chosen.sum()), means))
    if len({row.name for row in rows}) < 2:
        return None
    data = {"rows": rows, "k": context.main.evaluation.k, "cut": cut, "note": long_texts(context)}
    return Section("kinds", words("kinds.title"), data)


def _mean(evaluation: Evaluation, values: Float64, chosen: np.ndarray) -> tuple[float, Interval]:
    """Return a mean over some queries and its 95% bootstrap interval over their instances."""
    picked = values[chosen]
    codes, instances = group([n for n, ok in zip(evaluation.instances, chosen, strict=True) if ok])
    totals = np.bincount(codes, picked, instances).astype(np.float64)[:, None]
    counts = np.bincount(codes, minlength=instances).astype(np.float64)[:, None]
    replicates = bootstrap_means(totals, counts, _SAMPLES, seed=0)[:, 0]
    mean = float(picked.mean())
    return mean, mean_interval(mean, replicates, instances)
