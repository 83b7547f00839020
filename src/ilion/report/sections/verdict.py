"""The verdict in words: what was found, where it is weak, what it costs, and what to be careful about."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup, escape

from ilion.outcome import Evaluation, RunResult, Skipped, SliceResult
from ilion.report.context import Context, Section
from ilion.report.sections.facts import Outcome
from ilion.types import NoSource
from ilion.wording import Words

UNKNOWN = "unknown"
"""The label of a slice whose value the data set does not say."""
VALUE_AXES = ("scale", "clutter")
_LABEL = re.compile(r"below (?P<high>\S+)|(?P<low>\S+) or more|(?P<from>\S+) to (?P<to>\S+)")
_WIDE = 0.1
"""An interval wider than this (ten percentage points) is called wide."""
_FEW = 100
"""Below so many objects, a wide interval is put down to their number."""
_WEAK = 0.8
"""A label is called weak if its mAP is below this share of the whole, or its interval excludes the whole."""
_POOR = 0.1
"""A query with a lower average precision does poorly."""
_NAMES = 8


def slice_label(axis: str, label: str, words: Words) -> str:
    """Write the label of a slice for people: fractions of the image as percent, bounds in words.

    >>> from ilion.wording import load_words
    >>> slice_label("scale", "0.0688 to 0.135", load_words("report", "en"))
    '6.9% to 14%'
    """
    if label == UNKNOWN:
        return words("slice.unknown")
    match = _LABEL.fullmatch(label)
    if axis not in VALUE_AXES or not match:
        return label

    def shown(text: str) -> str:
        value = float(text)
        return words("unit.percent", value=words.significant(100 * value)) if axis == "scale" else text

    if match["high"]:
        return words(f"slice.{axis}_below", high=shown(match["high"]))
    if match["low"]:
        return words(f"slice.{axis}_above", low=shown(match["low"]))
    return words(f"slice.{axis}_between", low=shown(match["from"]), high=shown(match["to"]))


def axis_name(axis: str, words: Words) -> str:
    """Return what an axis is called: those of values have a name in every language, labels are the data's."""
    return words(f"slice.{axis}_axis") if axis in VALUE_AXES else axis


def known_slices(evaluation: Evaluation, axis: str) -> list[SliceResult]:
    """Return the slices of an axis whose value is known, in the order of the evaluation."""
    return [s for s in evaluation.slices if s.axis == axis and s.label != UNKNOWN]


def label_axes(evaluation: Evaluation) -> list[str]:
    """Return the axes of labels, such as ``category``, that have at least two known slices."""
    names = dict.fromkeys(s.axis for s in evaluation.slices if s.axis not in VALUE_AXES)
    return [name for name in names if len(known_slices(evaluation, name)) > 1]


def answer_ms(result: RunResult) -> float:
    """Return how long a query takes from picture to answer, in milliseconds."""
    return result.cost.query_ms_per_query + result.cost.search_ms_per_query


def verdict(results: Sequence[RunResult], outcome: Outcome, words: Words) -> list[Markup]:
    """Return the verdict on the main run, sentence by sentence."""
    evaluation, cost = results[0].evaluation, results[0].cost
    objects = len(set(evaluation.instances))
    hits = sum(facts.hit_at_1 for facts in outcome.queries)
    if objects == len(outcome.queries):
        sentences = [words.rich("verdict.first_objects", hits=hits, count=objects)]
    else:
        count = len(outcome.queries)
        sentences = [words.rich("verdict.first_queries", hits=hits, count=count, objects=objects)]
    cut = telling_cutoff(results[0])
    if cut:
        recall = evaluation.metrics[f"recall@{cut}"]
        sentences.append(words.rich("verdict.recall", recall=words.percent(recall), k=cut))
    sentences.append(
        words.rich(
            "verdict.precision",
            k=escape(evaluation.k),
            definition=escape(evaluation.definition),
            value=words.percent(evaluation.mean, 1),
            low=words.percent(evaluation.ci95.low),
            high=words.percent(evaluation.ci95.high),
        )
    )
    sentences += _weak_spot(evaluation, words)
    low = sum(facts.ap < _POOR for facts in outcome.queries)
    if low:
        hardest = min(outcome.queries, key=lambda facts: facts.ap).query.instance
        sentences.append(
            words.rich(
                "verdict.poor",
                count=low,
                queries=len(outcome.queries),
                limit=words.percent(_POOR),
                name=hardest,
            )
        )
    known = math.isfinite(cost.extraction_ms_per_image)
    sentences.append(
        words.rich(
            "verdict.cost" if known else "verdict.cost_unknown",
            photo=words.milliseconds(cost.extraction_ms_per_image),
            bytes=words.size(cost.bytes_per_image),
            query=words.milliseconds(answer_ms(results[0])),
            time=words.duration(1000 * cost.extraction_ms_per_image),
            space=words.size(1e6 * cost.bytes_per_image),
        )
    )
    if len(results) > 1 and comparable(results):
        sentences.append(_designs(results, words))
    return sentences


