"""Many runs of one experiment with some settings varied, sharing all they have in common.

    settings x values -> runs -> accuracy against cost -> sweep.json, sweep.html

All runs share one folder of artifacts, so nothing is computed twice: local features are extracted once at
full precision, and encoded anew for each budget. A run that fails is listed, and the others go on. A sweep
that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ilion import storage
from ilion.config import ExperimentConfig, load_experiment, to_dict
from ilion.errors import ConfigError, IlionError
from ilion.evaluation.compare import compare
from ilion.opening import full_path
from ilion.outcome import RunResult, Sweep, SweepFailure, SweepRun
from ilion.pipeline.experiment import Progress
from ilion.pipeline.order import Pipeline
from ilion.pipeline.stages.plan_rerank import plan_local
from ilion.pipeline.stages.rerank import extract_local
from ilion.report.sweep import write_sweep_report
from ilion.storage import fingerprint
from ilion.types import Where
from ilion.wording import counted

log = logging.getLogger(__name__)

FORMAT = 1
"""Of ``sweep.json``."""


@dataclass(frozen=True)
class Variant:
    """One combination of settings.

    Args:
        settings: Setting -> its value, as written.
        config: The experiment with these settings.
    """

    settings: Mapping[str, str]
    config: ExperimentConfig


def sweep(
    experiment: Where,
    over: Sequence[str],
    settings: Sequence[str] = (),
    output: Where | None = None,
    progress: Progress | None = None,
) -> tuple[Sweep, Path]:
    """Run every combination of some settings, and report accuracy against cost.

    Args:
        experiment: An experiment file, or the folder of a data set.
        over: Settings to vary, such as ``rerank.budget=0,4096,1024``; one entry a setting.
        settings: Settings changed for all, as ``section.key=value``.
        output: Folder of the sweep; by default ``sweep`` in the experiment's output folder.
        progress: Callback that receives the stage, what is done and how much there is.

    Returns:
        The sweep, and the path of its report.

    Raises:
        ConfigError: A setting or a value is unknown, which is told before anything runs; or every run fails.
    """
    axes = axes_of(over)
    base = load_experiment(experiment, settings)
    home = full_path(output) if output else Path(base.output) / "sweep"
    cache = base.cache or str(Path(base.output) / "artifacts")
    variants = []
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        config = load_experiment(experiment, [*settings, *(f"{k}={v}" for k, v in chosen.items())])
        folder = str(home / _folder_name(chosen))
        variants.append(Variant(chosen, replace(config, output=folder, cache=cache)))
    results, failed = _run_all(variants, progress)
    if not results:
        raise ConfigError(
            f"none of the {counted(len(variants), 'run')} of the sweep worked; the first: {failed[0].error}"
        )
    found = _sum_up(base, axes, variants, results, failed)
    storage.write_json(home / "sweep.json", {"format": FORMAT, **_plain(found)})
    return found, write_sweep_report(found, home / "sweep.html", language=base.report.language)


def axes_of(over: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read what is varied.

    Args:
        over: Entries ``section.key=value,value,...``; a comma inside brackets or quotes does not separate.

    Raises:
        ConfigError: An entry is not of that form, or a setting or a value occurs twice.

    >>> axes_of(["rerank.budget=0,2048", "extraction.scales=[1],[0.7,1]"])
    {'rerank.budget': ('0', '2048'), 'extraction.scales': ('[1]', '[0.7,1]')}
    """
    axes: dict[str, tuple[str, ...]] = {}
    for entry in over:
        name, equals, text = entry.partition("=")
        name = name.strip()
        values = tuple(v.strip() for v in _split(text))
        if not equals or not name or not all(values):
            raise ConfigError(f"--over {entry!r}: write it as section.key=value,value,...")
        if name in axes:
            raise ConfigError(f"--over {entry!r}: {name} is given twice; put all its values into one")
        if len(set(values)) < len(values):
            raise ConfigError(f"--over {entry!r}: a value is given twice")
        axes[name] = values
    if not axes:
        raise ConfigError("a sweep needs a setting to vary, such as --over rerank.budget=0,4096,1024")
    return axes


