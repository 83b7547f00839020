"""When to answer "none of these": a threshold of the score with a promise about wrong answers.

Every query is asked twice: with its object in the database, and with the photos of its object kept out, when
every answer is wrong. An answer is accepted if its score reaches the threshold. The risk is the share of
searches that end in an accepted wrong answer, objects counting equally.

A threshold t is tested by a p-value of "the risk at t is above what was asked for", from the mean losses of n
independent objects, and the smallest t is taken of which it and all larger ones pass. The losses fall with t,
so that this needs no correction for many tests: fixed-sequence testing in Angelopoulos, Bates, Candes, Jordan
and Lei, "Learn then Test" (Annals of Applied Statistics 19(2), 2025; arXiv 2110.01052); for monotone losses
also Bates et al., "Distribution-free, Risk-controlling Prediction Sets" (Journal of the ACM 68(6), 2021).
Letters: Q queries, n objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, lgamma, log

import numpy as np

from ilion.errors import ArtifactError, ConfigError
from ilion.evaluation.intervals import bootstrap_means, group, mean_interval, percentiles
from ilion.outcome import Interval
from ilion.types import Bool, Float32, Float64, Int64, Value

CURVE = 48
"""Largest number of thresholds in a curve."""
SAMPLES = 1000
"""Bootstrap samples of an interval."""
FOLDS = 10
"""Parts of the objects; what is compared on one of them was learnt on the others."""


@dataclass(frozen=True, eq=False)
class Searches(Value):
    """What became of every query, with its object in the database and without.

    Args:
        objects: (Q,) object of each query.
        query_ids: (Q,) ids.
        present: (Q,) score of the first answer with the object in the database; -inf without an answer.
        right: (Q,) whether that answer shows the object.
        absent: (Q,) score of the first answer when the object's photos are kept out; -inf without an answer.
        left_out: Number of queries whose object has no photo in the database, which are not among the Q.

    Raises:
        ArtifactError: The lengths differ, or a score is NaN.
    """

    objects: tuple[str, ...]
    query_ids: tuple[str, ...]
    present: Float32
    right: Bool
    absent: Float32
    left_out: int = 0

    def __post_init__(self) -> None:
        if len({len(part) for part in (self.objects, *vars(self).values()) if not isinstance(part, int)}) > 1:
            raise ArtifactError("scores, answers and objects are not of the same queries")
        if np.isnan(self.present).any() or np.isnan(self.absent).any():
            raise ArtifactError("a score is NaN")

    def take(self, chosen: Int64) -> Searches:
        """Return the searches of some queries, by their numbers."""
        rows = chosen.tolist()
        return replace(
            self,
            objects=tuple(self.objects[row] for row in rows),
            query_ids=tuple(self.query_ids[row] for row in rows),
            present=self.present[chosen],
            right=self.right[chosen],
            absent=self.absent[chosen],
        )


@dataclass(frozen=True)
class Rate:
    """A share of searches, with its 95% interval over objects."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Tradeoff:
    """What a threshold does.

    Args:
        threshold: Smallest score that is accepted.
        wrong_absent: Share of the searches for absent objects that end in an accepted answer.
        wrong_present: Share of the searches for present objects that end in an accepted wrong answer.
        found: Share of the searches for present objects that end in an accepted right answer.
        missed: Share of them whose answer is right and not accepted: the price of the threshold.
    """

    threshold: float
    wrong_absent: Rate
    wrong_present: Rate
    found: Rate
    missed: Rate


@dataclass(frozen=True)
class Promise(Value):
    """A threshold and what may be promised of it.

    Args:
        risk: Largest share of searches that may end in an accepted wrong answer.
        confidence: Probability, over the choice of the objects, that the promise is kept.
        absent_share: Share of the searches whose object is not in the database; None where the promise is
            made for absent and for present objects each, and so for any share.
        threshold: Smallest score that is accepted; None where nothing can be promised.
        objects: Number of objects n.
        queries: Number of queries.
        left_out: Number of queries whose object has no photo in the database.
        least_risk: Smallest risk that so many objects could promise, if no accepted answer were wrong.
        objects_needed: Smallest number of objects with which this risk could be promised at all.
        p_value: p-value of the threshold, or where there is none, of accepting nothing.
        at: Rates of the threshold on these objects; None without one.
        curve: Rates of other thresholds, ascending.
    """

    risk: float
    confidence: float
    absent_share: float | None
    threshold: float | None
    objects: int
    queries: int
    left_out: int
    least_risk: float
    objects_needed: int
    p_value: float
    at: Tradeoff | None
    curve: tuple[Tradeoff, ...]


