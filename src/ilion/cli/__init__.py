"""The command line: every verb is a thin wrapper of one Python function with the same name and defaults.

Results go to stdout (``--json`` for programs), everything else to stderr. A user's mistake never shows a
traceback: exit code 1; wrong usage: exit code 2. One file a subject; the list below is the order of the help.
Modules of this room import nothing heavy before a verb runs, so that the help is there at once.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Annotated

import typer

from ilion._version import __version__
from ilion.cli import (
    about,
    adapt,
    audit,
    datasets,
    download,
    forecast,
    index,
    interop,
    lookalikes,
    poc,
    reproduce,
    run,
    serve,
    status,
    sweep,
    threshold,
    tune,
)
from ilion.cli.common import console
from ilion.errors import IlionError

app = typer.Typer(
    name="ilion",
    help="Instance-level image retrieval, measured and used.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(datasets.app, name="datasets")
app.add_typer(audit.app, name="audit")
app.add_typer(interop.import_app, name="import")
app.add_typer(interop.export_app, name="export")
app.add_typer(poc.app, name="poc")
app.add_typer(serve.feedback_app, name="feedback")
for _command in (
    run.run,
    run.extract,
    run.rank,
    run.evaluate,
    tune.tune,
    status.status,
    run.report,
    run.compare,
    index.index,
    index.search,
    index.add,
    index.remove,
    serve.serve,
    serve.token,
    serve.forget,
    sweep.sweep,
    adapt.adapt,
    about.models,
    about.parts,
    about.config,
    run.demo,
    download.download,
    forecast.forecast,
    reproduce.reproduce,
):
    app.command()(_command)
poc.app.command()(threshold.threshold)
poc.app.command()(lookalikes.lookalikes)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack a character of a file's name
            stream.reconfigure(errors="backslashreplace")
    try:
        _call()
    except IlionError as error:
        console.print("[bold red]error:[/] ", end="")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        if error.__cause__ is not None:
            logging.getLogger(__name__).debug("where it happened", exc_info=True)
        sys.exit(1)
    except BrokenPipeError:  # what read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        names = " and ".join(str(name) for name in (error.filename, error.filename2) if name)
        reason = error.strerror or str(error)
        console.print("[bold red]error:[/] ", end="")
        console.print(
            f"{names}: {reason}" if names else reason, markup=False, highlight=False, soft_wrap=True
        )
        logging.getLogger(__name__).debug("where it happened", exc_info=True)
        sys.exit(1)
    except MemoryError as error:
        console.print("[bold red]error:[/] ", end="")
        console.print(f"not enough memory ({error}); ask for less at once", markup=False, soft_wrap=True)
        logging.getLogger(__name__).debug("where it happened", exc_info=True)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("stopped; run the same command again to go on from here")
        sys.exit(130)


def _call() -> None:
    """Run the command line; what goes wrong in code from outside is said of that."""
    try:
        app()
    except (Exception, SystemExit):
        registry = sys.modules.get("ilion.registry")  # without it, no such code has come in
        if registry is None:
            raise
        with registry.answering_for_code():
            raise


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Report every step.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Instance-level image retrieval, measured and used."""
    from rich.logging import RichHandler

    handler = RichHandler(console=console, show_path=False, show_time=False, markup=False)
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler])