def _split(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += (character in "[{") - (character in "]}")
        if character == "," and not quote and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _folder_name(settings: Mapping[str, str]) -> str:
    """Name a run's folder by its settings; the digest tells apart what looks alike when written safely."""
    text = "_".join(f"{name.rpartition('.')[2]}-{value}" for name, value in settings.items())
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', text)[:80]}-{fingerprint(dict(settings))[:8]}"


def _run_all(
    variants: Sequence[Variant], progress: Progress | None
) -> tuple[dict[int, RunResult], list[SweepFailure]]:
    """Run what can be run, the dearest first, so that the others find what they share."""
    results: dict[int, RunResult] = {}
    failures: dict[int, SweepFailure] = {}

    def tell() -> None:
        if progress:
            progress("sweep", len(results) + len(failures), len(variants))

    tell()
    for config in _sources(variants):
        try:
            pipeline = Pipeline(config, progress)
            extract_local(pipeline.experiment, plan_local(config))
        except IlionError as error:
            # the runs that need it say the same, each for itself
            log.warning("full precision: %s", error)
    order = sorted(range(len(variants)), key=lambda i: -variants[i].config.rerank.shortlist)
    for number in order:
        variant = variants[number]
        try:
            results[number] = Pipeline(variant.config, progress).evaluate()
        except IlionError as error:
            log.warning("%s: %s", _text(variant.settings), error)
            failures[number] = SweepFailure(variant.settings, str(error))
        tell()
    return dict(sorted(results.items())), [failures[number] for number in sorted(failures)]


def _sources(variants: Sequence[Variant]) -> list[ExperimentConfig]:
    """Return the experiments whose full-precision features serve several of the others.

    Those are needed where the same images are described alike, but stored in several ways.
    """
    groups: dict[str, dict[tuple[int, str], ExperimentConfig]] = {}
    for variant in variants:
        config = variant.config
        if config.rerank.features == "none":
            continue
        try:
            plan = plan_local(config)
        except IlionError:
            continue  # its own run says why
        spec = plan.extractor.spec
        alike = {**spec.as_dict(), "features": 0}
        key = fingerprint([alike, to_dict(config.dataset), config.extraction.query_box])
        full = replace(
            config.rerank, keypoints=spec.features, budget=0, codec="auto", scorer="geometry", weights=""
        )
        stored = (spec.features, fingerprint(to_dict(plan.codec)))
        groups.setdefault(key, {})[stored] = replace(config, rerank=full)
    return [group[max(group)] for group in groups.values() if len(group) > 1]


def _sum_up(
    base: ExperimentConfig,
    axes: Mapping[str, tuple[str, ...]],
    variants: Sequence[Variant],
    results: Mapping[int, RunResult],
    failed: Sequence[SweepFailure],
) -> Sweep:
    first = next(iter(results.values()))
    runs: list[SweepRun] = []
    places: dict[str, int] = {}
    for number, result in results.items():
        change = compare(first.evaluation, result.evaluation, seed=base.seed)
        runs.append(
            SweepRun(
                settings=variants[number].settings,
                folder=variants[number].config.output,
                design=result.design,
                evaluation=result.evaluation,
                cost=result.cost,
                difference=change.difference,
                ci95=change.ci95,
                same_as=places.get(_identity(result)),
            )
        )
        places.setdefault(_identity(result), len(runs) - 1)
    return Sweep(base.name, first.dataset.name, dict(axes), tuple(runs), tuple(failed))


def _identity(result: RunResult) -> str:
    """Digest what a run stores, finds and costs: runs that share it are one run under several names.

    Times are those of the artifacts, so runs that share their artifacts share them to the last digit.
    """
    ranking, paid = result.ranking, result.cost
    arrays = hashlib.blake2b(digest_size=16)
    for array in (ranking.indices, ranking.similarities, ranking.counts):
        arrays.update(np.ascontiguousarray(array).tobytes())
    measured = [result.evaluation.definition, result.evaluation.k, result.evaluation.mean]
    costs = [paid.bytes_per_image, paid.search_ms_per_query, paid.extraction_ms_per_image]
    return fingerprint([arrays.hexdigest(), measured, [repr(cost) for cost in costs]])


def _text(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items())


def _plain(found: Sweep) -> dict[str, object]:
    """Return what ``sweep.json`` holds; the whole numbers of a run are in its own ``run.json``."""
    fronts = {kind: found.front(kind) for kind in ("bytes", "ms")}
    return {
        "name": found.name,
        "dataset": found.dataset,
        "axes": found.axes,
        "runs": [
            {
                "settings": run.settings,
                "folder": run.folder,
                "design": run.design,
                "same_as": None if run.same_as is None else found.runs[run.same_as].settings,
                "definition": run.evaluation.definition,
                "k": run.evaluation.k,
                "mAP": run.evaluation.mean,
                "ci95": run.evaluation.ci95,
                "metrics": dict(run.evaluation.metrics),
                "difference": run.difference,
                "difference_ci95": run.ci95,
                "bytes_per_image": run.cost.bytes_per_image,
                "extraction_ms_per_image": run.cost.extraction_ms_per_image,
                "query_ms_per_query": run.cost.query_ms_per_query,
                "search_ms_per_query": run.cost.search_ms_per_query,
                "peak_memory_bytes": run.cost.peak_memory_bytes,
                "on_front": {kind: number in front for kind, front in fronts.items()},
            }
            for number, run in enumerate(found.runs)
        ],
        "failed": [{"settings": f.settings, "error": f.error} for f in found.failed],
    }
