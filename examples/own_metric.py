"""A metric of your own: a function of one query, from the ranks of its positives to a value in [0, 1].

In an experiment, the same file is allowed and named: trust = ["own_metric.py"], and in [evaluation]
metrics = ["own_metric.py:reciprocal_rank"].
"""

import numpy as np

import ilion
from ilion.evaluation.metrics import METRICS


@METRICS.register("reciprocal_rank")
def reciprocal_rank(ranks: np.ndarray, positives: int, k: int) -> float:
    return 1 / int(ranks[0]) if len(ranks) else 0.0


if __name__ == "__main__":
    ranking = ilion.Ranking.from_dict({"q": {"a": 0.9, "b": 0.5, "c": 0.1}, "r": {"c": 0.8, "a": 0.3}})
    result = ilion.evaluate(ranking, {"q": ["b"], "r": ["c"]}, metrics=["reciprocal_rank"])
    print({name: value for name, value in result.metrics.items() if "reciprocal" in name})
