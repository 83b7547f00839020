"""What the verbs of a proof of concept print, in the language of its pages, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

from ilion.config.poc import FILE, load_poc
from ilion.errors import ConfigError
from ilion.poc.cells import UNKNOWN
from ilion.poc.compare import ALL
from ilion.poc.decision import Decision, to_plain
from ilion.poc.sample import LEAST_OBJECTS
from ilion.report import english
from ilion.report.charts.canvas import columns
from ilion.report.decision.designs import missing_settings, reason_text
from ilion.report.decision.names import ROOM, cell_name, design_name, size_text
from ilion.report.decision.sentences import Sayings
from ilion.wording import load_words

if TYPE_CHECKING:
    from ilion.poc.coverage import CellCoverage, Coverage
    from ilion.poc.lookalikes import LookAlikes
    from ilion.poc.shots import ShotList
    from ilion.poc.threshold import Promise, Rate, Tradeoff

CURVE = 12
"""Points of a curve of thresholds that are printed, about."""
SHOWN = 12
"""Pairs of objects that are printed."""


def language_of(run: Path) -> str:
    """Return the language of the proof of concept that a run belongs to; English where it belongs to none."""
    home = run.absolute().parent.parent
    try:
        return load_poc(home).language if (home / FILE).is_file() else "en"
    except ConfigError:
        return "en"


class PocText:
    """Puts what the verbs found into lines.

    Args:
        language: ``en`` or ``ja``. In English, cells and designs keep the keys that ``poc.toml`` has.
    """

    def __init__(self, language: str) -> None:
        self.words = load_words("cli", language)
        self.pages = load_words(ROOM, language)

    def shots(self, found: ShotList) -> Iterator[str]:
        """Yield how many objects and photos a shot list asks for."""
        words = self.words
        yield words(
            "shots.list",
            name=found.name,
            objects=found.objects,
            photos=found.photos,
            distractors=found.distractors,
        )
        for shot in found.shots:
            cell, size = self.cell(shot.cell, shot.size, shot.clutter), size_text(shot.size_range, self.pages)
            yield "  " + words("shots.cell", cell=cell, objects=shot.objects, photos=shot.photos, size=size)
        values: dict[str, object] = {
            "wanted": words("shots.wanted", wanted=f"{100 * found.wanted:g}", needed=found.needed),
            "objects": found.objects,
        }
        if found.objects == found.needed:
            yield "  " + words("shots.met", **values, gain=words.number(100 * found.planned.detects, 0))
        elif found.planned.width >= 1:
            yield "  " + words("shots.nothing", **values)
        else:
            yield "  " + words("shots.yours", **values, width=words.number(100 * found.planned.width, 0))

    def coverage(self, found: Coverage, boxes: Path | None = None) -> Iterator[str]:
        """Yield what the photos cover and lack.

        Args:
            found: The coverage.
            boxes: The page on which boxes are drawn, if there is one.
        """
        words = self.words
        yield words(
            "check.covered",
            name=found.name,
            objects=found.objects,
            wanted=found.wanted_objects,
            queries=found.queries,
            positives=found.positives,
            distractors=found.distractors,
            wanted_distractors=found.wanted_distractors,
        )
        for _, place, seen, remedy in found.problems:
            yield "  " + words("check.error", problem=self._problem(place, seen, remedy))
        if found.warnings:
            yield "  " + words("check.warnings", count=found.warnings)
        named = [self.cell(each.cell, each.size, each.clutter) for each in found.cells]
        width = max(map(columns, named), default=0)
        for cell, name in zip(found.cells, named, strict=True):
            counts = {"objects": f"{cell.objects:>4}", "photos": f"{cell.photos:>5}"}
            yield "  " + words("check.cell", cell=_padded(name, width), **counts, state=self._state(cell))
        if found.without_size:
            yield "  " + words("check.no_box", count=found.without_size)
        if found.clutter_origin == "measured":
            yield "  " + words("check.guessed")
        if found.can_decide:
            yield "  " + words(
                "check.width",
                objects=found.objects,
                width=words.number(100 * found.precision.width, 0),
                cell_width=words.number(100 * found.precision.cell_width, 0),
            )
        else:
            yield "  " + words(
                "check.too_few", objects=found.objects, least=LEAST_OBJECTS, wanted=found.wanted_objects
            )
        if found.without_size and boxes is not None:
            yield "  " + words("check.draw", file=str(boxes))

    def run(self, done: Sequence[str], not_run: Mapping[str, str]) -> Iterator[str]:
        """Yield which designs were run, and why others were not."""
        yield self.words("run.done", names=self.words.items(map(self.design, done)))
        for name, reason in not_run.items():
            yield "  " + self._not_run(name, reason)

    def decision(self, found: Decision) -> Iterator[str]:
        """Yield the sentences that may be said, the table of gains, and money."""
        words, plain = self.words, to_plain(found)
        say = Sayings(plain, self.pages)
        yield words(
            "decide.scale",
            name=found.name,
            objects=found.objects,
            database=found.database,
            measure=found.measure,
        )
        for statement in (plain["recommendation"], plain["change"], *plain["statements"]):
            said = say.say(statement)
            if said is not None:
                yield "  " + (statement["text"] if self._keys else unescape(said.striptags()))
        rows = []
        for v in found.verdicts:
            figure = plain["cells"][[cell.name for cell in found.cells].index(v.cell)]
            cell = v.cell if self._keys else cell_name(figure, self.pages)
            gain = words("decide.no_interval", count=v.gain.objects if v.cell != ALL else found.objects)
            if v.gain.objects >= LEAST_OBJECTS:
                value, low, high = (f"{100 * end:+4.0f}" for end in (v.gain.value, v.gain.low, v.gain.high))
                gain = words("decide.gain", value=value, low=low, high=high)
            rows.append((cell, self.design(v.design), gain, self.pages(f"cells.{v.answer}")))
        widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cell, design, gain, answer = map(_padded, row, widths)
            line = words("decide.verdict", cell=cell, design=design, gain=gain, answer=answer)
            yield f"  {line}".rstrip()
        if found.money.missing:
            names = ", ".join(found.money.missing) if self._keys else missing_settings(plain, say)
            yield "  " + words("decide.no_money", names=names)
        for each in found.money.lines:
            ends = (each.net.value, each.net.low, each.net.high)
            net, low, high = (words.money(value, found.money.currency) for value in ends)
            yield "  " + words("decide.money", design=self.design(each.design), net=net, low=low, high=high)
        for tried in found.designs:
            if not tried.ran:
                yield "  " + self._not_run(tried.name, tried.reason)

    def threshold(self, found: Promise, path: Path) -> Iterator[str]:
        """Yield what is promised of a threshold, and what others would do."""
        words = self.words
        mix = words("threshold.any_mix")
        if found.absent_share is not None:
            mix = words("threshold.mix", share=words.percent(found.absent_share))
        risk, sure = words.percent(found.risk, 1), words.percent(found.confidence)
        promise = words("threshold.promise", risk=risk, mix=mix)
        if found.threshold is None or found.at is None:
            yield words("threshold.none", objects=found.objects, promise=promise)
            least = words.percent(found.least_risk, 1)
            yield "  " + words(
                "threshold.at_best", confidence=sure, least=least, risk=risk, needed=found.objects_needed
            )
        else:
            yield words("threshold.set", score=f"{found.threshold:.6g}", file=str(path))
            yield "  " + words(
                "threshold.promised",
                confidence=sure,
                promise=promise,
                objects=found.objects,
                queries=found.queries,
            )
            yield "  " + words("threshold.like_these")
            yield self.rates(found.at)
            if not found.at.found.value:
                yield "  " + words("threshold.useless")
        if found.left_out:
            yield "  " + words("threshold.left_out", count=found.left_out)
        heads = [
            words(f"threshold.column_{name}") for name in ("score", "absent", "present", "found", "missed")
        ]
        yield "  ".join(("", *heads))
        for point in found.curve[:: max(1, len(found.curve) // CURVE)]:
            rates = (point.wrong_absent, point.wrong_present, point.found, point.missed)
            shown = [f"{point.threshold:.6g}", *(words.percent(rate.value, 1) for rate in rates)]
            yield "  ".join(("", *map(_right, shown, map(columns, heads))))

    def rates(self, at: Tradeoff) -> str:
        """Return how often a threshold is right and wrong on the objects of the run."""
        rates = (at.wrong_absent, at.wrong_present, at.found, at.missed)
        named = zip(("absent", "present", "found", "missed"), map(self._rate, rates), strict=True)
        return "  " + self.words("threshold.rates", **dict(named))

    def lookalikes(self, found: LookAlikes, path: Path) -> Iterator[str]:
        """Yield which objects are taken for which, and what may tell them apart.

        Args:
            found: The confusions.
            path: The file that all of them were written to.
        """
        words = self.words
        yield words("alike.wrong", count=found.queries, wrong=found.wrong, unnamed=found.unnamed)
        for pair in found.pairs[:SHOWN]:
            counts = {"count": pair.of, "searches": pair.searches, "first": pair.first}
            said = words("alike.pair", asked=repr(pair.asked), shown=repr(pair.shown), **counts)
            if pair.cost is not None:
                said = words("alike.costly", pair=said, cost=words.money(pair.cost, found.currency))
            yield "  " + said
            for example in pair.examples[:1]:
                place = {"query": example.query, "photo": example.photo, "rank": example.rank}
                if example.positive_rank:
                    yield "    " + words("alike.example", **place, right=example.positive_rank)
                else:
                    yield "    " + words("alike.example_lost", **place)
                if example.words:
                    yield "    " + words("alike.words", words=words.items(example.words))
            for key in pair.advice:
                yield "    " + words(f"alike.{key}")
        if len(found.pairs) > SHOWN:
            yield "  " + words("alike.more", count=len(found.pairs) - SHOWN)
        yield words("alike.file", file=str(path))

    @property
    def _keys(self) -> bool:
        """Whether cells, designs and settings are named by their keys."""
        return self.words.language == "en"

    def cell(self, name: str, size: str, clutter: str) -> str:
        """Return what a cell is called."""
        if self._keys:
            return name
        return cell_name({"name": name, "size": size, "clutter": clutter}, self.pages)

    def design(self, name: str) -> str:
        """Return what a design is called."""
        return name if self._keys else design_name(name, self.pages)

    def _problem(self, place: str, seen: str, remedy: str) -> str:
        whole = f"{place}: {seen}; {remedy}"
        said = english.note_text(whole, load_words("report", self.words.language))
        return said if said != whole else self.words("check.problem", place=place, seen=seen, remedy=remedy)

    def _state(self, cell: CellCoverage) -> str:
        if UNKNOWN in cell.cell:
            return self.words("check.not_known")
        if not cell.wanted_objects:
            return self.words("check.not_planned")
        objects = max(cell.wanted_objects - cell.objects, 0)
        photos = max(cell.wanted_photos - cell.photos, 0)
        if not objects and not photos:
            return self.words("check.complete")
        return self.words("check.missing", objects=objects, photos=photos)

    def _not_run(self, name: str, reason: str) -> str:
        said = reason if self._keys else reason_text(reason, self.pages)
        return self.words("run.not_run", design=self.design(name), reason=said)

    def _rate(self, rate: Rate) -> str:
        low, high = (self.words.percent(end, 1) for end in (rate.interval.low, rate.interval.high))
        return self.words("threshold.rate", value=self.words.percent(rate.value, 1), low=low, high=high)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def _right(text: str, width: int) -> str:
    return " " * (width - columns(text)) + text


def say(lines: Iterable[str]) -> None:
    """Print lines on stdout, without the marks that keep browsers from breaking lines."""
    for line in lines:
        print(line.replace("\u2060", ""))
