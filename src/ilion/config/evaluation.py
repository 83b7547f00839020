"""Settings of what is said about results: evaluation, report and prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ilion.config.plain import PartOf
from ilion.evaluation.metrics import METRICS, SUFFIX, check_cutoffs
from ilion.types import Between


@dataclass(frozen=True)
class EvaluationConfig:
    """How results are evaluated.

    Args:
        definition: ``ilias``, ``trec`` or ``revisited``; see docs/metrics.md.
        k: Cut-off rank of AP.
        bootstrap: Number of bootstrap samples for the intervals.
        ties: ``rank`` goes by the order of the results; ``step`` takes results of the same similarity as one
            step, like the ILIAS benchmark's own evaluator (only for ``ilias``); ``trec`` orders them by id,
            the last one first, like trec_eval.
        metrics: Further metrics: another cut-off (``P@4``, ``nDCG@k``, ``trec@100``, ``MAP@R``), or one of
            your own (docs/metrics.md).

    Raises:
        ConfigError: The cut-off of a metric is above ``k``.
    """

    definition: Literal["ilias", "trec", "revisited"] = "ilias"
    k: Annotated[int, Between(1, 10**9)] = 1000
    bootstrap: Annotated[int, Between(1, 10**6)] = 2000
    ties: Literal["rank", "step", "trec"] = "rank"
    metrics: Annotated[tuple[str, ...], PartOf(METRICS, suffix=SUFFIX)] = ()

    def __post_init__(self) -> None:
        check_cutoffs(self.metrics, self.k)


@dataclass(frozen=True)
class ReportConfig:
    """What the report shows.

    Args:
        gallery: Number of queries in the gallery: a third each of the best, the worst and typical ones.
        language: Language of the text: ``en`` or ``ja``.
        domain: Field in which the model is specialised, for tables by domain; "" means what is known of it.
    """

    gallery: Annotated[int, Between(0, 10000)] = 12
    language: Literal["en", "ja"] = "en"
    domain: str = ""
