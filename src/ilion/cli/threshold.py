"""Thresholds: what may be promised of a run, as ``ilion poc threshold``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ilion.cli.common import AsJson, progress_bars, say_json, say_skipped
from ilion.errors import ConfigError

if TYPE_CHECKING:
    from ilion.poc.threshold import Promise, Rate, Tradeoff

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Output folder of a finished run.")]


def threshold(
    run: Run,
    risk: Annotated[
        float, typer.Option(help="Largest share of searches that may end in an accepted wrong answer.")
    ] = 0.05,
    confidence: Annotated[float, typer.Option(help="Probability with which the promise is to hold.")] = 0.9,
    absent_share: Annotated[
        float | None,
        typer.Option(help="Share of the searches whose object is not in the database; default: any share."),
    ] = None,
    at: Annotated[
        float | None, typer.Option(metavar="SCORE", help="Set this threshold instead; nothing is promised.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set the score below which a run answers "none of these", with a promise about wrong answers."""
    from ilion.pipeline.jobs.threshold import set_by_hand, set_threshold
    from ilion.storage.runs import THRESHOLD

    say_skipped(run)
    if at is not None:
        if absent_share is not None:
            raise ConfigError("--at sets a threshold without a promise; leave out --absent-share")
        with progress_bars() as progress:
            does = set_by_hand(run, at, progress)
        if as_json:
            say_json({"threshold": at, "promise": None, "at": does})
            return
        print(f"threshold {at:.6g}, set by hand: nothing is promised; written to {run / THRESHOLD}")
        _say_rates(does)
        return
    with progress_bars() as progress:
        found = set_threshold(run, risk, confidence, absent_share, progress)
    if as_json:
        say_json({"threshold": found.threshold, "promise": found})
    else:
        _say(found, run / THRESHOLD)


def _say(found: Promise, path: Path) -> None:
    share = found.absent_share
    mix = (
        "whether the object is in the database or not"
        if share is None
        else f"if {share:.0%} ask for absent objects"
    )
    said = f"at most {found.risk:.1%} of searches end in an accepted wrong answer, {mix}"
    seen = f"{found.objects} objects, {found.queries} queries"
    if found.left_out:
        seen += f"; {found.left_out} queries left out, whose object has no photo in the database"
    if found.threshold is None or found.at is None:
        print(f"no threshold: {found.objects} objects are too few to promise that {said}")
        print(
            f"  with {found.confidence:.0%} confidence they could promise {found.least_risk:.1%} at best; "
            f"{found.risk:.1%} needs {found.objects_needed} objects or more"
        )
    else:
        print(f"threshold {found.threshold:.6g}, written to {path}")
        print(f"  promised with {found.confidence:.0%} confidence: {said} ({seen})")
        print("  for objects and a database like these; set it again when the database has grown")
        _say_rates(found.at)
        if not found.at.found.value:
            print(
                "  warning: no right answer reaches it; this score cannot tell right from wrong at this risk"
            )
    print("   threshold   wrong if absent   wrong if present   found   right answers lost")
    for point in found.curve[:: max(1, len(found.curve) // 12)]:
        print(
            f"  {point.threshold:>10.6g}  {point.wrong_absent.value:>16.1%}  "
            f"{point.wrong_present.value:>17.1%}  {point.found.value:>6.1%}  {point.missed.value:>19.1%}"
        )


def _say_rates(point: Tradeoff) -> None:
    print(f"  on these objects: wrong answers accepted {_share(point.wrong_absent)} if the object is absent,")
    print(f"    {_share(point.wrong_present)} if it is present; found {_share(point.found)};")
    print(f"    right answers lost {_share(point.missed)}")


def _share(rate: Rate) -> str:
    return f"{rate.value:.1%} [{rate.interval.low:.1%} to {rate.interval.high:.1%}]"
