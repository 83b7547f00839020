"""A Ray cluster of three nodes on this machine, for tests that lose one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def three_nodes() -> Iterator[Any]:
    """Start three nodes of one core each; the first one runs the cluster, ``victim`` may be lost."""
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    make: Any = Cluster
    made = make(initialize_head=True, head_node_args=node)
    made.add_node(**node)
    made.victim = made.add_node(**node)
    made.wait_for_nodes()
    yield made
    made.shutdown()
