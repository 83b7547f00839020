"""Thresholds: what may be promised of a run, as ``ilion poc threshold``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ilion.cli.common import AsJson, progress_bars, say_json, say_skipped
from ilion.errors import ConfigError

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
    from ilion.cli.poc_text import PocText, language_of, say
    from ilion.pipeline.jobs.threshold import set_by_hand, set_threshold
    from ilion.storage.runs import THRESHOLD

    say_skipped(run)
    text = PocText(language_of(run))
    if at is not None:
        if absent_share is not None:
            raise ConfigError("--at sets a threshold without a promise; leave out --absent-share")
        with progress_bars() as progress:
            does = set_by_hand(run, at, progress)
        if as_json:
            say_json({"threshold": at, "promise": None, "at": does})
            return
        file = str(run / THRESHOLD)
        say((text.words("threshold.by_hand", score=f"{at:.6g}", file=file), text.rates(does)))
        return
    with progress_bars() as progress:
        found = set_threshold(run, risk, confidence, absent_share, progress)
    if as_json:
        say_json({"threshold": found.threshold, "promise": found})
    else:
        say(text.threshold(found, run / THRESHOLD))
