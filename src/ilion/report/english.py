"""What runs say in English about themselves, in the language of a page.

Names of designs and stages, notes of runs and reasons are stored in English; see `ilion.wording.reword`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ilion.outcome import RunResult
from ilion.wording import Words, reword

_ROOM = "report"


def design_text(design: str, words: Words) -> str:
    """Return the name of a design in the language of a page.

    Args:
        design: The name, as a run stores it: parts with " + " between them.
        words: The catalogue.

    >>> from ilion.wording import load_words
    >>> design_text("local features in 16384 B + reading", load_words("report", "ja"))
    '局所特徴（写真1枚16,384バイト）＋文字の読み取り'
    """
    if words.language == "en":
        return design
    return words("made_of.joined").join(
        reword(part, "design_part", words, _ROOM) for part in design.split(" + ")
    )


def stage_text(stage: str, words: Words) -> str:
    """Return the name of a stage in the language of a page."""
    return reword(stage, "stage", words, _ROOM)


def in_language(result: RunResult, words: Words) -> RunResult:
    """Return a run whose design, stages, notes and skipped photos are in the language of a page."""
    if words.language == "en":
        return result
    seconds = {stage_text(stage, words): value for stage, value in result.cost.stage_seconds.items()}
    reused = tuple(stage_text(stage, words) for stage in result.cost.reused)
    about = result.provenance.get("data set")
    provenance = dict(result.provenance)
    if isinstance(about, Mapping):
        notes = [note_text(str(note), words) for note in about.get("notes", ())]
        provenance["data set"] = {**about, "notes": notes}
    skipped = tuple(replace(item, reason=unreadable_text(item.reason, words)) for item in result.skipped)
    return replace(
        result,
        design=design_text(result.design, words),
        cost=replace(result.cost, stage_seconds=seconds, reused=reused),
        provenance=provenance,
        skipped=skipped,
    )


def note_text(note: str, words: Words) -> str:
    """Return a note of a run in the language of a page: of a stage, or of what is wrong with a data set.

    >>> from ilion.wording import load_words
    >>> note_text("a/b.tar: is not read; move it to distractors/ if it holds distractors",
    ...           load_words("report", "ja"))
    'a/b.tar：読み込んでいません。無関係な写真が入っている場合は、distractors/に移してください'
    """
    said = reword(note, "note", words, _ROOM)
    return said if said != note else reword(note, "problem", words, _ROOM)


def failure_text(reason: str, words: Words) -> str:
    """Return why a run failed, in the language of a page: as a sentence that says so where it is not known.

    >>> from ilion.wording import load_words
    >>> failure_text("a: the database holds no readable image", load_words("report", "ja"))
    'データベースに読み取れる画像がありません（a）'
    """
    said = unreadable_text(reason, words)
    said = said if said != reason else reword(reason, "failure", words, _ROOM)
    return said if said != reason else words("failure.other", reason=reason)


def unreadable_text(reason: str, words: Words) -> str:
    """Return why a photo cannot be read, in the language of a page."""
    return reword(reason, "unreadable", words, _ROOM)
