"""A check as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from ilion.datasets.checking.check import DatasetCheck
from ilion.datasets.checking.facts import DatasetFacts, Histogram, SizeClutter
from ilion.datasets.checking.time import render_time
from ilion.datasets.layouts.base import LAYOUTS
from ilion.datasets.listing import Problem, Severity
from ilion.wording import counted

SHOWN = 8
"""Most problems of one kind that are printed; the check itself lists more."""
NOTHING = "nothing to do"
"""Beginning of the remedy of what is only good to know: counted in one line, and listed in JSON."""
_BAR = 30
_TITLES: dict[Severity, str] = {"error": "ERROR", "warning": "warning", "info": "info"}


def render_check(check: DatasetCheck, *, shown: int = SHOWN) -> str:
    """Return a check as text: what is to be done, then what the set is like, and the verdict at the end.

    Args:
        check: The check.
        shown: Largest number of problems of a kind that are printed.
    """
    layout = LAYOUTS.get(check.layout)
    lines = [f"{check.name} ({(layout and layout.note) or check.layout}, {check.root})", ""]
    lines += _problems(check, shown)
    lines += _facts(check.facts)
    if check.time is not None:
        lines += [*render_time(check.time), ""]
    lines += _verdict(check)
    return "\n".join(lines) + "\n"


def _facts(facts: DatasetFacts) -> Iterator[str]:
    counts = [f"{number:,} {name}" for name, number in facts.counts.items() if number]
    yield "  " + ", ".join(counts)
    for name, values in facts.per_object.items():
        yield f"  {name} an object: {values.median:g} (from {values.lowest:g} to {values.highest:g})"
    if facts.formats:
        yield "  formats: " + ", ".join(f"{number:,} {name}" for name, number in facts.formats.items())
    for group, histogram in facts.longer_side.items():
        yield from _bars(f"  longer side of {group}, in pixels", histogram)
    if facts.object_share and facts.object_share_histogram:
        share = facts.object_share
        spread = f"half of them {share.q25:.0%} to {share.q75:.0%}"
        title = f"  objects fill {share.median:.0%} of their photo (median; {spread})"
        yield from _bars(title, facts.object_share_histogram)
    elif facts.counts["positives"]:
        yield "  object sizes are unknown: add boxes to see how results depend on size"
    if facts.clutter_estimate:
        yield from ("", "  clutter estimate (edge density around the objects; no count of objects)")
        for group, values in facts.clutter_estimate.items():
            yield f"    {group:<12} {values.median:.2f} (half of them {values.q25:.2f} to {values.q75:.2f})"
    if facts.size_clutter:
        yield from _table(facts.size_clutter)
    yield ""


def _bars(title: str, histogram: Histogram) -> Iterator[str]:
    """Yield a title with its bars, from the first that is not empty to the last; a single one is one line."""
    filled = [number for number, count in enumerate(histogram.counts) if count]
    rows = (
        list(zip(histogram.labels, histogram.counts, strict=True))[filled[0] : filled[-1] + 1]
        if filled
        else []
    )
    if len(rows) < 2:
        yield title + "".join(f": {label} (all {count:,})" for label, count in rows)
        return
    most, width = max(count for _, count in rows), max(len(label) for label, _ in rows)
    yield from ("", title)
    for label, count in rows:
        bar = "█" * max(round(_BAR * count / most), 1 if count else 0)
        yield f"    {label:>{width}} {count:>9,} {bar}".rstrip()


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
        yield f"    {counted(table.unknown, 'positive has', 'positives have')} no known size or clutter"
    for corner in table.empty:
        yield f"    empty corner: {corner}; results say nothing about these"


def _problems(check: DatasetCheck, shown: int) -> Iterator[str]:
    for (severity, kind), group in groupby(check.problems, key=lambda p: (p.severity, p.kind)):
        problems = [problem for problem in group if _asks_for_something(problem)]
        total = check.totals[severity][kind]
        if not problems:
            continue
        yield f"{_TITLES[severity]} {kind} ({total:,})"
        for remedy, alike in groupby(problems[:shown], key=lambda p: p.remedy):
            yield from (f"  {problem.file}: {problem.message}" for problem in alike)
            yield f"      -> {remedy}"
        if total > shown:
            yield f"  ... and {total - len(problems[:shown]):,} more"
        yield ""


def _asks_for_something(problem: Problem) -> bool:
    return not problem.remedy.startswith(NOTHING)


def _verdict(check: DatasetCheck) -> Iterator[str]:
    known = {p.kind: p for p in check.problems if not _asks_for_something(p)}
    if known:
        counts = (f"{kind} {check.totals[p.severity][kind]:,}" for kind, p in known.items())
        yield f"nothing to do about: {', '.join(counts)} (--json names the files)"
    errors, warnings, infos = (sum(check.totals[severity].values()) for severity in _TITLES)
    verdict = "The data set can be used." if check.ok else "Correct the errors first."
    parts = (counted(errors, "error"), counted(warnings, "warning"), counted(infos, "info"))
    yield f"{', '.join(parts)}. {verdict}"
