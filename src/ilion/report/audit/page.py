"""Put the page of an audit together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from ilion._version import __version__
from ilion.audit.suspects import ANSWERS, KINDS, Answer, Audit, Kind, Numbers, Suspect
from ilion.report.build import page_environment, policy
from ilion.report.pictures import Pictures, find_records
from ilion.storage import fingerprint, write_bytes
from ilion.types import ImageRecord, RetrievalDataset
from ilion.wording import Words, load_words, reword

ROOM = "report/audit"
LADDER = ((448, 80), (320, 76), (224, 72), (160, 70), (112, 65), (72, 60))
"""Longer side in pixels and JPEG quality: people must tell packages apart."""
SHOWN = 500
"""Suspects on the page; the others are in the file beside it."""
MAX_BYTES = 40_000_000
KEYS: Mapping[Answer, str] = {
    "same": "s",
    "different": "d",
    "other": "o",
    "unsure": "t",
    "duplicate": "c",
    "box": "b",
}
OFFERED: Mapping[Kind, tuple[Answer, ...]] = {
    "wrong-label": ("same", "different", "other", "unsure", "box"),
    "unlabelled": ("same", "different", "unsure"),
    "duplicate": ("duplicate", "different", "unsure"),
    "leak": ("duplicate", "different", "unsure"),
    "box": ("same", "box", "unsure"),
    "same-object": ("same", "different", "unsure"),
}
"""Answers that make sense for a kind; of a box, ``same`` means that it is right."""


def write_audit_page(
    path: Path,
    audit: Audit,
    dataset: RetrievalDataset,
    *,
    language: str = "en",
    max_bytes: int = MAX_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the page as one HTML file that loads nothing from anywhere.

    Args:
        path: The file; written aside and renamed.
        audit: The audit.
        dataset: Data set of the audit, for the pictures.
        language: Language of the page.
        max_bytes: Bytes that the pictures may take; they get smaller first, then the last ones are left out.
        progress: Callback that receives pictures done and pictures in all.

    Raises:
        ConfigError: There is no such language.
        ArtifactError: The file cannot be written.
    """
    html = render_audit(audit, dataset, language=language, max_bytes=max_bytes, progress=progress)
    write_bytes(path, html.encode())
    return path


def render_audit(
    audit: Audit,
    dataset: RetrievalDataset,
    *,
    language: str = "en",
    max_bytes: int = MAX_BYTES,
    live: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Return the page.

    Args:
        audit: The audit.
        dataset: Data set of the audit.
        language: Language of the page.
        max_bytes: See `write_audit_page`.
        live: Path to which decisions are sent as they are taken; "" keeps them in the browser.
        progress: See `write_audit_page`.
    """
    words = load_words(ROOM, language)
    suspects = audit.suspects[:SHOWN]
    records = _records(audit, suspects, dataset)
    pictures = Pictures(records.values(), progress, LADDER)
    definitions, left_out = pictures.definitions(max_bytes, load_words("report", language))
    sizes = {name: pictures[record] for name, record in records.items()}
    data = {
        "mark": fingerprint(audit.dataset, [s.key for s in audit.suspects])[:16],
        "dataset": audit.dataset,
        "name": audit.name,
        "suspects": [_shown(suspect, words) for suspect in suspects],
        "plain": {s.key: {**asdict(s), "matches": [], "boxes": [], "words": {}} for s in suspects},
        "pictures": {name: [p.number, p.width, p.height] for name, p in sizes.items()},
        "queries": {name: list(photos) for name, photos in audit.queries.items()},
        "keys": KEYS,
        "kinds": {kind: words(f"kind.{kind}") for kind in KINDS},
        "answers": {answer: words(f"answer.{answer}") for answer in ANSWERS},
        "words": {name: words.entries[f"script.{name}"] for name in words.section("script")},
    }
    script, css = (
        (resources.files("ilion.report.audit") / "templates" / f"audit.{kind}").read_text("utf-8")
        for kind in ("js", "css")
    )
    allowed = policy(css, script) + ("; connect-src 'self'" if live else "")
    present = [(kind, words(f"kind.{kind}")) for kind in KINDS if any(s.kind == kind for s in suspects)]
    return (
        page_environment(words, "ilion.report.audit")
        .get_template("audit.html.j2")
        .render(
            audit=audit,
            notes=[reword(note, "note", words, ROOM) for note in audit.notes],
            precision=_numbers(audit.precision, words) if audit.precision else None,
            first=_numbers(audit.first, words) if audit.first else None,
            kinds=present,
            more=len(audit.suspects) - len(suspects),
            left_out=left_out,
            definitions=definitions,
            data=_json(data),
            css=Markup(css),
            script=Markup(script),
            policy=allowed,
            live=live,
            version=__version__,
        )
    )


def _records(
    audit: Audit, suspects: tuple[Suspect, ...], dataset: RetrievalDataset
) -> dict[str, ImageRecord]:
    """Find the photos that the page shows, those of the first suspects first."""

    def wanted() -> Iterator[str]:
        for suspect in suspects:
            yield from suspect.photos[:2]
            for name in (suspect.object, suspect.other):
                yield from audit.queries.get(name, ())

    names = dict.fromkeys(wanted())
    known = {q.image.id: q.image for q in dataset.queries if q.image is not None}
    found = known | find_records(dataset, [name for name in names if name not in known])
    return {name: found[name] for name in names}


def _shown(suspect: Suspect, words: Words) -> dict[str, object]:
    offered = [a for a in OFFERED[suspect.kind] if a != "other" or suspect.other]
    change = suspect.map_change
    return {
        "key": suspect.key,
        "kind": suspect.kind,
        "photos": suspect.photos[:2],
        "object": suspect.object,
        "other": suspect.other,
        "relation": suspect.relation,
        "sure": words("page.confidence", value=words.percent(suspect.confidence)),
        "change": words.points(change, 2) if abs(change) >= 5e-5 else "",
        "answers": offered,
        "evidence": [
            [words(f"evidence.{name.replace(' ', '-')}"), words.significant(value, 3)]
            for name, value in suspect.evidence.items()
        ]
        + [
            [
                words(f"evidence.words-{name}", object=suspect.object, other=suspect.other),
                words.items(several),
            ]
            for name, several in suspect.words.items()
            if several
        ],
        "said": [
            words.items(words("page.said", object=name, role=words(f"role.{role}")) for name, role in roles)
            for roles in suspect.roles
        ],
        "boxes": suspect.boxes,
        "matches": suspect.matches,
    }


def _numbers(numbers: Numbers, words: Words) -> dict[str, str]:
    """Write a measure as percent."""
    values = (numbers.as_is, numbers.if_all, numbers.low, numbers.high)
    names = ("now", "all", "low", "high")
    return {name: words.percent(value, 1) for name, value in zip(names, values, strict=True)}


def _json(data: object) -> Markup:
    """Return JSON that cannot end the element that holds it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
