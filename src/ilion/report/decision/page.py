"""The page of a decision: one page that says what to do, then what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from ilion.report.decision.designs import design_row, money_of, numbers_of, plan_numbers
from ilion.report.decision.lookalikes import lookalike_data
from ilion.report.decision.meeting import meeting, plan_meeting
from ilion.report.decision.names import Plain, across, design_name, load, write_page
from ilion.report.decision.sentences import Sayings
from ilion.report.decision.stages import stages_of
from ilion.report.decision.threshold import threshold_of
from ilion.report.decision.verdicts import ALL, break_even, cells_of, table_of
from ilion.report.decision.withheld import withheld
from ilion.types import RetrievalDataset

_MOST_BYTES = 4_000_000
"""Bytes that the pictures of look-alikes may take."""


def write_decision(
    plain: Plain, path: Path, *, dataset: RetrievalDataset | None = None, language: str = ""
) -> Path:
    """Write a decision as one HTML file that loads nothing from anywhere, and prints on A4.

    What is not sure is not said: it is listed with what it would take. Where nothing can be recommended the
    page is a plan.

    Args:
        plain: Content of ``decision.json``.
        path: The file; written aside and renamed.
        dataset: The photos, for pictures of look-alikes; None shows none.
        language: Language of the page; "" means that of the decision.

    Raises:
        ConfigError: There is no such language.
        ArtifactError: The file cannot be written.
    """
    words = load(language or plain["language"])
    say = Sayings(plain, words)
    recommendation = plain["recommendation"]
    planned = recommendation["kind"] == "plan"
    known = recommendation["values"].get("why") not in ("few-objects", "not-run")
    chosen = _chosen(plain)
    statements = {each["kind"]: each for each in plain["statements"]}
    alike, definitions = lookalike_data(plain, dataset, words, _MOST_BYTES)
    return write_page(
        path,
        "decision.html.j2",
        words,
        plain=plain,
        planned=planned,
        known=known,
        headline=say.say(recommendation),
        width=say.plan_width(recommendation["values"]) if planned else None,
        change=say.say(plain["change"]),
        pays=say.say(statements["pays-in"]) if "pays-in" in statements else None,
        fails=say.say(statements["fails-in"]) if "fails-in" in statements else None,
        costs=say.say(statements["costs"]) if "costs" in statements else None,
        next_step=_next_step(planned, statements, say),
        numbers=plan_numbers(recommendation["values"], say) if planned else numbers_of(plain, chosen, say),
        cells=cells_of(plain, chosen, say),
        columns=across(plain["cells"]),
        table=table_of(plain, say),
        designs=[design_row(each, plain, say) for each in plain["designs"]],
        money=money_of(plain, say),
        threshold=threshold_of(plain, say),
        equal_risk=say.say(statements["equal-risk"]) if "equal-risk" in statements else None,
        alike=alike,
        definitions=definitions,
        stages=stages_of(plain, say),
        withheld=withheld(plain, chosen if known else None, say),
        meeting=plan_meeting(recommendation["values"], say) if planned else meeting(plain, chosen, say),
        chosen=design_name(chosen, words),
        baseline=design_name(plain["baseline"], words),
        break_even=say.points(break_even(plain, chosen), signed=False),
    )


def _chosen(plain: Plain) -> str:
    """Return the name of the design that the page is about: the recommended one, else the best rival."""
    values = plain["recommendation"]["values"]
    if plain["recommendation"]["kind"] == "recommend":
        return str(values["design"])
    if "best" in values:
        return str(values["best"])
    overall = [v for v in plain["verdicts"] if v["cell"] == ALL]
    return (
        str(max(overall, key=lambda v: v["gain"]["value"])["design"]) if overall else str(plain["baseline"])
    )


def _next_step(planned: bool, statements: Mapping[str, Plain], say: Sayings) -> Markup:
    if planned:
        return Markup.escape(say.words("say.next_plan"))
    step = statements.get("next")
    said = say.say(step) if step else None
    if step and step["withheld"] == "far":
        return Markup.escape(say.words("say.next_far"))
    return said or Markup.escape(say.words("say.next_stage" if say.plain["stages"] else "say.next_none"))
