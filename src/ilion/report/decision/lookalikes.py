"""Look-alikes of a decision: pairs with pictures, what tells them apart, and advice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from ilion.report.decision.names import Plain
from ilion.report.pictures import Pictures, find_records
from ilion.types import ImageRecord, RetrievalDataset
from ilion.wording import Words, load_words

_MOST_PAIRS = 12


def lookalike_data(
    plain: Plain, dataset: RetrievalDataset | None, words: Words, max_bytes: int
) -> tuple[dict[str, Any] | None, Markup]:
    """Return the pairs to show, and the SVG that defines their pictures.

    Args:
        plain: Content of ``decision.json``; without its part ``lookalikes`` nothing is shown.
        dataset: The photos; None shows no pictures.
        words: The catalogue.
        max_bytes: Bytes that the pictures may take.
    """
    part = plain["lookalikes"]
    if not isinstance(part, Mapping):
        return None, Markup("")
    pairs = part["pairs"][:_MOST_PAIRS]
    records: dict[str, ImageRecord] = {}
    if dataset is not None:
        shown = {
            example[key]
            for pair in pairs
            for example in pair["examples"][:1]
            for key in ("photo", "positive")
        }
        records = find_records(dataset, shown)
        records |= {q.id: q.image for q in dataset.queries if q.image is not None}
    asked = {example["query"] for pair in pairs for example in pair["examples"][:1]}
    wanted = {key: r for key, r in records.items() if key in asked or dataset is None or key in shown}
    pictures = Pictures(wanted.values())
    definitions = Markup("")
    if wanted:
        definitions, _ = pictures.definitions(max_bytes, load_words("report", words.language))
    rows = [
        _pair(pair, wanted, pictures, part.get("currency") or plain["money"]["currency"], words)
        for pair in pairs
    ]
    mutual = [f"{a} ⇄ {b}" for a, b in part.get("mutual", ())]
    return {
        "rows": rows,
        "mutual": words("alike.mutual", names=words.items(mutual)) if mutual else "",
    }, definitions


def _pair(
    pair: Plain, records: Mapping[str, ImageRecord], pictures: Pictures, currency: str, words: Words
) -> dict[str, Any]:
    example = pair["examples"][0] if pair["examples"] else None
    shown = []
    if example:
        for key, label in (("query", "asked"), ("photo", "shown"), ("positive", "right")):
            record = records.get(example[key])
            if record is not None:
                boxes = example["differs"] if key == "query" else ()
                shown.append((pictures[record], words(f"alike.{label}"), boxes))
    said = [words("alike.searches", count=pair["of"], searches=pair["searches"], first=pair["first"])]
    if pair["cost"] is not None:
        said.append(words("alike.cost", money=words.money(pair["cost"], currency)))
    told = words.items(example["words"]) if example and example["words"] else ""
    return {
        "title": words("alike.pair", asked=pair["asked"], shown=pair["shown"]),
        "said": said,
        "pictures": shown,
        "words": words("alike.words", words=told) if told else "",
        "differs": bool(example and example["differs"] and shown),
        "advice": [words(f"alike.{key}") for key in pair["advice"]],
    }
