"""Milvus, through pymilvus: a server, a cluster, or a file (with the package milvus-lite).

Which consistency: a search at level ``Strong`` waits for the clock of all nodes (200 to 400 ms each time). A
writer does that once, when it reads back what it wrote; the mark that it leaves in the tables of the index
is a time of the same clock, and searches ask for everything before it (level ``Customized``). They wait only
while a node is behind, as after a restart.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ilion.errors import ArtifactError, ConfigError, MissingExtraError
from ilion.serve.engines.base import INDEX_ENGINES
from ilion.types import Float32, Int64

if TYPE_CHECKING:
    from pymilvus import MilvusClient

T = TypeVar("T")
SECONDS = 10.0
"""Longest time of a call that changes or asks about little; a search may take three times as long."""
LOADING = 60.0
"""Longest time in which a server loads vectors: after a kill it first waits for 30 s, until the lease of its
former self has ended."""
BATCH = 4096
"""Vectors that are sent at once: 8 MB with 512 components; gRPC takes 64."""
IDS = 50_000
"""Numbers in one condition; longer lists are cut, and the results of the parts merged."""
GRPC = {"grpc.initial_reconnect_backoff_ms": 200, "grpc.max_reconnect_backoff_ms": 2000}
"""How soon a server that came back is noticed: gRPC by itself waits up to two minutes."""
LOGICAL = 18
"""Bits below the milliseconds in a time of Milvus."""


@INDEX_ENGINES.register("milvus", extra="milvus", note="a Milvus server, or a file with milvus-lite")
class Milvus:
    """Vectors of one design in a collection that is searched exactly (index type FLAT).

    Args:
        place: Address of the server, with a token before the host if it wants one
            (``http://user:password@host:19530``); or path of a file.
        name: Name of the collection; it is made if it is not there.
        dim: Components D of a vector; 0 only deletes, and makes nothing.
        index: Type of index; FLAT compares with all vectors.

    Raises:
        MissingExtraError: pymilvus is not installed.
        ArtifactError: The server does not answer, or holds a collection of another kind.
    """

    def __init__(self, place: str, name: str, dim: int, index: str = "FLAT") -> None:
        try:
            from pymilvus import DataType, MilvusClient
        except ImportError as error:
            raise MissingExtraError("an index in Milvus", "milvus") from error
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # what goes wrong is raised here
        address = re.fullmatch(r"(https?://)([^/@]+)@(.+)", place)
        uri, token = (address[1] + address[3], address[2]) if address else (place, "")
        if not re.match(r"https?://", uri) and not uri.endswith(".db"):
            raise ConfigError(f"milvus:{place}: write an address such as http://HOST:19530, or a file (.db)")
        self.place, self.name, self._token = uri, name, token
        self._client: MilvusClient | None = None
        self._connecting = threading.Lock()
        if not dim:
            return

        def make(client: MilvusClient) -> None:
            if not client.has_collection(name, timeout=SECONDS):
                schema = MilvusClient.create_schema(auto_id=False)
                schema.add_field("number", DataType.INT64, is_primary=True)
                schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
                how = client.prepare_index_params()
                how.add_index("vector", index_type=index, metric_type="IP")
                client.create_collection(name, schema=schema, index_params=how)
            fields = client.describe_collection(name, timeout=SECONDS)["fields"]
            found = [f["params"].get("dim") for f in fields if f["name"] == "vector"]
            if [int(d) for d in found if d] != [dim]:
                raise ArtifactError(f"milvus:{uri}: collection {name!r} holds other vectors; drop it there")
            client.load_collection(name, timeout=LOADING)

        self._run(make)

    def _connected(self) -> MilvusClient:
        from pymilvus import MilvusClient

        with self._connecting:
            if self._client is None:
                # one that is shared with others would be repaired by all of them, one after the other
                self._client = MilvusClient(
                    self.place, token=self._token, timeout=SECONDS, grpc_options=GRPC, dedicated=True
                )
            return self._client

    def _run(self, what: Callable[[MilvusClient], T]) -> T:
        """Call a server that may have died since, and come back.

        A connection that is lost is made anew, once; a server that came back is told to load its vectors.

        Raises:
            ArtifactError: The server does not answer, or is not done with loading in `LOADING` seconds.
        """
        from grpc import RpcError
        from pymilvus.exceptions import MilvusException

        client, again = self._client, True
        while True:
            try:
                client = self._connected()
                return what(client)
            except (MilvusException, RpcError, OSError, ValueError) as error:
                details = error.details() if isinstance(error, RpcError) and hasattr(error, "details") else ""
                reason = str(details or getattr(error, "message", "") or error).splitlines()[0][:300]
                unloaded = "not loaded" in reason
                lost = client is not None and re.search("connect|unavailable|closed channel", reason, re.I)
                if lost and client is not None:
                    self._leave(client)
                if not again or not (unloaded or lost):
                    raise ArtifactError(
                        f"milvus:{self.place} does not answer as it should ({reason}); start it again, or "
                        "wait until it has loaded its vectors: nothing is lost, the index holds them all"
                    ) from error
            again = False
            if unloaded:
                self._ask("load_collection", timeout=LOADING)

    def _ask(self, verb: str, *values: Any, **options: Any) -> Any:
        """Call a method of the client with the name of the collection."""
        return self._run(lambda client: getattr(client, verb)(self.name, *values, **options))

    def _leave(self, client: Any) -> None:
        """Give up a connection, unless another thread has made a new one."""
        with self._connecting:
            if held := self._client is client:
                self._client = None
        if held:
            with suppress(Exception):  # whatever is wrong with it, it is not used any more
                client.close()

    def upsert(self, numbers: Int64, vectors: Float32) -> None:
        """Keep vectors under their numbers."""
        values = np.asarray(vectors, np.float32)
        for start in range(0, len(numbers), BATCH):
            part = slice(start, start + BATCH)
            rows = [
                {"number": number, "vector": vector}
                for number, vector in zip(numbers[part].tolist(), values[part], strict=True)
            ]
            self._ask("upsert", rows, timeout=6 * SECONDS)

    def delete(self, numbers: Int64) -> None:
        """Drop vectors."""
        for start in range(0, len(numbers), BATCH):
            part = numbers[start : start + BATCH].tolist()
            self._ask("delete", ids=part, timeout=6 * SECONDS)

    def flush(self) -> int:
        """Read back at level Strong; a mark is a time of Milvus."""
        self.count()
        return int(time.time() * 1000) << LOGICAL

    def count(self) -> int:
        """Return the number of vectors."""
        found = self._ask(
            "query", filter="", output_fields=["count(*)"], consistency_level="Strong", timeout=6 * SECONDS
        )
        return int(found[0]["count(*)"])

    def search(
        self,
        queries: Float32,
        k: int,
        *,
        only: Int64 | None = None,
        without: Int64 | None = None,
        mark: int = 0,
    ) -> tuple[Int64, Float32]:
        """Find the vectors of largest inner product."""
        left = f"number not in {without.tolist()}" if without is not None and len(without) else ""
        conditions = [left]
        if only is not None:
            chosen = only if without is None else np.setdiff1d(only, without)
            parts = [chosen[start : start + IDS].tolist() for start in range(0, len(chosen), IDS)]
            conditions = [f"number in {part}" for part in parts]
        found = [self._search(queries, k, condition, mark) for condition in conditions]
        numbers = np.concatenate([n for n, _ in found], 1) if found else np.empty((len(queries), 0), np.int64)
        values = (
            np.concatenate([v for _, v in found], 1) if found else np.empty((len(queries), 0), np.float32)
        )
        order = np.lexsort((numbers, -values), axis=1)[:, :k]
        return np.take_along_axis(numbers, order, 1), np.take_along_axis(values, order, 1)

    def _search(self, queries: Float32, k: int, condition: str, mark: int) -> tuple[Int64, Float32]:
        level: dict[str, Any] = {"consistency_level": "Strong"}
        if mark:
            level = {"consistency_level": "Customized", "guarantee_timestamp": mark}
        found = self._ask(
            "search",
            list(np.asarray(queries, np.float32)),
            filter=condition,
            limit=k,
            search_params={"metric_type": "IP"},
            timeout=3 * SECONDS,
            **level,
        )
        size = max(map(len, found), default=0)
        numbers = np.full((len(queries), size), -1, np.int64)
        values = np.full((len(queries), size), -np.inf, np.float32)
        for row, hits in enumerate(found):
            numbers[row, : len(hits)] = [
                hit.get("number", hit.get("id")) for hit in hits
            ]  # by version of the server
            values[row, : len(hits)] = [hit["distance"] for hit in hits]
        return numbers, values

    def drop(self) -> None:
        """Delete the collection."""
        self._ask("drop_collection", timeout=SECONDS)
