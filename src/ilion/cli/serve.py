"""The service over an index, its tokens, and what it keeps of searches."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ilion.cli.common import AsJson, console, counted, progress_bars, say_json
from ilion.cli.index import IndexFolder
from ilion.errors import ConfigError, IlionError, MissingExtraError

if TYPE_CHECKING:
    from ilion.serve.feedback import Feedback
    from ilion.serve.index import Index

_NAME = re.compile(r"[a-z0-9.-]{1,253}")
feedback_app = typer.Typer(help="Searches that people confirmed.", no_args_is_help=True)


def serve(
    folder: Annotated[Path, typer.Argument(metavar="INDEX", help="Folder of an index, or of an audit.")],
    host: Annotated[str, typer.Option(help="Address to listen at; another than loopback needs tokens.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8765,
    public_name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Name by which browsers call the service; repeat it for more."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Number of searches at the same time.")] = 2,
    waiting: Annotated[
        int, typer.Option(min=0, help="Searches that may wait; more are told to come back.")
    ] = 16,
    max_mb: Annotated[int, typer.Option(min=1, max=1024, help="Largest upload, megabytes.")] = 20,
    max_megapixels: Annotated[int, typer.Option(min=1, help="Largest photo, megapixels.")] = 60,
    rate: Annotated[
        int, typer.Option(min=0, help="Requests of one address in a minute; 0 for any number.")
    ] = 240,
    behind: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address of a proxy whose X-Forwarded-For is believed.")
    ] = "",
    on: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Ray cluster whose machines hold the index: ray for this machine, or HOST:PORT.",
        ),
    ] = "",
    parts: Annotated[
        int, typer.Option(min=0, help="With --on: parts that the index is held in; 0 for one a machine.")
    ] = 0,
    copies: Annotated[
        int, typer.Option(min=0, help="With --on: copies of each part; 0 for two, on one machine one.")
    ] = 0,
    feedback: Annotated[
        float,
        typer.Option(
            metavar="DAYS", min=0, help="Keep searches and verdicts for so many days; 0 keeps none."
        ),
    ] = 0,
    review: Annotated[
        bool, typer.Option("--review", help="Serve the page of an audit to several reviewers instead.")
    ] = False,
) -> None:
    """Serve an index: a page for people and a JSON API for programs (see docs/serving.md)."""
    try:
        import uvicorn

        from ilion.serve.service import Service, make_app
    except ImportError:
        raise MissingExtraError("'ilion serve'", "serve") from None
    from ilion.serve.cluster.on_ray import RayHolders, holders_name
    from ilion.serve.cluster.spread import check_spread
    from ilion.serve.feedback import Feedback
    from ilion.serve.guards import Guarded, Limits
    from ilion.serve.index import Index

    limits = Limits(bytes=max_mb << 20, pixels=max_megapixels * 10**6, rate=rate, waiting=waiting)
    own = is_loopback(host)
    app: Guarded
    if (parts or copies) and not on:
        raise ConfigError("--parts and --copies belong to --on ADDRESS")
    holders: RayHolders | None = None
    if review:
        if on:
            raise ConfigError("--on: a review searches nothing")
        if feedback:
            raise ConfigError("--feedback: a review keeps no searches")
        from ilion.serve.review import Review, make_review

        reviewed = Review(folder, limits, open=own)
        app = make_review(reviewed, _hosts(folder, host, public_name))
    else:
        index = Index.open(folder)
        store = Feedback(folder, feedback) if feedback else None
        hosts = _hosts(folder, host, public_name)
        if on:
            check_spread(index.design())
            console.print(f"starting what holds the index on the Ray cluster {on!r} ...")
            holders = RayHolders(on, holders_name(folder, port), parts, copies)
            index.holders = holders
            console.print(
                f"{counted(holders.count, 'part')} of the index, "
                f"{counted(holders.copies, 'copy', 'copies')} of each"
            )
        threading.Thread(target=_warm, args=(index,), daemon=True).start()
        app = make_app(Service(index, limits, workers, store, open=own), hosts)
    console.print(
        f"http://{host if ':' not in host else f'[{host}]'}:{port}/  (Ctrl-C stops)", highlight=False
    )
    try:
        uvicorn.run(
            app,
            host=host,
            port=port,
            log_level="warning",
            server_header=False,
            proxy_headers=bool(behind),
            forwarded_allow_ips=behind or None,
            timeout_keep_alive=10,
            limit_concurrency=512,
            h11_max_incomplete_event_size=64 << 10,
        )
    finally:
        if holders is not None:
            holders.close()


def _warm(index: Index) -> None:
    """Warm an index, while nobody waits for it; what is wrong with it is told to those who ask."""
    with contextlib.suppress(IlionError):
        index.warm()


def _hosts(folder: Path, host: str, public_name: list[str] | None) -> frozenset[str]:
    """Return the names by which a service may be called.

    Raises:
        ConfigError: Others could reach it and nobody holds a token, or a name is missing or wrong.
    """
    from ilion.serve.tokens import tokens

    own, holders = is_loopback(host), tokens(folder)
    if not own and not holders:
        raise ConfigError(
            f"--host {host}: others could reach the index; make a token first: ilion token {folder} NAME"
        )
    names = [name.lower() for name in public_name or ()]
    if bad := next((name for name in names if not _NAME.fullmatch(name)), None):
        raise ConfigError(f"--public-name {bad!r}: write the name alone, such as parts.example.com")
    if host in ("0.0.0.0", "::") and not names:
        raise ConfigError(f"--host {host}: say by which name browsers call the service: --public-name NAME")
    if own and holders:
        console.print(f"{counted(len(holders), 'person holds', 'people hold')} tokens: one is needed")
    return frozenset([*names, *({"127.0.0.1", "localhost", "::1"} if own else {host.lower()})])


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("example.com")
    (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def token(
    folder: IndexFolder,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the holder.")] = "",
    role: Annotated[
        Literal["read", "write"], typer.Option(help="read searches; write adds and removes photos too.")
    ] = "read",
    revoke: Annotated[bool, typer.Option("--revoke", help="End the token instead.")] = False,
) -> None:
    """Make a token for the service, or end one; without a name, list who holds one."""
    from ilion.audit.suspects import FILE as AUDIT
    from ilion.serve.index import Index
    from ilion.serve.tokens import make_token, revoke_token, tokens

    if not (folder / AUDIT).is_file():
        Index.open(folder)
    if not name:
        for held in tokens(folder):
            print(f"{held.name}  {held.role}")
    elif revoke:
        revoke_token(folder, name)
        print(f"the token of {name} has ended")
    else:
        print(make_token(folder, name, role))
        console.print("keep it now: only its hash is stored, so it is not shown again")


def forget(
    folder: IndexFolder,
    searches: Annotated[
        list[str] | None, typer.Argument(metavar="SEARCH...", help="Names of searches.")
    ] = None,
    before: Annotated[str, typer.Option(metavar="DATE", help="All that were asked before a date.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete kept searches with their photos and verdicts, also from the disk."""
    if (bool(searches) + bool(before) + everything) != 1:
        raise ConfigError("say which: names of searches, --before DATE, or --all")
    store = _kept_searches(folder)
    if before:
        try:
            done = store.forget(before=datetime.fromisoformat(before).astimezone().timestamp())
        except (ValueError, OverflowError):
            raise ConfigError(f"--before {before!r}: write it as 2026-11-29") from None
    else:
        done = store.forget(names=searches)
    say_json({"forgotten": done}) if as_json else print(
        f"{counted(done, 'search is', 'searches are')} forgotten"
    )


