"""The lists at the end: every query, images that could not be used, and all that repeats the runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from ilion.report.context import Context, Section
from ilion.report.sections.reading import long_texts
from ilion.report.sections.verdict import all_skipped

_MAX_SKIPPED = 500


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
