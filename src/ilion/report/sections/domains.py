"""The section that sets several runs side by side by domain: which design wins where, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ilion.evaluation.intervals import bootstrap_means, group, percentiles
from ilion.outcome import Evaluation, Interval, RunResult
from ilion.report.context import Context, Section
from ilion.report.sections.verdict import comparable, known_slices, label_axes
from ilion.types import Bool

BOOTSTRAP = 2000


@dataclass(frozen=True)
class Difference:
    """Difference of a run from the main run on the same queries. Fractions.

    Args:
        mean: Mean AP of the run minus that of the main run.
        ci95: 95% bootstrap interval over instances.
    """

    mean: float
    ci95: Interval

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.ci95.low > 0 or self.ci95.high < 0


@dataclass(frozen=True)
class Cell:
    """One run in one domain; ``difference`` is None for the main run and where queries differ."""

    mean: float
    ci95: Interval
    best: bool
    difference: Difference | None


@dataclass(frozen=True)
class Row:
    """One domain: its label ("" for all queries), its size and one cell a run (None without results)."""

    label: str
    instances: int
    queries: int
    cells: tuple[Cell | None, ...]


def domains_section(context: Context) -> Section | None:
    """Tabulate mAP by label for all runs, with paired differences from the main run."""
    words, results = context.words, context.results
    axes = label_axes(context.main.evaluation)
    if len(results) < 2 or not axes or not comparable(results):
        return None
    tables = [(axis, domain_rows(results, axis)) for axis in axes]
    data = {
        "runs": [
            (number, result.design, domain_of(result)) for number, result in enumerate(results, start=1)
        ],
        "tables": [(axis, rows, _winners(context, axis, rows)) for axis, rows in tables],
        "paired": all(_is_paired(results[0].evaluation, r.evaluation) for r in results),
    }
    return Section("domains", words("domains.title"), data)


def domain_of(result: RunResult) -> str:
    """Return what a run's model is specialised in, as its settings or preset say; "" for a general one."""
    config = result.provenance.get("config")
    settings = config.get("report") if isinstance(config, Mapping) else None
    stated = settings.get("domain") if isinstance(settings, Mapping) else None
    return str(stated or result.provenance.get("domain") or "")


def domain_rows(results: Sequence[RunResult], axis: str) -> list[Row]:
    """Return one row for each known label of an axis, largest first, and one for all queries.

    Args:
        results: Comparable runs; differences are taken from the first.
        axis: Name of the axis, such as ``category``.
    """
    main = results[0]
    labels = main.dataset.labels.get(axis, {})
    slices = sorted(known_slices(main.evaluation, axis), key=lambda s: (-s.instances, s.label))
    rows = []
    for part in slices:
        found = [
            next((s for s in known_slices(r.evaluation, axis) if s.label == part.label), None)
            for r in results
        ]
        inside = np.array([labels.get(i) == part.label for i in main.evaluation.instances])
        numbers = [None if s is None else (s.mean, s.ci95) for s in found]
        cells = _cells(results, numbers, inside, by_instance=True)
        rows.append(Row(part.label, part.instances, part.queries, cells))
    every = np.ones(len(main.evaluation.query_ids), np.bool_)
    numbers = [(r.evaluation.mean, r.evaluation.ci95) for r in results]
    cells = _cells(results, numbers, every, by_instance=False)
    rows.append(Row("", len(set(main.evaluation.instances)), len(every), cells))
    return rows


def paired_difference(main: Evaluation, other: Evaluation, inside: Bool, *, by_instance: bool) -> Difference:
    """Compare two evaluations of the same queries on some of them.

    Args:
        main: The baseline.
        other: Evaluation of the same queries, in any order.
        inside: (Q,) which queries take part, in the order of ``main``.
        by_instance: Whether the queries of an instance are averaged first, as slices by label are.
    """
    place = {query: number for number, query in enumerate(other.query_ids)}
    order = [place[query] for query in main.query_ids]
    change = (other.per_query[order] - main.per_query)[inside]
    # Equal APs may differ in the last bits when two runs add the same terms in another order.
    change[np.abs(change) < 1e-12] = 0.0
    codes, instances = group(tuple(np.array(main.instances, dtype=object)[inside]))
    totals = np.bincount(codes, weights=change, minlength=instances).astype(np.float64)
    weights = np.bincount(codes, minlength=instances).astype(np.float64)
    if by_instance:
        totals, weights = totals / weights, np.ones(instances)
    mean = float(totals.sum() / weights.sum())
    if instances < 2:
        return Difference(mean, Interval(-1.0, 1.0))
    replicates = bootstrap_means(totals[:, None], weights[:, None], BOOTSTRAP, 0)
    return Difference(mean, percentiles(replicates[:, 0], instances))


def _cells(
    results: Sequence[RunResult],
    numbers: Sequence[tuple[float, Interval] | None],
    inside: Bool,
    *,
    by_instance: bool,
) -> tuple[Cell | None, ...]:
    best = max((mean for mean, _ in filter(None, numbers)), default=0.0)
    main = results[0].evaluation
    cells: list[Cell | None] = []
    for number, (result, known) in enumerate(zip(results, numbers, strict=True)):
        if known is None:
            cells.append(None)
            continue
        change = None
        if number and _is_paired(main, result.evaluation):
            change = paired_difference(main, result.evaluation, inside, by_instance=by_instance)
        cells.append(Cell(known[0], known[1], known[0] == best and best > 0, change))
    return tuple(cells)


def _is_paired(main: Evaluation, other: Evaluation) -> bool:
    return set(main.query_ids) == set(other.query_ids)


def _winners(context: Context, axis: str, rows: Sequence[Row]) -> list[str]:
    """Say for each run in how many domains it is best."""
    words = context.words
    parts = [row for row in rows if row.label]
    sentences = []
    for number, result in enumerate(context.results):
        count = sum(1 for row in parts if (cell := row.cells[number]) is not None and cell.best)
        if count:
            sentences.append(words("domains.best_in", count=count, of=len(parts), design=result.design))
    return sentences