@dataclass(frozen=True)
class AtRisk(Value):
    """Two designs at equal risk, each with thresholds of its own that were learnt on other objects.

    Args:
        found_a: Share of the searches for present objects that end in an accepted right answer.
        found_b: The same of the other design.
        difference: Second minus first, paired by object.
    """

    found_a: Rate
    found_b: Rate
    difference: Rate


def binomial_p_value(wrong: float, trials: int, risk: float) -> float:
    """Return the chance of at most so many wrong ones if each is wrong with probability ``risk``.

    >>> round(binomial_p_value(1, 20, 0.1), 4)
    0.3917
    """
    logs = [
        lgamma(trials + 1)
        - lgamma(k + 1)
        - lgamma(trials - k + 1)
        + k * log(risk)
        + (trials - k) * log(1 - risk)
        for k in range(int(wrong) + 1)
    ]
    return min(1.0, sum(exp(each) for each in logs))


def bounded_p_value(mean: float, objects: int, risk: float) -> float:
    """Return a p-value of "the mean loss is above the risk", for n independent losses in [0, 1].

    The smaller of Hoeffding's and Bentkus' bounds, as in Bates et al. (2021), section 3.1; without any loss
    the first is exact.

    Args:
        mean: Mean loss that was seen.
        objects: Number of losses n.
        risk: Risk, inside (0, 1).

    >>> round(bounded_p_value(0.0, 45, 0.05), 4), bounded_p_value(0.06, 45, 0.05)
    (0.0994, 1.0)
    """
    if mean >= risk:
        return 1.0
    entropy = (mean * log(mean / risk) if mean > 0 else 0.0) + (1 - mean) * log((1 - mean) / (1 - risk))
    # a sum such as 3 x (1 / 3) may be just above a whole number
    bentkus = exp(1) * binomial_p_value(ceil(objects * mean - 1e-9), objects, risk)
    return min(1.0, exp(-objects * entropy), bentkus)


def betting_p_value(losses: Float64, risk: float, limit: float) -> float:
    """Return a p-value of "the mean loss is above the risk" that knows how much the losses vary.

    A bettor against that claim stakes, before each loss is seen, what fits the variance so far; if the claim
    is true, wealth grows tenfold with a probability of at most a tenth (Waudby-Smith and Ramdas, "Estimating
    Means of Bounded Random Variables by Betting", Journal of the Royal Statistical Society B 86(1), 2024; as
    in Bates et al. 2021, proposition 5).

    Args:
        losses: (n,) independent losses in [0, 1], in an order that does not depend on them.
        risk: Risk, inside (0, 1).
        limit: Largest p-value that passes, for which the stakes are chosen.

    >>> betting_p_value(np.full(80, 0.01), 0.05, 0.1) < 0.05 < betting_p_value(np.zeros(40), 0.05, 0.1)
    True
    """
    number = np.arange(2, len(losses) + 2)
    mean = (0.5 + np.cumsum(losses)) / number
    variance = (0.25 + np.cumsum((losses - mean) ** 2)) / number
    before = np.concatenate([[0.25], variance[:-1]])
    stake = np.minimum(1.0, np.sqrt(2 * log(1 / limit) / (len(losses) * before)))
    wealth = np.cumsum(np.log1p(stake * (risk - losses)))
    return min(1.0, exp(-float(wealth.max())))