def is_telling(name: str, result: RunResult) -> bool:
    """Return whether a metric can differ between rankings: its cut-off is smaller than the database."""
    base, _, cut = name.partition("@")
    whole = base in ("R", "P", "recall", "oracle") and cut.isdigit()
    return not whole or int(cut) < len(result.ranking.database_ids)


def telling_cutoff(result: RunResult) -> int:
    """Return the largest cut-off of recall that is smaller than the database; 0 where there is none."""
    names = [name for name in result.evaluation.metrics if name.startswith("recall@")]
    return max((int(name.partition("@")[2]) for name in names if is_telling(name, result)), default=0)


def shared_cutoff(results: Iterable[RunResult]) -> int:
    """Return the least of the largest telling cut-offs of runs; 0 where none has any."""
    return min(filter(None, map(telling_cutoff, results)), default=0)


def best_first(results: Sequence[RunResult]) -> list[RunResult]:
    """Return runs with the best design in front, where they measure the same thing."""
    if not comparable(results):
        return list(results)
    best = max(range(len(results)), key=lambda number: results[number].evaluation.mean)
    return [results[best], *results[:best], *results[best + 1 :]]


def comparable(results: Sequence[RunResult]) -> bool:
    """Return whether all runs measure the same thing."""
    return len({(r.dataset.name, r.evaluation.definition, r.evaluation.k) for r in results}) == 1


def all_skipped(results: Sequence[RunResult]) -> list[Skipped]:
    """Return the images that any run could not use, each once."""
    return list(dict.fromkeys(item for result in results for item in result.skipped))


def _designs(results: Sequence[RunResult], words: Words) -> Markup:
    best = max(results, key=lambda r: r.evaluation.mean)
    timed = [r for r in results if math.isfinite(r.cost.extraction_ms_per_image)]
    fastest = min(timed, key=lambda r: r.cost.extraction_ms_per_image, default=best)
    key = "verdict.designs_one" if best is fastest else "verdict.designs"
    if not timed:
        key = "verdict.designs_untimed"
    return words.rich(
        key,
        count=len(results),
        best=best.design,
        best_value=words.percent(best.evaluation.mean, 1),
        fastest=fastest.design,
        fastest_value=words.milliseconds(fastest.cost.extraction_ms_per_image),
    )


def _weak_spot(evaluation: Evaluation, words: Words) -> list[Markup]:
    """Say where it is weakest: by size if that is known, else by clutter; and the weakest label."""
    sentences = []
    for axis, low_name, high_name in (("scale", "small", "large"), ("clutter", "few", "many")):
        slices = known_slices(evaluation, axis)
        if len(slices) > 1:
            first, last = slices[0], slices[-1]
            harder, easier = (first, last) if axis == "scale" else (last, first)
            overlap = first.ci95.low <= last.ci95.high and last.ci95.low <= first.ci95.high
            kind = "_unsure" if overlap else "_reversed" if harder.mean > easier.mean else ""
            values = {
                low_name: words.percent(first.mean),
                f"{low_name}_range": escape(slice_label(axis, first.label, words)),
                high_name: words.percent(last.mean),
                f"{high_name}_range": escape(slice_label(axis, last.label, words)),
            }
            sentences.append(words.rich(f"verdict.{axis}{kind}", **values))
            break
    labelled = [s for axis in label_axes(evaluation) for s in known_slices(evaluation, axis)]
    weakest = min(labelled, key=lambda s: s.mean, default=None)
    if weakest and (weakest.ci95.high < evaluation.mean or weakest.mean < _WEAK * evaluation.mean):
        sentences.append(
            words.rich(
                "verdict.label",
                axis=escape(axis_name(weakest.axis, words)),
                label=escape(weakest.label),
                value=words.percent(weakest.mean),
                count=weakest.instances,
            )
        )
    return sentences


