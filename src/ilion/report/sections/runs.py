"""The table of runs: accuracy and cost side by side, all metrics of the main run, and how each is defined."""

from __future__ import annotations

from ilion.outcome import RunResult
from ilion.report.context import Context, Section
from ilion.report.sections.verdict import axis_name, is_telling, shared_cutoff, slice_label

_USUAL = ("R", "P", "recall", "oracle")
"""Metrics of every run, without their cut-off; others have a column of their own."""
_PUBLISHED = {
    "mP@n": "mean_precision",
    "P@R": "r_precision",
    "MAP@R": "map_at_r",
    "nDCG@k": "gain",
    "RR@k": "first",
}
"""Metrics that only published protocols of benchmarks have -> key of their definition."""


def runs_section(context: Context) -> Section:
    """Tabulate accuracy and cost of every run, and all metrics and slices of the main one."""
    words, main = context.words, context.main
    data = {
        "runs": list(enumerate(context.results, start=1)),
        "datasets_differ": len({r.dataset.name for r in context.results}) > 1,
        "cutoffs_differ": len({(r.evaluation.definition, r.evaluation.k) for r in context.results}) > 1,
        "cut": shared_cutoff(context.results),
        "oracle": all(is_telling(f"oracle@{r.evaluation.k}", r) for r in context.results),
        "metrics": {n: v for n, v in main.evaluation.metrics.items() if is_telling(n, main)},
        "machines": [_machine(r, context) for r in context.results],
        "slices": [
            (s, axis_name(s.axis, words), slice_label(s.axis, s.label, words)) for s in main.evaluation.slices
        ],
        "definitions": _definitions(context),
        "extra": [name for name in main.evaluation.metrics if name.partition("@")[0] not in _USUAL],
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
    protocols = [each for result in context.results for each in result.protocols.values()]
    names = dict.fromkeys(e.definition for e in (*(r.evaluation for r in context.results), *protocols))
    published = [name for each in protocols for name in each.metrics]
    further = [n for n in _PUBLISHED if any(name.startswith(n.rstrip("nk")) for name in published)]
    return [
        *((f"{words('define.mAP')} ({name})", words(f"define.{name}")) for name in names),
        (words("define.R@n"), words("define.r_at")),
        (words("define.P@n"), words("define.p_at")),
        *((n, words(f"define.{_PUBLISHED[n]}")) for n in further),
        (words("define.recall_name"), words("define.recall")),
        (words("define.oracle_name"), words("define.oracle")),
        (words("define.interval_name"), words("define.interval")),
        (words("define.cost_name"), words("define.cost")),
    ]
