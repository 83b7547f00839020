"""Is the promise of a threshold kept on objects that it was not set on? Random halves of the objects of runs.

    python benchmarks/threshold.py RUN... [--risk 0.05] [--confidence 0.9] [--splits 50]

The queries of each run are asked once with and once without their objects; a split sets the threshold on
one half of the objects and judges it on the other. Halves of one set are no independent proofs, and a rate
among few objects is uncertain by itself, so that splits may exceed the risk more often than the promise says.
"""

from __future__ import annotations

import argparse

import numpy as np

from ilion.pipeline.jobs.threshold import measure_searches
from ilion.poc.threshold import find_threshold, trade_off


def main() -> None:
    """Print how often a threshold was set, its mean error, and how often it was above the risk."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--risk", type=float, nargs="+", default=[0.05, 0.1, 0.2])
    parser.add_argument("--confidence", type=float, default=0.9)
    parser.add_argument("--splits", type=int, default=50)
    given = parser.parse_args()
    for run in given.runs:
        searches = measure_searches(run)
        names = sorted(set(searches.objects))
        of = np.array([names.index(name) for name in searches.objects])
        print(f"{run}: {len(names)} objects, {len(of)} queries")
        for risk in given.risk:
            absent, present, found, missed = [], [], [], []
            for split in range(given.splits):
                own = np.random.default_rng(split).permutation(len(names)) % 2 == 0
                _, level = find_threshold(searches.take(np.flatnonzero(own[of])), risk, given.confidence)
                if level is not None:
                    [judged] = trade_off(searches.take(np.flatnonzero(~own[of])), [level])
                    absent.append(judged.wrong_absent.value)
                    present.append(judged.wrong_present.value)
                    found.append(judged.found.value)
                    missed.append(judged.missed.value)
            if not absent:
                print(f"  risk {risk:.0%}: too few objects in a half, nothing is promised")
                continue
            worse = np.maximum(absent, present)
            print(
                f"  risk {risk:.0%}: {len(absent)} thresholds; on the other half wrong if absent "
                f"{np.mean(absent):.2%} (worst {np.max(absent):.1%}), if present {np.mean(present):.2%} "
                f"(worst {np.max(present):.1%}), above the risk in {(worse > risk).sum()} splits; found "
                f"{np.mean(found):.1%}, right answers lost {np.mean(missed):.1%}"
            )


if __name__ == "__main__":
    main()
