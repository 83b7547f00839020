"""The same tasks on a Ray cluster of three nodes on this machine, one of which is killed midway."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.clusters import three_nodes
from tests.networks import tiny_network
from tests.pipeline.distributed.test_compute import dataset, digest, experiment
from tests.tasks.test_tasks import do, task, until, written
from tests.work import perform

from ilion import api
from ilion.errors import ConfigError, MissingExtraError
from ilion.tasks import Pool, read_status
from ilion.tasks.ray import RayPool

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
]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Three nodes of one core each; the first one runs the cluster."""
    pytest.importorskip("ray")
    with three_nodes() as made:
        yield made


def kill_one(cluster: Any) -> None:
    cluster.remove_node(cluster.victim, allow_graceful=False)


def test_a_node_killed_midway_costs_nothing_but_time(cluster: Any, tmp_path: Path) -> None:
    def start(claims: str) -> Pool:
        return RayPool(perform, claims, cluster.address)

    tasks = [task(tmp_path, f"t{i:02d}", "slow", 4, seconds=0.3) for i in range(12)]

    def kill() -> None:
        until(lambda: len(written(tmp_path)) >= 2)
        kill_one(cluster)

    killer = Thread(target=kill)
    killer.start()
    assert do(tmp_path, start, tasks, retries=1) == []
    killer.join()
    assert len(cluster.worker_nodes) == 1
    assert written(tmp_path) == {f"t{i:02d}": f"t{i:02d} 4" for i in range(12)}
    assert read_status(tmp_path)[0].state == "done"


def test_twenty_shards_and_the_search_survive_a_lost_node(cluster: Any, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", tars=16, images=8)
    model = f"onnx:{tiny_network(tmp_path / 'n.onnx')}"
    whole = api.rank(experiment(data, model, tmp_path / "local"))
    compute = {"on": cluster.address, "search_rows": 20, "retries": 1}
    there = experiment(data, model, tmp_path / "there", compute=compute)
    killed: list[float] = []

    def watch(stage: str, done: int, total: int) -> None:
        if stage == "descriptors" and done > 30 and not killed:
            killed.append(time.monotonic())
            Thread(target=kill_one, args=(cluster,)).start()

    found = api.rank(there, watch)
    assert killed
    stages = {status.stage: status for status in api.status(tmp_path / "there")}
    assert (stages["descriptors"].done, stages["descriptors"].failed) == (20, 0)
    assert stages["search"].tasks >= 5
    assert digest(tmp_path / "there") == digest(tmp_path / "local")
    assert found.ranking.indices.tolist() == whole.ranking.indices.tolist()


STARTED = """
import subprocess, sys
from pathlib import Path
from ilion.tasks.ray import RayPool
from tests.tasks.test_tasks import task, until
from tests.work import perform

folder = Path(sys.argv[1])
pool = RayPool(perform, str(folder / "claims"), "ray")
try:
    pool.submit(task(folder, "a"))
    assert until(lambda: any(outcome.name == "a" for outcome in pool.finished(0.5)))
    print(subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout)
finally:
    pool.close()
"""


def test_ray_on_this_machine_is_reachable_from_this_machine_only(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    # Ray is imported without the variable that is set above
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"}
    command = [sys.executable, "-c", STARTED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    ours = [
        line.split()[3] for line in done.stdout.splitlines() if any(n in line for n in ("raylet", "ray::"))
    ]
    assert ours
    loopback = ("127.0.0.1:", "[::1]:", "[::ffff:127.0.0.1]:")
    assert [place for place in ours if not place.startswith(loopback)] == []
    assert written(tmp_path) == {"a": "a 3"}


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match="no Ray cluster answers there"):
        RayPool(perform, str(tmp_path), "127.0.0.1:1")


def test_without_ray_the_install_line_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ilion\[ray\]'"):
        RayPool(perform, str(tmp_path), "ray")
