"""Put the report together and write it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ilion._version import __version__
from ilion.errors import ConfigError
from ilion.outcome import RunResult
from ilion.report.context import Context, Section, Selection, select
from ilion.report.english import in_language
from ilion.report.pictures import Pictures, find_records
from ilion.report.sections.domains import domains_section
from ilion.report.sections.facts import Outcome
from ilion.report.sections.gallery import gallery_section
from ilion.report.sections.lists import provenance_section, queries_section, skipped_section
from ilion.report.sections.plots import plots_section
from ilion.report.sections.reading import kinds_section, reading_section
from ilion.report.sections.reranking import reranking_section
from ilion.report.sections.runs import runs_section
from ilion.report.sections.verdict import best_first, verdict_section
from ilion.storage import write_bytes
from ilion.types import ImageRecord
from ilion.wording import Words, load_words

_HALF = re.compile("[\ud800-\udfff]")
SECTIONS: tuple[Callable[[Context], Section | None], ...] = (
    verdict_section,
    runs_section,
    domains_section,
    plots_section,
    kinds_section,
    reading_section,
    reranking_section,
    gallery_section,
    queries_section,
    skipped_section,
    provenance_section,
)
"""The sections in their order on the page: each a function with a template of its name; one that returns None
has nothing to say about the run."""


def write_report(
    results: Sequence[RunResult],
    path: Path,
    *,
    language: str = "en",
    gallery: int = 12,
    max_bytes: int = 15_000_000,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a report on a run as one HTML file that loads nothing from anywhere.

    The same results give the same bytes. A picture that cannot be decoded becomes a grey field and is
    counted.

    Args:
        results: The runs. The report is about the best of them, where they measure the same thing, else about
            the first; the others are shown beside it in the table and the plots of accuracy against cost.
        path: The file; written aside and renamed.
        language: See `ilion.wording.languages`.
        gallery: Number of queries in the gallery (the worst, typical and best ones, a third each), and of
            wrong answers.
        max_bytes: The file is not larger. Thumbnails get smaller first; then the last ones are left out,
            which the report says.
        progress: Callback that receives pictures done and pictures in all.

    Returns:
        The path.

    Raises:
        ConfigError: There is no result or no such language, ``gallery`` is negative, or even a report without
            pictures is larger than ``max_bytes``.
        ArtifactError: A run's parts do not fit together, or the file cannot be written.
    """
    if not results:
        raise ConfigError("a report needs at least one result; pass the result of a run")
    if gallery < 0:
        raise ConfigError(f"gallery must be 0 or more queries, got {gallery}")
    words = load_words("report", language)
    results = [in_language(result, words) for result in best_first(results)]
    main = results[0]
    outcome, selection = select(main, gallery)
    records = _records(main, outcome, selection)
    pictures = Pictures(_yield_shown(outcome, selection, records), progress)
    context = Context(tuple(results), outcome, selection, records, pictures, words)
    sections = [made for section in SECTIONS if (made := section(context)) is not None]
    html = _page(context, sections, max_bytes)
    write_bytes(path, html.encode("utf-8"))
    return path


def _records(result: RunResult, outcome: Outcome, selection: Selection) -> dict[int, ImageRecord]:
    """Find the records of all database rows that are shown."""
    shown = [(i, position) for i, positions in selection.shown.items() for position in positions]
    shown += [(wrong.query, wrong.position) for wrong in selection.wrong]
    rows = {int(outcome.queries[i].rows[position]) for i, position in shown}
    rows |= {move.row for move in selection.moves.all()} if selection.moves else set()
    ids = {row: result.ranking.database_ids[row] for row in sorted(rows)}
    found = find_records(result.dataset, ids.values(), {part.name for part in result.missing})
    return {row: found[image_id] for row, image_id in ids.items()}


def _yield_shown(
    outcome: Outcome, selection: Selection, records: Mapping[int, ImageRecord]
) -> Iterator[ImageRecord]:
    """Yield what is shown, the most telling first: moves, mistakes, then the worst queries."""
    for move in selection.moves.all() if selection.moves else ():
        image = outcome.queries[move.query].query.image
        if image is not None:
            yield image
        yield records[move.row]
    pairs = [(wrong.query, (wrong.position,)) for wrong in selection.wrong]
    for i, positions in [*pairs, *selection.shown.items()]:
        facts = outcome.queries[i]
        if facts.query.image is not None:
            yield facts.query.image
        for position in positions:
            yield records[int(facts.rows[position])]


def _page(context: Context, sections: Sequence[Section], max_bytes: int) -> str:
    css, script = asset("report.css"), asset("report.js")
    template = page_environment(context.words).get_template("report.html.j2")

    def render(definitions: Markup, left_out: int) -> str:
        return template.render(
            context=context,
            main=context.main,
            sections=sections,
            css=Markup(css),
            script=Markup(script),
            policy=policy(css, script),
            definitions=definitions,
            left_out=left_out,
            limit=context.words.size(max_bytes),
            version=__version__,
        )

    frame = len(render(Markup(""), len(context.pictures)).encode("utf-8"))
    definitions, left_out = context.pictures.definitions(max_bytes - frame, context.words)
    html = render(definitions, left_out)
    size = len(html.encode("utf-8"))
    if size > max_bytes:
        raise ConfigError(
            f"the report takes {size:,} bytes without any picture, more than max_bytes = {max_bytes:,}; "
            "allow more, or show fewer queries in the gallery"
        )
    return html


def write_page(path: Path, template: str, words: Words, **data: object) -> Path:
    """Write a page without a script as one HTML file that loads nothing from anywhere.

    Args:
        path: The file; written aside and renamed.
        template: Name of the template.
        words: The catalogue.
        data: Variables of the template.

    Raises:
        ArtifactError: The file cannot be written.
    """
    css = asset("report.css")
    page = page_environment(words).get_template(template)
    html = page.render(css=Markup(css), policy=policy(css, ""), version=__version__, **data)
    write_bytes(path, html.encode("utf-8"))
    return path


@lru_cache(maxsize=8)
def page_environment(words: Words, package: str = "ilion.report") -> Environment:
    """Return the templates of a package, which escape everything and speak one language, compiled once."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        finalize=_whole_characters,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(t=words, exact=exact)
    return environment


def _whole_characters(value: Any) -> Any:
    """Return a text without half characters (lone surrogates), which JSON may hold and no page can."""
    if isinstance(value, str) and _HALF.search(value):
        return type(value)(_HALF.sub("\ufffd", value))
    return value


def asset(name: str) -> str:
    """Return a file of the templates as text."""
    return (resources.files("ilion.report") / "templates" / name).read_text("utf-8")


def policy(css: str, script: str) -> str:
    """Return a Content-Security-Policy that allows this style, this script and embedded pictures only."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")

    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest(css)}'; "
        f"script-src 'sha256-{digest(script)}'; base-uri 'none'; form-action 'none'"
    )


def exact(value: float, text: str) -> Markup:
    """Return a number for people that carries its exact value for programs and as a tool tip.

    >>> exact(0.4711, "47%")
    Markup('<data value="0.4711" title="0.4711">47%</data>')
    """
    number = repr(float(value))
    return Markup('<data value="{}" title="{}">{}</data>').format(number, number, text)