def promise(
    searches: Searches, risk: float, confidence: float = 0.9, absent_share: float | None = None
) -> Promise:
    """Find the smallest threshold whose risk is at most what was asked for, with stated confidence.

    Args:
        searches: Searches with and without their objects.
        risk: Largest share of searches that may end in an accepted wrong answer, inside (0, 1).
        confidence: Probability with which this is to hold, inside (0, 1).
        absent_share: Share of the searches whose object is absent, in [0, 1]; None promises for absent and
            for present objects each.

    Raises:
        ConfigError: A number is out of its range.
        ArtifactError: There is no search.
    """
    limit = _check(searches, risk, confidence, absent_share)
    objects = len(set(searches.objects))
    p_value, threshold = find_threshold(searches, risk, confidence, absent_share)
    levels = _levels(searches)
    curve = trade_off(searches, levels)
    return Promise(
        risk=risk,
        confidence=confidence,
        absent_share=absent_share,
        threshold=threshold,
        objects=objects,
        queries=len(searches.objects),
        left_out=searches.left_out,
        least_risk=1 - limit ** (1 / objects),
        objects_needed=ceil(log(limit) / log(1 - risk) - 1e-9),
        p_value=p_value,
        at=None if threshold is None else trade_off(searches, [threshold])[0],
        curve=curve,
    )


def _check(searches: Searches, risk: float, confidence: float, absent_share: float | None) -> float:
    """Return the largest p-value that passes."""
    for name, value in (("risk", risk), ("confidence", confidence)):
        if not 0.0 < value < 1.0:
            raise ConfigError(f"{name} must lie between 0 and 1, such as 0.05; got {value}")
    if absent_share is not None and not 0.0 <= absent_share <= 1.0:
        raise ConfigError(f"the share of absent objects must lie in [0, 1], got {absent_share}")
    if not searches.objects:
        raise ArtifactError(
            "no query has an object with photos in the database, so no threshold can be found"
        )
    return 1.0 - confidence


def find_threshold(
    searches: Searches, risk: float, confidence: float = 0.9, absent_share: float | None = None
) -> tuple[float, float | None]:
    """Return the p-value and the threshold of `promise`; None where even no loss does not pass."""
    limit = _check(searches, risk, confidence, absent_share)
    codes, count = group(searches.objects)
    queries = np.bincount(codes, minlength=count)
    weights, exact = 1.0 / queries[codes], bool((queries == 1).all())
    wrong = np.where(searches.right, -np.inf, searches.present).astype(np.float32)
    parts = [(searches.absent, codes, weights), (wrong, codes, weights)]
    if absent_share is not None:
        both = np.concatenate([absent_share * weights, (1 - absent_share) * weights])
        exact = exact and absent_share in (0.0, 1.0)
        parts = [(np.concatenate([searches.absent, wrong]), np.concatenate([codes, codes]), both)]
    found = [_smallest(*part, count, exact, risk, limit) for part in parts]
    p_value = max(p for p, _ in found)
    if p_value > limit:
        return p_value, None
    lowest = float(
        min(part[np.isfinite(part)].min(initial=np.inf) for part in (searches.present, searches.absent))
    )
    threshold = max(max(t for _, t in found), lowest)
    return p_value, threshold if np.isfinite(threshold) else 0.0


def _smallest(
    scores: Float32, codes: Int64, weights: Float64, objects: int, exact: bool, risk: float, limit: float
) -> tuple[float, float]:
    """Return the smallest threshold that passes with its p-value.

    The loss changes only where a wrong answer is let in, so thresholds just above wrong scores are enough.

    Args:
        scores: Scores of wrong answers; -inf for others.
        codes: Number of the object of each.
        weights: Share of each in the loss of its object.
        objects: Number of objects n.
        exact: Whether losses are 0 or 1.
        risk: See `promise`.
        limit: Largest p-value that passes.
    """
    kept = np.isfinite(scores) & (weights > 0)
    values, inverse = np.unique(scores[kept], return_inverse=True)
    order = np.argsort(-inverse, kind="stable")
    # in an order that has nothing to do with how objects are listed
    place = np.random.default_rng(0).permutation(objects)[codes[kept][order]].tolist()
    each, level = weights[kept][order].tolist(), inverse[order].tolist()
    losses = np.zeros(objects)
    # which test is used may depend on the number of objects, but not on their losses
    bets = not exact and betting_p_value(losses, risk, limit) <= limit

    def test() -> float:
        if exact:
            return binomial_p_value(round(losses.sum()), objects, risk)
        if bets:
            return betting_p_value(losses, risk, limit)
        return bounded_p_value(float(losses.mean()), objects, risk)

    p_value, threshold, at = test(), np.inf, 0
    while p_value <= limit:
        if at == len(level):
            return p_value, -np.inf
        number = level[at]
        threshold = float(np.nextafter(values[number], np.float32(np.inf)))
        passed = p_value
        while at < len(level) and level[at] == number:
            losses[place[at]] += each[at]
            at += 1
        p_value = test()
        if p_value > limit:
            return passed, threshold
    return p_value, threshold


