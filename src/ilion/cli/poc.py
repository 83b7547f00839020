"""Proofs of concept: plan the photos, look at what they cover, run the designs, decide."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ilion.cli.common import AsJson, BadImage, Set, progress_bars, say_json

app = typer.Typer(
    help="Plan a small proof of concept, run it, and decide what pays.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Folder = Annotated[Path, typer.Argument(help="Folder of the proof of concept.")]

_LANGUAGE = "Language of the pages, en or ja / 言語（en または ja）"
_QUESTIONS = (
    "photos.sizes",
    "photos.size_edges",
    "photos.backgrounds",
    "photos.clutter_edges",
    "goal.gain",
    "goal.width",
    "plan.objects",
    "money.searches_a_day",
    "money.currency",
    "money.find",
    "money.wrong_pick",
    "money.minutes_lost",
    "money.minute",
    "money.photos",
    "money.gigabyte_month",
    "money.core_month",
)
"""Settings that are asked for at a terminal, in the language of the pages; amounts only after a currency."""
_AMOUNTS = _QUESTIONS[_QUESTIONS.index("money.currency") + 1 :]


@app.command("new")
def new(
    folder: Folder,
    language: Annotated[str | None, typer.Option(help="Language of the pages: en or ja.")] = None,
    sizes: Annotated[str | None, typer.Option(help="Names of the sizes, as small,medium,large.")] = None,
    size_edges: Annotated[
        str | None, typer.Option(help="Shares of the photo at which sizes meet, as 0.03,0.1.")
    ] = None,
    backgrounds: Annotated[
        str | None, typer.Option(help="Names of the backgrounds, as plain,crowded.")
    ] = None,
    clutter_edges: Annotated[
        str | None, typer.Option(help="Numbers of things at which backgrounds meet, as 15.")
    ] = None,
    gain: Annotated[float | None, typer.Option(help="Gain worth paying for; 0.05 is 5 points.")] = None,
    width: Annotated[float | None, typer.Option(help="Half the width of an interval that you want.")] = None,
    measure: Annotated[str | None, typer.Option(help="AP or R@1.")] = None,
    objects: Annotated[
        int | None, typer.Option(help="Objects that you can photograph; 0: as needed.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Currency of all prices.")] = None,
    searches_a_day: Annotated[float | None, typer.Option(help="Number of searches a day.")] = None,
    find: Annotated[float | None, typer.Option(help="Value of a right first answer.")] = None,
    wrong_pick: Annotated[float | None, typer.Option(help="Cost of a wrong pick.")] = None,
    minutes_lost: Annotated[
        float | None, typer.Option(help="Minutes that a search costs whose first answer is wrong.")
    ] = None,
    minute: Annotated[float | None, typer.Option(help="Cost of a minute of a person's time.")] = None,
    searched: Annotated[float | None, typer.Option(help="Photos that will be searched.")] = None,
    gigabyte_month: Annotated[float | None, typer.Option(help="Price of a gigabyte a month.")] = None,
    core_month: Annotated[float | None, typer.Option(help="Price of a processor core a month.")] = None,
    settings: Set = None,
    ask: Annotated[bool, typer.Option("--ask/--no-ask", help="Ask for what is not given.")] = True,
    as_json: AsJson = False,
) -> None:
    """Make poc.toml, the folders for photos, and a shot list: how many objects and photos of which kind.

    At a terminal it asks for what no option says. In the folder of a proof of concept without options, the
    shot list is written anew from its poc.toml.
    """
    from ilion import api
    from ilion.config import apply_overrides, from_dict
    from ilion.config.poc import FILE
    from ilion.opening import full_path
    from ilion.poc.settings import PocConfig
    from ilion.storage.files import plain

    given: dict[str, Any] = {
        "language": language,
        "photos.sizes": sizes,
        "photos.size_edges": size_edges,
        "photos.backgrounds": backgrounds,
        "photos.clutter_edges": clutter_edges,
        "goal.gain": gain,
        "goal.width": width,
        "goal.measure": measure,
        "plan.objects": objects,
        "money.currency": currency,
        "money.searches_a_day": searches_a_day,
        "money.find": find,
        "money.wrong_pick": wrong_pick,
        "money.minutes_lost": minutes_lost,
        "money.minute": minute,
        "money.photos": searched,
        "money.gigabyte_month": gigabyte_month,
        "money.core_month": core_month,
    }
    values = {name: value for name, value in given.items() if value is not None}
    old = (folder / FILE).exists()
    if not old and ask and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
        values |= _ask(values)
    chosen = None
    if values or settings or not old:
        table: dict[str, Any] = {"name": full_path(folder).name}
        written = [f"{name}={_toml(name, value)}" for name, value in values.items()]
        chosen = from_dict(PocConfig, apply_overrides(table, [*written, *(settings or ())]))
    shots, files = api.new_poc(folder, chosen)
    if as_json:
        say_json({**dict(_fields(shots)), "files": plain([str(file) for file in files])})
        return
    from ilion.cli.poc_text import PocText, say

    say(PocText(shots.language).shots(shots))
    say(map(str, files))


def _ask(given: Mapping[str, Any]) -> dict[str, str]:
    """Ask for what was not given.

    Raises:
        ConfigError: There is no such language.
    """
    from ilion.poc.settings import PocConfig
    from ilion.wording import load_words

    usual, answers = PocConfig(), {}
    if "language" not in given:
        answers["language"] = typer.prompt(_LANGUAGE, default=usual.language, show_default=True)
    words = load_words("cli", {**given, **answers}["language"])
    for name in _QUESTIONS:
        wanted = name not in _AMOUNTS or {**given, **answers}["money.currency"].strip()
        if name not in given and wanted:
            question = words(f"ask.{name.partition('.')[2]}")
            answers[name] = typer.prompt(question, default=_shown(usual, name), show_default=True)
    return answers


def _shown(config: Any, name: str) -> str:
    value = config
    for part in name.split("."):
        value = getattr(value, part)
    return (
        ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value)
        if isinstance(value, tuple)
        else (f"{value:g}" if isinstance(value, float) else str(value))
    )


def _toml(name: str, value: object) -> str:
    """Write a value of an option or an answer as TOML: lists by commas, text in quotes."""
    import json

    if name in ("photos.sizes", "photos.backgrounds"):
        return json.dumps(
            [part.strip() for part in str(value).split(",") if part.strip()], ensure_ascii=False
        )
    if name in ("photos.size_edges", "photos.clutter_edges"):
        return f"[{value}]"
    return (
        json.dumps(value, ensure_ascii=False)
        if name in ("language", "money.currency", "goal.measure")
        else str(value)
    )


def _fields(value: Any) -> dict[str, Any]:
    from ilion.poc.decision import to_plain

    plain: dict[str, Any] = to_plain(value)
    return plain


@app.command("check")
def check(folder: Folder, as_json: AsJson = False) -> None:
    """Say what the photos cover, cell by cell, what is missing, and what is wrong. Exit code 1 on errors."""
    from ilion import api
    from ilion.cli.poc_text import PocText, say
    from ilion.config.poc import load_poc

    with progress_bars() as progress:
        found = api.check_poc(folder, progress)
    if as_json:
        say_json(_fields(found))
    else:
        boxes = folder / "boxes.html"
        say(PocText(load_poc(folder).language).coverage(found, boxes if boxes.exists() else None))
    if found.problems:
        raise typer.Exit(1)


@app.command("run")
def run(folder: Folder, settings: Set = None, on_bad_image: BadImage = None, as_json: AsJson = False) -> None:
    """Run the designs, cheapest first, until none can win any more; what is done is not done again."""
    from ilion import api

    given = [*(settings or ())]
    if on_bad_image is not None:
        given.append(f'extraction.on_bad_image="{on_bad_image}"')
    with progress_bars() as progress:
        done, not_run = api.run_poc(folder, given, progress)
    if as_json:
        say_json({"run": list(done), "not_run": dict(not_run)})
        return
    from ilion.cli.poc_text import PocText, say
    from ilion.config.poc import load_poc

    say(PocText(load_poc(folder).language).run(done, not_run))


@app.command("decide")
def decide(folder: Folder, as_json: AsJson = False) -> None:
    """Say which design pays in which cell, and write decision.json; nothing is said that is not certain."""
    from ilion import api

    with progress_bars() as progress:
        found, path = api.decide_poc(folder, progress)
    if as_json:
        say_json(_fields(found))
        return
    from ilion.cli.poc_text import PocText, say

    text = PocText(found.language)
    say(text.decision(found))
    say(
        (
            text.words("decide.decision", file=str(path)),
            text.words("decide.page", file=str(path.with_suffix(".html"))),
        )
    )
