"""Audits: find suspects, write what people decided about them into the ground truth, and take it back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from ilion.cli.common import AsJson, BadImage, console, counted, progress_bars, say_json


class _Group(TyperGroup):
    """Takes what is no verb of its own as a data set or a run that is to be audited."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb in front where it is left out."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["find", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Group,
    help="Find what is wrong in the data: 'ilion audit RUN' or 'ilion audit DATASET'.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
DatasetFolder = Annotated[
    Path | None, typer.Option("--dataset", help="Folder of the data set; default: the one that was audited.")
]


@app.command("find")
def find(
    source: Annotated[
        Path,
        typer.Argument(help="Folder of a finished run, an experiment, or a data set, which is run first."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the audit.")] = Path("audit"),
    training: Annotated[
        Path | None,
        typer.Option(help="Table of labelled training photos, which must not be in the evaluation."),
    ] = None,
    descriptors: Annotated[
        bool, typer.Option("--descriptors/--no-descriptors", help="Ask a global descriptor, too.")
    ] = True,
    language: Annotated[Literal["en", "ja"], typer.Option(help="Language of the page.")] = "en",
    on_bad_image: BadImage = None,
    as_json: AsJson = False,
) -> None:
    """Find suspects, the most valuable first, and write suspects.json and a page to settle them."""
    from ilion import api

    with progress_bars() as progress:
        found, page = api.audit(
            source,
            output,
            training=training,
            descriptors=descriptors,
            language=language,
            on_bad_image=on_bad_image,
            progress=progress,
        )
    if as_json:
        say_json(found)
        return
    kinds: dict[str, list[float]] = {}
    for suspect in found.suspects:
        kinds.setdefault(suspect.kind, []).append(suspect.confidence)
    print(f"{found.name}: {counted(found.photos, 'photo')}, {counted(len(found.suspects), 'suspect')}")
    for kind, sure in kinds.items():
        print(f"  {len(sure):>5} {kind:<12} {sum(sure):.1f} expected to be real")
    if found.settled:
        print(f"  {found.settled} were settled before")
    for name, numbers in ((f"mAP@{found.k}", found.precision), ("R@1", found.first)):
        if numbers is None:
            continue
        print(
            f"  {name:<9} {numbers.as_is:.4f} as it is, {numbers.if_all:.4f} if all were what they seem, "
            f"between {numbers.low:.4f} and {numbers.high:.4f} for some"
        )
    if found.precision is None:
        print("  no photo is labelled yet: say in the page which proposals are right")
    for note in found.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    print(f"page: {page}")


@app.command("apply")
def apply(
    decisions: Annotated[
        Path,
        typer.Argument(
            help="File of decisions, as the page saves it, or folder of an audit that was reviewed."
        ),
    ],
    dataset: DatasetFolder = None,
    who: Annotated[str, typer.Option(help="Name of the reviewer, where the file has none.")] = "",
    unsure: Annotated[
        Literal["keep", "ignored"],
        typer.Option(
            help="Fate of photos about which nobody can tell: keep them, or count them neither way."
        ),
    ] = "keep",
) -> None:
    """Write decisions into the ground truth: a new table in amendments/, beside the old one."""
    from ilion import api

    done = api.apply_audit(decisions, dataset, who=who, unsure=unsure)
    print(
        f"{counted(done.decided, 'decision')}, {counted(done.labels, 'label')} changed, "
        f"{done.unsure} cannot be told"
    )
    print(f"table: {done.table}" if done.table else "nothing is new: all of them were applied before")


@app.command("undo")
def undo(
    dataset: Annotated[Path, typer.Argument(help="Folder of the data set.")],
) -> None:
    """Take the newest table of amendments back."""
    from ilion import api

    gone, now = api.undo_audit(dataset)
    print(f"removed {gone}; {f'{now} counts now' if now else 'the data set is as it was'}")


@app.command("agree")
def agree(
    decisions: Annotated[
        list[Path],
        typer.Argument(help="Files of decisions of several reviewers, or the folder of an audit."),
    ],
    as_json: AsJson = False,
) -> None:
    """Say how far reviewers of the same suspects agree: Cohen's kappa of each two, Fleiss' of all."""
    from ilion.audit.agreement import agree as compare
    from ilion.audit.decisions import read_decisions
    from ilion.audit.reviews import Reviews

    answers: dict[str, dict[str, str]] = {}
    for path in decisions:
        if path.is_dir():
            for name, own in Reviews(path).answers().items():
                answers.setdefault(name, {}).update(own)
            continue
        for one in read_decisions(path, path.stem).decisions:
            answers.setdefault(one.who, {})[one.suspect.key] = one.answer
    found = compare(answers)
    if as_json:
        say_json(found)
        return
    for name, own in answers.items():
        print(f"{name}: {counted(len(own), 'answer')}")
    for one, other, both, same, kappa in found["pairs"]:
        told = "not defined" if kappa is None else f"{kappa:.2f}"
        print(f"{one} and {other}: {same:.0%} of {both} alike, Cohen's kappa {told}")
    fleiss = found["fleiss"]
    print(
        f"all: {found['shared']} shared, Fleiss' kappa {'not defined' if fleiss is None else f'{fleiss:.2f}'}"
    )
    for key in found["disputed"]:
        print(f"  disputed: {key}")
