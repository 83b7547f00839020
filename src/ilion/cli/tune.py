"""The choice of a code for compressed search."""

from __future__ import annotations

from typing import Annotated

import typer

from ilion.cli.common import (
    AsJson,
    BadImage,
    Experiment,
    Model,
    Output,
    Set,
    counted,
    experiment_of,
    progress_bars,
    say_json,
)


def tune(
    experiment: Experiment,
    code: Annotated[
        list[str] | None, typer.Option(help="A code to try: pq64, rabitq, sq4 ...; repeat it for more.")
    ] = None,
    shortlist: Annotated[
        list[int] | None, typer.Option(min=1, help="Number of rows put in exact order; repeat it for more.")
    ] = None,
    loss: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="mAP that the recommended code may lose.")
    ] = 0.005,
    settings: Set = None,
    model: Model = None,
    output: Output = None,
    on_bad_image: BadImage = None,
    as_json: AsJson = False,
) -> None:
    """Compare search through short codes with exact search on this data: recall, mAP, bytes, time."""
    from ilion import api

    config = experiment_of("tune", experiment, settings, model, output, on_bad_image)
    with progress_bars() as progress:
        found = api.tune(config, code or (), shortlist or (), loss, progress)
    if as_json:
        say_json(found)
        return
    print(f"{counted(found.images, 'image')}, {counted(found.k, 'result')} a query")
    print("code      shortlist  bytes  ms a query  recall     mAP   minus exact, 95% interval")
    cost = f"{found.exact_bytes:5.0f}  {found.exact_ms:10.2f}"
    print(f"exact     {'-':>9}  {cost}  1.0000  {found.exact_mean:.4f}")
    for t in found.trials:
        change = f"{t.difference:+.4f}  [{t.ci95.low:+.4f} to {t.ci95.high:+.4f}]"
        cost = f"{t.bytes_per_image:5.0f}  {t.ms_per_query:10.2f}"
        print(f"{t.code:<10}{t.shortlist:>9}  {cost}  {t.recall:.4f}  {t.mean:.4f}  {change}")
    best = found.recommended
    if best is None:
        print(f"recommended: exact; no code is faster and surely loses at most {found.loss} mAP here")
    else:
        print(f'recommended: --set search.method="compressed" --set search.code="{best.code}" ', end="")
        print(f"--set search.shortlist={best.shortlist}")
