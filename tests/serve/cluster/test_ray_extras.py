"""An index on a Ray cluster of three nodes on this machine: replicas and a node are lost under load."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ilion.errors import ArtifactError, ConfigError
from ilion.searching.local import LocalQuery, shipped_model
from ilion.serve.cluster.holder import Part, Question
from ilion.serve.cluster.on_ray import RayHolders
from ilion.serve.cluster.spread import cut
from ilion.serve.index import Index
from ilion.types import Box
from tests.clusters import three_nodes
from tests.serve.cluster.test_spread import told
from tests.serve.cluster.test_spread import whole as whole
from tests.serve.test_index import picture

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# read when Ray is imported: nodes get the loopback address, as on systems without Ray clusters
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

pytestmark = [
    pytest.mark.extras,
    pytest.mark.slow,
    # of Ray itself
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes of one core each; the first one runs the cluster."""
    pytest.importorskip("ray.serve")
    with three_nodes() as made:
        yield made


@pytest.fixture(scope="module")
def holders(cluster: Any) -> Iterator[RayHolders]:
    made = RayHolders(cluster.address, "ilion-test")
    yield made
    made.close()


class Load:
    """Searches without end from several threads; each answer must be the one of one machine."""

    def __init__(self, index: Index, expected: dict[bytes, Any], clients: int = 3) -> None:
        self.index, self.expected = index, expected
        self.done, self.wrong = 0, list[str]()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._running = [self._pool.submit(self._search, number) for number in range(clients)]

    def _search(self, number: int) -> None:
        asked = list(self.expected)
        while not self._stop.is_set():
            number += 1
            photo = asked[number % len(asked)]
            try:
                if told(self.index.search(photo)) != self.expected[photo]:
                    self.wrong.append("another answer")
            except Exception as error:
                self.wrong.append(repr(error))
            self.done += 1

    def wait(self, more: int) -> None:
        """Wait until so many more searches were answered."""
        least, until = self.done + more, time.monotonic() + 180
        while self.done < least:
            assert time.monotonic() < until, f"{self.done} of {least} searches"
            time.sleep(0.05)

    def stop(self) -> None:
        self._stop.set()
        self._pool.shutdown()
        for running in self._running:
            running.result()


def actors(ray: Any) -> list[str]:
    """Return the names of the living copies, holder by holder."""
    from ray.util import list_named_actors

    found = [a["name"] for a in list_named_actors(all_namespaces=True) if a["namespace"] == "serve"]
    return sorted(name for name in found if "holder-" in name)


def no_features() -> LocalQuery:
    """Return a query of no features."""
    no: Any = np.empty
    return LocalQuery(
        no((0, 64), np.float32),
        no((0, 4), np.float32),
        no(0, np.int64),
        no(0, np.int64),
        no((0, 8), np.int32),
        no((64, 64, 2), np.uint8),
        Box(0, 0, 9, 9),
        (9, 9),
    )


def test_what_a_holder_cannot_do_is_said(holders: RayHolders, cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="must have the same path on all of them"):
        holders.ask([(1, Question(Part(str(tmp_path / "nowhere"), ("a",), 16_384), "lengths"))])
    assert holders.retries == 0
    with pytest.raises(ConfigError, match="has 3 machines"):
        RayHolders(cluster.address, "ilion-more", copies=4)


def test_a_client_of_a_cluster_is_refused() -> None:
    with pytest.raises(ConfigError, match="without ray://"):
        RayHolders("ray://127.0.0.1:10001", "ilion-test")


def test_what_was_under_way_on_a_lost_copy_is_asked_again(holders: RayHolders, whole: Path) -> None:
    import ray

    index = Index(whole)
    with index.tables.read() as connection:
        prepared: Any = index.snapshot(connection).ready.prepared
    database, rng = prepared.database, np.random.default_rng(1)
    # so many features that the answer takes a while
    vectors = rng.normal(size=(20_000, 64)).astype(np.float32)
    words = rng.integers(0, database.words, (20_000, 8)).astype(np.int32)
    many = replace(no_features(), vectors=vectors, words=words)
    database.first_pass(many, shipped_model(database.words))
    begun = time.perf_counter()
    first = database.first_pass(many, shipped_model(database.words))
    took = time.perf_counter() - begun
    expected = first.sums, first.totals
    [held] = cut(database, 1)
    asked = Question(held.part, "sums", (many, database.lengths))
    for number in range(3):
        holders.ask([(number, replace(asked, arguments=(no_features(), database.lengths)))])
    before = holders.retries
    for round in range(8):  # an answer on a fast machine may be there before its copy is gone
        with ThreadPoolExecutor(3) as pool:
            answers = [pool.submit(holders.ask, [(number, asked)]) for number in range(3)]
            time.sleep(took * 0.8**round)
            for name in actors(ray):  # all copies, so that searches wait for new ones
                ray.kill(ray.get_actor(name, namespace="serve"))
            for answer in answers:
                [found] = answer.result()
                for mine, theirs in zip(found, expected, strict=True):
                    assert (mine == theirs).all()
        if holders.retries - before >= 3:
            break
    assert holders.retries - before >= 3


def test_every_search_is_answered_while_copies_and_a_node_are_lost(
    cluster: Any, holders: RayHolders, whole: Path, photos: Path
) -> None:
    import ray

    assert (holders.count, holders.copies) == (3, 2)
    one = Index(whole)
    asked = [picture(photos, number) for number in range(4)]
    expected = {photo: told(one.search(photo)) for photo in asked}
    spread = Index(whole, holders)
    for photo in asked:
        assert told(spread.search(photo)) == expected[photo]
    until = time.monotonic() + 180
    while len(names := actors(ray)) < 6:
        assert time.monotonic() < until, names
        time.sleep(0.5)
    load = Load(spread, expected)
    load.wait(5)
    for name in names[::2]:  # one copy of each, without a goodbye
        ray.kill(ray.get_actor(name, namespace="serve"))
        load.wait(3)
    cluster.remove_node(cluster.victim, allow_graceful=False)
    load.wait(10)
    load.stop()
    assert load.wrong == []
    until = time.monotonic() + 60  # Ray takes a while to call a node dead that said nothing
    while sum(node["Alive"] for node in ray.nodes()) != 2:
        assert time.monotonic() < until
        time.sleep(0.5)
