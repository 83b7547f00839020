"""Re-ranking: what each stage gained and lost, slices before and after, and matches to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from ilion.errors import IlionError
from ilion.outcome import Ledger, Reranking
from ilion.report.charts.stages import Pair, Part, Step, before_and_after, waterfall, whole
from ilion.report.context import Context, Section
from ilion.report.english import failure_text
from ilion.report.sections.matches import MOST_INLIERS, Link, draw_link
from ilion.report.sections.moves import Move
from ilion.report.sections.verdict import known_slices, slice_label
from ilion.types import Box
from ilion.wording import Words


@dataclass(frozen=True)
class Exhibit:
    """A query and a result that re-ranking moved.

    Args:
        instance: The query's object.
        query_id: The query.
        image_id: The result.
        picture: Both, with their matches.
        kind: ``hit`` or ``miss``.
        ranks: Rank before and after.
        front: Wrong results in front of it before and after; "" for a wrong one.
        note: Matches in words, or why there are none.
    """

    instance: str
    query_id: str
    image_id: str
    picture: Markup
    kind: str
    ranks: str
    front: str
    note: str


def reranking_section(context: Context) -> Section | None:
    """Say and show what re-ranking did; None for a run without it."""
    words, reranking = context.words, context.main.reranking
    if reranking is None:
        return None
    ledger = reranking.ledger
    moves = context.selection.moves
    show = _Exhibitor(context, reranking)
    groups = []
    if moves is not None:
        for name in ("best", "typical", "worst", "fallen", "climbed"):
            some = moves.groups[name] if name in moves.groups else getattr(moves, name)
            if some:
                exhibits = [show(move) for move in some]
                groups.append((words(f"reranking.{name}"), words(f"reranking.{name}_intro"), exhibits))
    data = {
        "summary": _summary(context, reranking),
        "facts": [*_texts(context), *_facts(reranking, words)],
        "steps": _steps(context, reranking, ledger) if ledger else None,
        "parts": _parts(reranking, ledger, words) if ledger else None,
        "part_table": _part_list(reranking, ledger, words) if ledger else [],
        "slices": [
            (words(f"plots.{axis}_heading"), chart)
            for axis in ("scale", "clutter")
            if (chart := _slices(context, reranking, axis)) is not None
        ],
        "groups": groups,
        "gone": "" if moves is not None else words("reranking.gone"),
        "undrawn": failure_text(show.problem, words) if show.problem else "",
        "most": MOST_INLIERS,
    }
    return Section("reranking", words("reranking.title"), data)


def _summary(context: Context, reranking: Reranking) -> list[str]:
    words, after = context.words, reranking.after or context.main.evaluation
    common: dict[str, object] = {
        "before": words.percent(reranking.before.mean, 1),
        "after": words.percent(after.mean, 1),
        "k": str(after.k),
    }
    change = reranking.change
    if change is None:
        return [words("reranking.summary", **common)]
    sure = change.ci95.low > 0 or change.ci95.high < 0
    key = "up" if change.difference > 0 else "down"
    return [
        words(
            f"reranking.summary_{key if sure else 'unsure'}",
            **common,
            difference=words.points(change.difference),
            low=words.points(change.ci95.low),
            high=words.points(change.ci95.high),
        ),
        words("reranking.queries", better=change.better, worse=change.worse, count=len(after.query_ids)),
    ]


def _texts(context: Context) -> list[str]:
    """Say that texts were not re-ranked, where there are some."""
    count = sum(facts.query.text is not None for facts in context.outcome.queries)
    return [context.words("reranking.texts", count=count)] if count else []


def _facts(reranking: Reranking, words: Words) -> list[str]:
    """Say how scores were fused, what was missing, and what compression costs."""
    weights = reranking.weights[~np.isnan(reranking.weights)]  # a text has none
    facts = []
    if reranking.fusion == "verified":
        return [words("reranking.fusion_verified", size=reranking.shortlist)]
    if reranking.fusion == "rank":
        facts.append(words("reranking.fusion_rank"))
    elif reranking.fusion == "calibrated":
        used, counts = np.unique(weights.round(6), return_counts=True)
        several = words.items(
            words("reranking.weight", weight=words.significant(float(w)), count=int(c))
            for w, c in zip(used, counts, strict=True)
        )
        facts.append(words("reranking.fusion_calibrated", weights=several))
    else:
        facts.append(words("reranking.fusion_score", weight=words.significant(float(weights[0]))))
    missing = reranking.missing
    facts.append(words("reranking.missing", count=missing) if missing else words("reranking.none_missing"))
    full = reranking.full
    if full is not None:
        facts.append(
            words(
                "reranking.compression",
                full=words.percent(full.mean, 1),
                difference=words.points(full.change.difference),
                low=words.points(full.change.ci95.low),
                high=words.points(full.change.ci95.high),
                bytes=words.size(full.bytes_per_image),
                time=words.duration(full.seconds),
            )
        )
    return facts


def _steps(context: Context, reranking: Reranking, ledger: Ledger) -> Markup:
    words, evaluation = context.words, reranking.after or context.main.evaluation
    size = reranking.shortlist

    def room(share: float) -> str:
        return words("reranking.room", value=words.points(share))

    up = ledger.before + ledger.gained
    steps = [
        Step(
            words("reranking.step_before"),
            words.percent(ledger.before, 1),
            0,
            ledger.before,
            "total",
            reranking.before.ci95,
        ),
        Step(
            words("reranking.step_gained"),
            words("reranking.won", value=words.points(ledger.gained), count=ledger.gained_queries),
            ledger.before,
            up,
            "gain",
        ),
        Step(
            words("reranking.step_lost"),
            words("reranking.won", value=words.points(-ledger.lost), count=ledger.lost_queries),
            up,
            ledger.after,
            "loss",
        ),
        Step(
            words("reranking.step_after"),
            words.percent(ledger.after, 1),
            0,
            ledger.after,
            "total",
            evaluation.ci95,
        ),
    ]
    at = ledger.after
    if ledger.verifies:
        steps.append(
            Step(words("reranking.step_outranked"), room(ledger.outranked), at, at + ledger.outranked, "room")
        )
        at += ledger.outranked
    share = ledger.unmatched if ledger.verifies else ledger.unmatched + ledger.outranked
    name = "unmatched" if ledger.verifies else "misplaced"
    steps.append(Step(words(f"reranking.step_{name}"), room(share), at, ledger.oracle, "room"))
    steps.append(
        Step(words("reranking.step_beyond", size=size), room(ledger.out_of_reach), ledger.oracle, 1.0, "far")
    )
    return waterfall("c-steps", steps, words("reranking.steps_heading"), words)


def _part_list(reranking: Reranking, ledger: Ledger, words: Words) -> list[tuple[Part, str, str]]:
    """Return what became of the positives: the part, its share, and a remark."""
    full = reranking.full
    squeezed = min(full.lost, ledger.unverified) if full else 0
    rows = [
        ("lifted", ledger.lifted, ""),
        ("kept", ledger.kept, ""),
        ("lowered", ledger.lowered, ""),
        ("squeezed", squeezed, ""),
        (
            "unverified",
            ledger.unverified - squeezed,
            words("reranking.of_them_lowered", count=ledger.unverified_lowered)
            if ledger.unverified_lowered
            else "",
        ),
        ("beyond", ledger.beyond, ""),
        ("unreachable", ledger.unreachable, ""),
    ]
    shown = {
        "squeezed": full is not None,
        "unverified": ledger.verifies or ledger.unverified > 0,
        "unreachable": ledger.unreachable > 0,
    }
    return [
        (
            Part(words(f"reranking.part_{name}", size=reranking.shortlist), count, name),
            words.percent(count / max(ledger.pairs, 1), 1),
            remark,
        )
        for name, count, remark in rows
        if shown.get(name, True)
    ]


def _parts(reranking: Reranking, ledger: Ledger, words: Words) -> Markup:
    parts = [part for part, _, _ in _part_list(reranking, ledger, words)]
    return whole("c-parts", parts, words("reranking.parts_heading"), words)


def _slices(context: Context, reranking: Reranking, axis: str) -> Markup | None:
    words, evaluation = context.words, reranking.after or context.main.evaluation
    if not known_slices(evaluation, axis):
        return None
    old = {s.label: s for s in reranking.before.slices if s.axis == axis}
    rows = [
        Pair(
            slice_label(axis, s.label, words),
            words(
                "reranking.slice_remark",
                before=words.percent(old[s.label].mean, 1),
                after=words.percent(s.mean, 1),
                count=s.positives,
            ),
            old[s.label].mean,
            old[s.label].ci95,
            s.mean,
            s.ci95,
        )
        for s in evaluation.slices
        if s.axis == axis and s.label in old
    ]
    title = words(f"plots.{axis}_heading")
    return before_and_after(f"c-moved-{axis}", rows, title, words) if rows else None


class _Exhibitor:
    """Draws moves; the first reason why matches cannot be drawn is kept in ``problem``."""

    def __init__(self, context: Context, reranking: Reranking) -> None:
        self.context = context
        self.explain: Callable[[int, int], Any] = reranking.explain
        self.problem = ""
        self._number = {query: q for q, query in enumerate(context.main.ranking.query_ids)}

    def __call__(self, move: Move) -> Exhibit:
        context, words = self.context, self.context.words
        facts = context.outcome.queries[move.query]
        record, image = context.records[move.row], facts.query.image
        ranks = words("reranking.ranks", before=move.before, after=move.after)
        front = words("reranking.in_front", before=move.wrong_before, after=move.wrong_after)
        kind = "hit" if move.hit else "miss"
        link = self._link(self._number[facts.query.id], move.row)
        if link is None:
            note = words("reranking.no_link")
        elif not link.inliers.any():
            note = words("reranking.no_inliers", count=len(link.inliers))
        else:
            note = words("reranking.inliers", inliers=int(link.inliers.sum()), count=len(link.inliers))
        picture = Markup("")
        if image is not None:
            text = words(
                f"reranking.described_{kind}",
                name=facts.query.instance,
                id=record.id,
                before=move.before,
                after=move.after,
                note=note,
            )
            boxes: tuple[Sequence[Box], Sequence[Box]] = (image.boxes, record.boxes if move.hit else ())
            pictures = context.pictures
            picture = draw_link(pictures[image], pictures[record], link, boxes, text)
        return Exhibit(
            facts.query.instance,
            facts.query.id,
            record.id,
            picture,
            kind,
            ranks,
            front if move.hit else "",
            note,
        )

    def _link(self, query: int, row: int) -> Link | None:
        """Ask for the evidence again; what is gone or damaged is said once and does not stop the report."""
        if self.problem:
            return None
        try:
            pair = self.explain(query, row)
        except IlionError as error:
            self.problem = str(error)
            return None
        return Link(
            np.asarray(pair.query.keypoints[pair.matches.query_rows], np.float64),
            np.asarray(pair.image.keypoints[pair.matches.database_rows], np.float64),
            pair.verification.inliers,
            pair.corners,
        )