def caveats(
    results: Sequence[RunResult], outcome: Outcome, unreadable: int, words: Words, gone: int = 0
) -> list[Markup]:
    """Return what to know before relying on the main run, most important first."""
    main = results[0]
    evaluation = main.evaluation
    objects = len(set(evaluation.instances))
    width = evaluation.ci95.high - evaluation.ci95.low
    found: list[Markup] = []

    def say(key: str, **values: object) -> None:
        found.append(words.rich(f"caveat.{key}", **values))

    if not comparable(results):
        say("not_comparable")
    if isinstance(audit := main.provenance.get("audit"), Mapping):
        numbers = audit["precision"]
        say(
            "audit",
            count=audit["suspects"],
            expected=words.number(audit["expected"], 0),
            **{name: words.percent(numbers[name], 1) for name in ("as_is", "if_all", "low", "high")},
        )
    notes = _notes(main)
    found += [Markup("{}.").format(note.rstrip(".")) for note in notes[:_NAMES]]
    if len(notes) > _NAMES:
        say("notes_more", count=len(notes) - _NAMES)
    if objects < _FEW and width > _WIDE:
        say("few_objects", count=objects, span=words.number(100 * width, 0))
    if evaluation.without_evidence:
        key = "without_evidence" + ("" if evaluation.ties == "rank" else f"_{evaluation.ties}")
        say(key, count=len(evaluation.without_evidence), queries=len(evaluation.query_ids))
    never = outcome.never_found
    if never:
        key = "never_found" if len(never) <= _NAMES else "never_found_many"
        say(key, count=len(never), k=outcome.k, names=words.items(never[:_NAMES]))
    skipped = all_skipped(results)
    if skipped:
        say("skipped", count=len(skipped))
    missing = list(dict.fromkeys(part for result in results for part in result.missing))
    if missing:
        images = sum(part.images for part in missing)
        key = "missing" if all(part.images for part in missing) else "missing_at_least"
        say(key, count=len(missing), images=images, names=words.items(part.name for part in missing[:_NAMES]))
    if evaluation.unreachable:
        say("unreachable", count=evaluation.unreachable)
    texts = sum(facts.query.text is not None for facts in outcome.queries)
    if 0 < texts < len(outcome.queries):
        say("mixed", images=len(outcome.queries) - texts, texts=texts)
    if not any(known_slices(evaluation, axis) for axis in VALUE_AXES):
        say("no_axes")
    if evaluation.ties != "rank":
        say("ties" if evaluation.ties == "step" else "ties_trec")
    if main.cost.reused:
        say("reused", stages=words.items(main.cost.reused))
    if len(results) > 1 and comparable(results):
        say("paired")
    if unreadable:
        say("unreadable_pictures", count=unreadable)
    if not main.dataset.complete:
        say("elsewhere")
    elif gone:
        say("gone", count=gone)
    return found


def _notes(run: RunResult) -> list[str]:
    """Return what stages and data set noted, as ``run.json`` has it."""
    about = run.provenance.get("data set")
    return [str(note) for note in about.get("notes", ())] if isinstance(about, Mapping) else []


def verdict_section(context: Context) -> Section:
    """Say in words how well it works, with four key figures."""
    words, main = context.words, context.main
    evaluation, cost, queries = main.evaluation, main.cost, context.outcome.queries
    hits = sum(f.hit_at_1 for f in queries)
    figures = [
        (
            words.percent(evaluation.mean, 1),
            words("key.precision", k=str(evaluation.k)),
            words(
                "key.precision_note",
                low=words.percent(evaluation.ci95.low),
                high=words.percent(evaluation.ci95.high),
            ),
        ),
        (
            words.percent(hits / len(queries)),
            words("key.first"),
            words("key.first_note", hits=hits, count=len(queries)),
        ),
        (
            words.milliseconds(cost.extraction_ms_per_image),
            words("key.photo"),
            words("key.photo_note", bytes=words.size(cost.bytes_per_image)),
        ),
        (
            words.milliseconds(answer_ms(main)),
            words("key.query"),
            words(
                "key.query_note",
                describe=words.milliseconds(cost.query_ms_per_query),
                search=words.milliseconds(cost.search_ms_per_query),
            ),
        ),
    ]
    data = {
        "sentences": verdict(context.results, context.outcome, words),
        "caveats": caveats(
            context.results,
            context.outcome,
            len(context.pictures.problems),
            words,
            sum(isinstance(record.source, NoSource) for record in context.records.values()),
        ),
        "figures": figures,
    }
    return Section("verdict", words("verdict.title"), data)