def _kept_searches(folder: Path) -> Feedback:
    """Open the searches that are kept beside an index, however old they are."""
    from ilion.serve.feedback import FILE, Feedback

    if not (folder / FILE).is_file():
        raise ConfigError(f"{folder}: no searches are kept; 'ilion serve --feedback DAYS' keeps them")
    return Feedback(folder, days=float("inf"))


@feedback_app.command("export")
def export_feedback(
    folder: IndexFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the data set.")],
    as_json: AsJson = False,
) -> None:
    """Make a data set of confirmed searches: their photos become queries, the index the database."""
    from ilion.serve.index import Index

    index = Index.open(folder)
    done = _kept_searches(folder).export(index, output)
    if as_json:
        say_json(done)
        return
    print(
        f"{counted(done.queries, 'query', 'queries')} of {counted(done.objects, 'object')}, "
        f"{counted(done.photos, 'photo')} of the index"
    )
    left = f"{counted(done.unconfirmed, 'search', 'searches')} that nobody confirmed, "
    left += f"{done.without:,} without a photo or name"
    print(f"  left out: {left}")
    print(f"evaluate a design on them with: ilion run {output}")


@feedback_app.command("enrich")
def enrich_index(
    folder: IndexFolder,
    apply: Annotated[bool, typer.Option("--apply", help="Add the photos, if searches gain by them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Try on a copy what held-out searches gain if confirmed photos are added to their objects."""
    from ilion.serve.enrichment import enrich
    from ilion.serve.index import Index

    index, feedback = Index.open(folder), _kept_searches(folder)
    with progress_bars() as progress:
        done = enrich(index, feedback, apply=apply, progress=progress)
    if as_json:
        say_json(done)
        return
    print(
        f"{counted(done.photos, 'photo')} of {counted(done.objects, 'object')}, tried on "
        f"{counted(done.asked, 'held-out search', 'held-out searches')}"
    )
    print(f"  first object is right: {done.first[0]:.1%} before, {done.first[1]:.1%} after")
    print(
        f"  {counted(done.better, 'search', 'searches')} better, {done.worse:,} worse; "
        "1/rank of the right object"
    )
    print(f"  {done.reciprocal[0]:.3f} -> {done.reciprocal[1]:.3f}, ", end="")
    print(f"95% interval of the gain {done.gain.low:+.3f} to {done.gain.high:+.3f}")
    print(f"  left out: {done.left:,} of objects with one visit, {done.there:,} that are there already")
    if apply:
        print(f"{counted(done.added, 'photo is', 'photos are')} added; their ids begin with confirmed/")
    else:
        print("add them with: --apply" if done.helps else "searches do not surely gain: leave it")
