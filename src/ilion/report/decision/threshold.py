"""What a proof of concept promises about answers that are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ilion.report.decision.drawings import threshold_chart
from ilion.report.decision.names import Plain
from ilion.report.decision.sentences import Sayings


def promise_of(plain: Plain) -> Plain | None:
    """Return the promise of a threshold, wherever the part keeps it."""
    part = plain["threshold"]
    if not isinstance(part, Mapping):
        return None
    promise = part.get("promise", part)
    needed = ("risk", "confidence", "threshold", "objects", "objects_needed", "least_risk", "at", "curve")
    return promise if isinstance(promise, Mapping) and all(key in promise for key in needed) else None


def threshold_of(plain: Plain, say: Sayings) -> dict[str, Any] | None:
    """Return what is said about answers that are none; None where no threshold was measured."""
    promise = promise_of(plain)
    if promise is None:
        return None
    words = say.words
    risk, confidence = words.percent(promise["risk"]), words.percent(promise["confidence"])
    at = promise["at"] if promise["threshold"] is not None else None
    if at is None:
        told = words.rich(
            "none.no_promise",
            objects=promise["objects"],
            needed=promise["objects_needed"],
            risk=risk,
            least=words.percent(promise["least_risk"]),
        )
    else:
        told = words.rich(
            "none.found", found=say.of_100(at["found"]["value"]), missed=say.of_100(at["missed"]["value"])
        )
    return {
        "intro": words.rich("none.intro", risk=risk, confidence=confidence) if at else None,
        "told": told,
        "chart": threshold_chart(promise["curve"], at, promise["risk"], words) if promise["curve"] else None,
    }
