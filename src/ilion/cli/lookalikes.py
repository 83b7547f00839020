"""Look-alikes of a run, as ``ilion poc lookalikes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ilion.cli.common import AsJson, counted, say_json, say_skipped

_ADVICE = {
    "merge": "each is taken for the other: are they one object under two names?",
    "reading": "the words on them differ: read them (reading.use)",
    "view": "take photos of what differs",
    "local": "compare points (the default design, or rerank.features)",
    "label": "tell them apart by a label, and search with a filter",
}
SHOWN = 12


def lookalikes(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Output folder of a finished run.")],
    searches: Annotated[float, typer.Option(help="Number of searches that costs are said for.")] = 0.0,
    wrong_pick: Annotated[float, typer.Option(help="Cost of a wrong pick.")] = 0.0,
    currency: Annotated[str, typer.Option(help="Currency of the cost.")] = "",
    as_json: AsJson = False,
) -> None:
    """Find which objects of a run are mistaken for which, and what may tell them apart."""
    from ilion.pipeline.jobs.lookalikes import FILE
    from ilion.pipeline.jobs.lookalikes import lookalikes as find

    say_skipped(run)
    found = find(run, searches=searches, wrong_pick=wrong_pick, currency=currency)
    if as_json:
        say_json(found)
        return
    print(
        f"{found.wrong} of {counted(found.queries, 'first answer')} are wrong; "
        f"{found.unnamed} of them show an object "
        "that nobody named"
    )
    for pair in found.pairs[:SHOWN]:
        cost = "" if pair.cost is None else f", {pair.cost:,.4g} {currency}"
        print(
            f"  {pair.asked!r} taken for {pair.shown!r}: {pair.searches} of "
            f"{counted(pair.of, 'search', 'searches')}, "
            f"{counted(pair.first, 'wrong pick')}{cost}"
        )
        for example in pair.examples[:1]:
            place = f"at {example.positive_rank}" if example.positive_rank else "not found"
            print(f"    {example.query}: {example.photo} at {example.rank}, the right one {place}")
            if example.words:
                print(f"    words that differ: {', '.join(example.words)}")
        print(f"    {'; '.join(_ADVICE[key] for key in pair.advice)}")
    if len(found.pairs) > SHOWN:
        print(f"  ... and {len(found.pairs) - SHOWN} more; --json lists them")
    print(f"written to {run / FILE}")
