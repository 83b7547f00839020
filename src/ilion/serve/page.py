"""Answers as one self-contained file to look at and to send: pictures, regions and matched points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from ilion import storage
from ilion.opening import full_path
from ilion.report.pictures import Pictures
from ilion.report.sections.matches import Link, draw_link
from ilion.reranking.base import Explanation
from ilion.serve.answers import Answer, FoundPhoto
from ilion.serve.found import Matches
from ilion.serve.index import Index
from ilion.serve.photos import memory_source
from ilion.types import Box, ImageRecord, NoSource
from ilion.wording import Words, load_words

FEW_POINTS = 12
"""Below so many matched points the answer asks to compare; page.js has the same number."""
MOST_BYTES = 8 << 20
"""Bytes that the pictures of a page may take."""
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
ol { list-style: none; padding: 0; display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); }
li { border: 1px solid #8886; border-radius: .5rem; padding: .75rem; overflow-wrap: anywhere; }
h3 { margin: 0 0 .25rem; font-size: 1rem; }
p { margin: .25rem 0; }
.small { opacity: .75; font-size: .85rem; }
.link-picture { display: block; width: 100%; height: auto; }
.box, .halo { fill: none; }
.halo { stroke: #000; stroke-opacity: .55; stroke-width: 4px; }
.box { stroke: #ffd23f; stroke-width: 2px; }
.box.found { stroke: #35d0e6; stroke-width: 3px; }
.box.true { stroke-dasharray: 6 4; }
.match { fill: none; stroke: #7dff8a; stroke-width: 1.2px; }
.match.under { stroke: #000; stroke-opacity: .5; stroke-width: 3px; }
.match.loose { stroke: #ddd; stroke-opacity: .6; stroke-dasharray: 3 3; stroke-width: 1px; }
.match-dot { fill: none; stroke: #7dff8a; stroke-width: 4px; stroke-linecap: round; }
.match-dot.under { stroke: #000; stroke-opacity: .5; stroke-width: 6px; }
.gap { fill: #8884; } .gap-text { fill: currentColor; text-anchor: middle; }
"""


def write_answers(
    path: Path,
    index: Index,
    answers: Sequence[tuple[str, object, Answer, Matches]],
    box: Box | None = None,
    language: str = "en",
) -> None:
    """Write the answers to some searches as one page.

    Args:
        path: The file.
        index: Index that was searched.
        answers: Name of what was asked, the photo (None for a text), the answer, and its matches.
        box: Box of the one photo that was asked with.
        language: Language of the page.

    Raises:
        ConfigError: There is no such language.
    """
    words, of_pictures = load_words("serve", language), load_words("report", language)
    asked, shown = [], {}
    for name, photo, answer, _ in answers:
        source = memory_source(photo, name) if photo is not None else NoSource(name)
        asked.append(ImageRecord(name, source))
        for found in answer.objects:
            shown[found.photo.id] = ImageRecord(found.photo.id, index.source(found.photo.id))
    pictures = Pictures([*asked, *shown.values()])
    parts = []
    for record, (name, _, answer, matches) in zip(asked, answers, strict=True):
        items = []
        for number, found in enumerate(answer.objects, 1):
            explained = matches.explain(found.photo.id)
            drawn = draw_link(
                pictures[record],
                pictures[shown[found.photo.id]],
                None if explained is None else link_of(explained),
                ((box,) if box else (), ()),
                reason_of(found.photo, words),
            )
            items.append(
                Markup('<li>{}<h3>{}. {}</h3><p>{}</p><p class="small">{}<br>{}</p></li>\n').format(
                    drawn,
                    number,
                    found.name or words("page.unnamed"),
                    reason_of(found.photo, words),
                    found.photo.id,
                    words("answers.score", score=words.number(found.score, 3)),
                )
            )
        none = Markup("<p><b>{}</b> {}</p>").format(words("page.none"), words("page.none_help"))
        parts.append(
            Markup("<section><h2>{}</h2>{}<ol>{}</ol></section>\n").format(
                name, none if answer.none else "", Markup("").join(items)
            )
        )
    defined, _ = pictures.definitions(MOST_BYTES, of_pictures)
    template = Markup(
        '<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        "<title>{title}</title><style>{style}</style></head>\n<body><h1>{title}</h1>"
        '<svg width="0" height="0" aria-hidden="true"><defs>{defined}</defs></svg>\n{parts}</body></html>\n'
    )
    page = template.format(
        language=language,
        title=words("answers.title", name=full_path(index.folder).name),
        style=Markup(_STYLE),
        defined=defined,
        parts=Markup("").join(parts),
    )
    storage.write_bytes(path, page.encode())


def reason_of(found: FoundPhoto, words: Words) -> str:
    """Say why a photo was found, as the page of the service does."""
    if found.points is None:
        return words("page.score_global")
    if not found.points:
        return words("page.score_no_points")
    few = found.points < FEW_POINTS
    return words("page.score_few" if few else "page.score_points", count=found.points)


def link_of(explained: Explanation) -> Link:
    """Return matches as places in both photos."""
    matches = explained.matches
    return Link(
        explained.query.keypoints[matches.query_rows].astype(float),
        explained.image.keypoints[matches.database_rows].astype(float),
        explained.verification.inliers,
        explained.corners,
    )
