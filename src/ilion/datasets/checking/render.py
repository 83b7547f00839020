"""A check as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from ilion.datasets.checking.check import DatasetCheck
from ilion.datasets.checking.facts import DatasetFacts, Histogram, SizeClutter
from ilion.datasets.layouts.base import LAYOUTS
from ilion.datasets.listing import Severity

SHOWN = 8
"""Most problems of one kind that are printed; the check itself lists more."""
_BAR = 30
_TITLES: dict[Severity, str] = {"error": "ERROR", "warning": "warning", "info": "info"}


def render_check(check: DatasetCheck, *, shown: int = SHOWN) -> str:
    """Return a check as text: what the set is like, then at most ``shown`` problems of each kind."""
    layout = LAYOUTS.get(check.layout)
    lines = [f"{check.name} ({(layout and layout.note) or check.layout}, {check.root})", ""]
    lines += _facts(check.facts)
    lines += _problems(check, shown)
    return "\n".join(lines) + "\n"


def _facts(facts: DatasetFacts) -> Iterator[str]:
    counts = [f"{number:,} {name}" for name, number in facts.counts.items() if number]
    yield "  " + ", ".join(counts)
    for name, values in facts.per_object.items():
        yield f"  {name} an object: {values.median:g} (from {values.lowest:g} to {values.highest:g})"
    if facts.formats:
        yield "  formats: " + ", ".join(f"{number:,} {name}" for name, number in facts.formats.items())
    for group, histogram in facts.longer_side.items():
        yield from ("", f"  longer side of {group}, in pixels")
        yield from _bars(histogram)
    if facts.object_share and facts.object_share_histogram:
        share = facts.object_share
        yield ""
        spread = f"half of them {share.q25:.0%} to {share.q75:.0%}"
        yield f"  objects fill {share.median:.0%} of their photo (median; {spread})"
        yield from _bars(facts.object_share_histogram)
    elif facts.counts["positives"]:
        yield from ("", "  object sizes are unknown: add boxes to see how results depend on size")
    if facts.clutter_estimate:
        yield from ("", "  clutter estimate (edge density around the objects; no count of objects)")
        for group, values in facts.clutter_estimate.items():
            yield f"    {group:<12} {values.median:.2f} (half of them {values.q25:.2f} to {values.q75:.2f})"
    if facts.size_clutter:
        yield from _table(facts.size_clutter)
    yield ""


def _bars(histogram: Histogram) -> Iterator[str]:
    most = max((*histogram.counts, 1))
    width = max(len(label) for label in histogram.labels)
    for label, count in zip(histogram.labels, histogram.counts, strict=True):
        bar = "█" * max(round(_BAR * count / most), 1 if count else 0)
        yield f"    {label:>{width}} {count:>9,} {bar}"


def _table(table: SizeClutter) -> Iterator[str]:
    head = max(len(size) for size in table.sizes)
    widths = [max(len(clutter), 8) for clutter in table.clutters]
    yield from ("", f"  positives by object size and {table.measure}")
    cells = "  ".join(f"{clutter:>{width}}" for clutter, width in zip(table.clutters, widths, strict=True))
    yield f"    {'':<{head}}  {cells}"
    for size, row in zip(table.sizes, table.counts, strict=True):
        cells = "  ".join(f"{count or '-':>{width}}" for count, width in zip(row, widths, strict=True))
        yield f"    {size:<{head}}  {cells}"
    if table.unknown:
        yield f"    {table.unknown:,} positives have no known size or clutter"
    for corner in table.empty:
        yield f"    empty corner: {corner}; results say nothing about these"


def _problems(check: DatasetCheck, shown: int) -> Iterator[str]:
    for (severity, kind), group in groupby(check.problems, key=lambda p: (p.severity, p.kind)):
        problems = list(group)
        total = check.totals[severity][kind]
        yield f"{_TITLES[severity]} {kind} ({total:,})"
        for problem in problems[:shown]:
            yield f"  {problem.file}: {problem.message}"
            yield f"      -> {problem.remedy}"
        if total > shown:
            yield f"  ... and {total - len(problems[:shown]):,} more"
        yield ""
    errors, warnings, infos = (sum(check.totals[severity].values()) for severity in _TITLES)
    verdict = "The data set can be used." if check.ok else "Correct the errors first."
    yield f"{errors:,} errors, {warnings:,} warnings, {infos:,} infos. {verdict}"
