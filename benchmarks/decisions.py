"""What few objects decide, next to what all of them do: random draws from a finished proof of concept.

    python benchmarks/decisions.py POC... [--objects 15] [--draws 20] [--measure AP]

All designs of a folder are decided from all its objects, and from some of them drawn anew, as if only these
had been asked: each in the whole database. Nothing is searched again.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from ilion.config.poc import load_poc
from ilion.pipeline.jobs.runs import load_run
from ilion.poc.cells import Outcomes, measure_cells, sort_photos
from ilion.poc.decide import Tried, decide
from ilion.poc.decision import Decision, Verdict
from ilion.poc.money import DesignCost


def main() -> None:
    """Print the table from all objects, and how the draws compare with it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--objects", type=int, nargs="+", default=[3, 15, 20])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--measure", default="AP")
    given = parser.parse_args()
    for folder in given.folders:
        settings = load_poc(folder)
        settings = replace(settings, goal=replace(settings.goal, measure=given.measure))
        names = [n for n in settings.designs.names if (folder / "results" / n / "run.json").exists()]
        runs = {name: load_run(folder / "results" / name) for name in names}
        cells = sort_photos(runs[names[0]].dataset, settings.photos)
        tried = []
        for name, run in runs.items():
            instance = {query.id: query.instance for query in run.dataset.queries}
            objects = [instance[query] for query in run.ground_truth.query_ids]
            found = measure_cells(run.ranking, run.ground_truth, objects, cells, run.evaluation.k)
            ms = run.cost.query_ms_per_query + run.cost.search_ms_per_query
            photos = len(run.ranking.database_ids)
            cost = DesignCost(run.cost.bytes_per_image, ms, run.cost.extraction_ms_per_image, photos)
            tried.append(Tried(name, found, cost))
        whole = decide(settings, cells, tried, {}, {})
        print(f"{folder}: {given.measure}, {whole.objects} objects: {whole.recommendation.text}")
        print(f"  {whole.change.text}")
        for verdict in whole.verdicts:
            print(f"  {_line(verdict)}")
        for count in given.objects:
            decided: Counter[str] = Counter()
            held = said = against = compared = 0
            for seed in range(given.draws):
                rows = np.sort(np.random.default_rng(seed).permutation(whole.objects)[:count])
                some = [replace(each, outcomes=_take(each.outcomes, rows)) for each in tried]
                drawn = decide(settings, cells, some, {}, {})
                decided[_decided(drawn)] += 1
                for verdict in drawn.verdicts:
                    truth = next(
                        v for v in whole.verdicts if (v.cell, v.design) == (verdict.cell, verdict.design)
                    )
                    if verdict.gain.low > -1.0 or verdict.gain.high < 1.0:
                        compared += 1
                        held += verdict.gain.low <= truth.gain.value <= verdict.gain.high
                    said += verdict.answer != "not-enough-photos"
                    against += {verdict.answer, truth.answer} == {"pays", "does-not-pay"}
            print(
                f"  from {count} objects, {given.draws} draws: {dict(decided)}; {held} of {compared} "
                f"intervals hold what all objects give; {said} verdicts, {against} against all objects"
            )


def _take(found: Outcomes, rows: np.ndarray) -> Outcomes:
    """Return the outcomes of some objects."""
    return Outcomes(
        tuple(found.objects[row] for row in rows),
        {measure: values[rows] for measure, values in found.values.items()},
        found.photos[rows],
        {measure: values[rows] for measure, values in found.whole.items()},
    )


def _decided(decision: Decision) -> str:
    """Return the design that is recommended, or the kind of what is said instead."""
    return str(decision.recommendation.values.get("design") or decision.recommendation.kind)


def _line(verdict: Verdict) -> str:
    gain = verdict.gain
    return (
        f"{verdict.cell}: {verdict.design}, {gain.objects} objects, {verdict.against} "
        f"{verdict.baseline.value:.2f}, gain {gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}] "
        f"{verdict.answer}"
    )


if __name__ == "__main__":
    main()
