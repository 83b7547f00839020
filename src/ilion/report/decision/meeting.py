"""Questions of a meeting about a decision, with their answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from markupsafe import Markup

from ilion.report.decision.names import Plain
from ilion.report.decision.sentences import Sayings
from ilion.report.decision.stages import metric_parts
from ilion.report.decision.threshold import promise_of
from ilion.report.decision.verdicts import break_even, measure_name


def meeting(plain: Plain, chosen: str, say: Sayings) -> Iterable[tuple[str, Markup]]:
    """Yield questions and answers with the numbers of this proof of concept."""
    words, values = say.words, plain["recommendation"]["values"]
    first, gain = values["first"], values["gain"]
    yield (
        words("meeting.right_q"),
        words.rich("meeting.right", first=say.of_100(first["value"]), **say.span(first)),
    )
    searches = plain["searches_a_day"]
    if searches:
        right = round(searches * first["value"])
        yield (
            words("meeting.day_q"),
            words.rich(
                "meeting.day",
                searches=round(searches),
                right=right,
                wrong=round(searches) - right,
                low=round(searches * (first["low"] or 0)),
                high=round(searches * (1 if first["high"] is None else first["high"])),
            ),
        )
    needed = say.points(break_even(plain, chosen), signed=False)
    if plain["recommendation"]["kind"] == "recommend":
        yield (
            words("meeting.why_q"),
            words.rich(
                "meeting.why",
                against=say.design(plain["baseline"]),
                before=say.of_100(values["before"]["value"]),
                gain=say.points(gain["value"]),
                low=say.points(gain["low"], -1),
                high=say.points(gain["high"]),
                measure=measure_name(plain),
                break_even=needed,
            ),
        )
    else:
        high = say.points(gain["high"])
        yield (
            words("meeting.why_stay_q"),
            words.rich(
                "meeting.why_stay",
                design=say.design(chosen),
                high=high,
                measure=measure_name(plain),
                break_even=needed,
            ),
        )
    line = next((each for each in plain["money"]["lines"] if each["design"] == values["design"]), None)
    if line and line["net"]["low"] is not None and line["net"]["high"] is not None:
        net = {
            name: say.money(line["net"][key])
            for name, key in (("net", "value"), ("low", "low"), ("high", "high"))
        }
        yield (
            words("meeting.money_q"),
            words.rich("meeting.money", **net, cost=say.monthly(say.designs[values["design"]])),
        )
    promise = promise_of(plain)
    if promise and promise["threshold"] is not None:
        risk, sure = words.percent(promise["risk"]), words.percent(promise["confidence"])
        yield words("meeting.absent_q"), words.rich("meeting.absent", risk=risk, confidence=sure)
    else:
        yield words("meeting.absent_q"), words.rich("meeting.absent_unknown")
    stages = plain["stages"]["stages"] if isinstance(plain["stages"], Mapping) else ()
    ahead = [
        s
        for s in stages
        if s["kind"] == "forecast" and s["accuracy"] is not None and (s["ci95"] or s["interval"])
    ]
    if ahead:
        last = ahead[-1]
        span = last["ci95"] or last["interval"]
        yield (
            words("meeting.grow_q"),
            words.rich(
                "meeting.grow",
                images=words.large(last["images"]),
                accuracy=words.percent(last["accuracy"]),
                low=words.percent(span["low"]),
                high=words.percent(span["high"]),
                metric=words("stages.metric", **metric_parts(plain["stages"]["metric"])),
            ),
        )
    yield words("meeting.sure_q"), words.rich("meeting.sure", objects=plain["objects"])


def plan_meeting(v: Plain, say: Sayings) -> Iterable[tuple[str, Markup]]:
    """Yield questions and answers while there is only a plan."""
    words = say.words
    yield words("meeting.plan_q"), words.rich("meeting.plan", have=v["have"])
    yield (
        words("meeting.plan_next_q"),
        words.rich("meeting.plan_next", objects=v["objects"], width=say.points(v["width"], signed=False)),
    )