def _levels(searches: Searches) -> list[float]:
    """Return thresholds for a curve: each score if there are few, else quantiles of them."""
    scores = np.concatenate([searches.present, searches.absent])
    scores = np.unique(scores[np.isfinite(scores)])
    if len(scores) > CURVE:
        scores = np.unique(np.quantile(scores, np.linspace(0, 1, CURVE), method="nearest"))
    return [float(score) for score in scores]


def trade_off(searches: Searches, thresholds: Sequence[float], seed: int = 0) -> tuple[Tradeoff, ...]:
    """Judge thresholds on searches, which for a promise about the future are of other objects.

    Args:
        searches: Searches with and without their objects.
        thresholds: Smallest accepted scores.
        seed: Seed of the intervals.
    """
    codes, count = group(searches.objects)
    each = np.bincount(codes, minlength=count)
    present, absent = searches.present[:, None], searches.absent[:, None]
    levels = np.asarray(thresholds, np.float64)[None, :]
    right, accepted = searches.right[:, None], present >= levels
    columns = np.concatenate(
        [absent >= levels, accepted & ~right, accepted & right, ~accepted & right], axis=1
    ).astype(np.float64)
    means = np.zeros((count, columns.shape[1]))
    np.add.at(means, codes, columns)
    means /= each[:, None]
    drawn = bootstrap_means(means, np.ones_like(means), SAMPLES, seed)
    rates = [
        Rate(float(means[:, c].mean()), mean_interval(float(means[:, c].mean()), drawn[:, c], count))
        for c in range(columns.shape[1])
    ]
    size = len(thresholds)
    return tuple(
        Tradeoff(float(level), rates[t], rates[size + t], rates[2 * size + t], rates[3 * size + t])
        for t, level in enumerate(thresholds)
    )


def compare_at_risk(
    a: Searches,
    b: Searches,
    risk: float,
    confidence: float = 0.9,
    absent_share: float | None = None,
    seed: int = 0,
) -> AtRisk | None:
    """Compare what two designs find when both keep the same promise about wrong answers.

    The objects are cut into ten parts; the thresholds that are used on a part are those that the other nine
    give.

    Args:
        a: Searches of the first design.
        b: Searches of the second one, of the same queries in the same order.
        risk: See `promise`.
        confidence: See `promise`.
        absent_share: See `promise`.
        seed: Seed of parts and intervals.

    Returns:
        The comparison; None where too few objects are there to promise anything.

    Raises:
        ConfigError: A number is out of its range.
        ArtifactError: The searches are not of the same queries.
    """
    if (a.query_ids, a.objects) != (b.query_ids, b.objects):
        raise ArtifactError("two designs are compared at equal risk on the same queries; these differ")
    codes, count = group(a.objects)
    parts = np.random.default_rng(seed).permutation(count) % FOLDS
    found = np.zeros((count, 2))
    each = np.bincount(codes, minlength=count)
    for part in range(min(FOLDS, count)):
        own = np.flatnonzero(parts[codes] == part)
        for number, searches in enumerate((a, b)):
            others = searches.take(np.setdiff1d(np.arange(len(codes)), own))
            _, threshold = find_threshold(others, risk, confidence, absent_share)
            if threshold is None:
                return None
            hits = (searches.right & (searches.present >= threshold))[own]
            np.add.at(found[:, number], codes[own], hits)
    found /= each[:, None]
    values = np.column_stack([found, found[:, 1] - found[:, 0]])
    drawn = bootstrap_means(values, np.ones_like(values), SAMPLES, seed)
    means = values.mean(axis=0).tolist()
    return AtRisk(
        Rate(means[0], mean_interval(means[0], drawn[:, 0], count)),
        Rate(means[1], mean_interval(means[1], drawn[:, 1], count)),
        Rate(means[2], percentiles(drawn[:, 2], count)),
    )
