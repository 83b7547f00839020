"""Look-alikes of a run, as ``ilion poc lookalikes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ilion.cli.common import AsJson, say_json, say_skipped


def lookalikes(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Output folder of a finished run.")],
    searches: Annotated[float, typer.Option(help="Number of searches that costs are said for.")] = 0.0,
    wrong_pick: Annotated[float, typer.Option(help="Cost of a wrong pick.")] = 0.0,
    currency: Annotated[str, typer.Option(help="Currency of the cost.")] = "",
    as_json: AsJson = False,
) -> None:
    """Find which objects of a run are mistaken for which, and what may tell them apart."""
    from ilion.cli.poc_text import PocText, language_of, say
    from ilion.pipeline.jobs.lookalikes import FILE
    from ilion.pipeline.jobs.lookalikes import lookalikes as find

    say_skipped(run)
    found = find(run, searches=searches, wrong_pick=wrong_pick, currency=currency)
    if as_json:
        say_json(found)
        return
    say(PocText(language_of(run)).lookalikes(found, run / FILE))
