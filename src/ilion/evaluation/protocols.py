"""The figures that a benchmark's publications print, from one ranking."""

from __future__ import annotations

from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.metrics import split_cutoff
from ilion.evaluation.truth import truth_from_ids
from ilion.outcome import Evaluation
from ilion.types import Axes, BenchmarkProtocol, Ranking, RetrievalDataset

MOST_RESULTS = 100_000
"""Results kept of a query where a protocol has no cut-off."""


def results_needed(dataset: RetrievalDataset) -> int:
    """Return how many results a query the protocols of a data set look at, ignored images not counted."""
    return max((protocol.k or MOST_RESULTS for protocol in dataset.protocols), default=0)


def judge_protocols(
    dataset: RetrievalDataset, ranking: Ranking, *, bootstrap: int = 2000, seed: int = 0
) -> dict[str, Evaluation]:
    """Judge a ranking as the benchmark's authors do: name of the protocol -> evaluation.

    Args:
        dataset: Data set with its protocols.
        ranking: Results of some or all of its queries.
        bootstrap: Samples for the intervals.
        seed: Seed of the samples.
    """
    found = {}
    for protocol in dataset.protocols:
        positives = dataset.positives if protocol.positives is None else protocol.positives
        asked = [query for query in ranking.query_ids if positives.get(query)]
        if asked:
            found[protocol.name] = _judge(dataset, ranking.take(asked), protocol, bootstrap, seed)
    return found


def _judge(
    dataset: RetrievalDataset, ranking: Ranking, protocol: BenchmarkProtocol, bootstrap: int, seed: int
) -> Evaluation:
    positives = dataset.positives if protocol.positives is None else protocol.positives
    ignored = dataset.ignored if protocol.ignored is None else protocol.ignored
    truth = truth_from_ids(ranking.query_ids, ranking.database_ids, positives, ignored)
    instance = {query.id: query.instance for query in dataset.queries}
    width = max(1, ranking.indices.shape[1])
    k = protocol.k or width  # where fewer results are left, the others count as not found
    most = max(len(positives[query]) for query in ranking.query_ids)
    cuts = {name: split_cutoff(name, k)[1] for name in protocol.metrics}
    metrics = [name for name, cut in cuts.items() if (most if cut == -1 else cut) <= min(k, width)]
    return evaluate(
        ranking,
        truth,
        Axes(tuple(instance[query] for query in ranking.query_ids)),
        definition=protocol.definition,
        k=k,
        metrics=metrics,
        usual=False,
        average=protocol.average,
        bootstrap=bootstrap,
        seed=seed,
    )
