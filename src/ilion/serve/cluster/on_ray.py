"""Holders on a Ray cluster, by Ray Serve (the extra ``ray``).

Ray Serve starts the copies of each holder, on different machines where there are enough, looks after them,
and replaces those that are lost. A question that was under way with a copy that is lost is asked again. Its
HTTP server is not used: pages and API are Ilion's.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilion.errors import ArtifactError, ConfigError, IlionError, MissingExtraError
from ilion.opening import full_path
from ilion.serve.cluster.holder import Holder, Question, version
from ilion.tasks.ray import connect

log = logging.getLogger(__name__)
PATIENCE = 90.0
"""Seconds after which a question is not asked once more: a lost holder is replaced in less."""
ATTEMPT = 60.0
"""Longest time of one attempt, for copies that hang without being lost."""
PAUSE = 0.25
"""Seconds before a question is asked again."""
AT_ONCE = 16
"""Questions that a copy of a holder works at."""


def holders_name(folder: Path, port: int) -> str:
    """Return the name of what holds an index for one service."""
    return f"ilion-{hashlib.blake2b(str(full_path(folder)).encode(), digest_size=6).hexdigest()}-{port}"


class Replica:
    """A copy of a holder in a process of its own.

    Args:
        expected: Value of `version` where the holders are asked.
        others: The other holders of the application: Ray Serve wants one to be the first.
    """

    def __init__(self, expected: str, *others: Any) -> None:
        if version() != expected:
            raise ConfigError(f"a machine of the cluster has ilion {version()}, this one {expected}")
        self._holder = Holder()

    async def answer(self, question: Question) -> Any:
        """Answer in a thread, so that Ray Serve can look after the copy meanwhile."""
        return await asyncio.to_thread(self._holder.answer, question)


class RayHolders:
    """Holders on a Ray cluster, as `ilion.serve.cluster.holder.Holders`. Safe to share among threads.

    Args:
        address: ``ray`` starts Ray on this machine, reachable from this machine only; else ``HOST:PORT`` of a
            cluster of which this machine is a part.
        name: Name of the holders in the cluster; those of the same name are replaced.
        parts: Number of holders; 0 means one for each machine.
        copies: Copies of each, on different machines; 0 means two, or one where there is one machine.

    Raises:
        MissingExtraError: Ray Serve is not installed.
        ConfigError: There is no cluster there, it has too few machines, or another version of Ilion.
    """

    def __init__(self, address: str, name: str, parts: int = 0, copies: int = 0) -> None:
        setting = f"--on {address}"
        if address.startswith("ray://"):
            raise ConfigError(
                f"{setting}: a service must be a part of the cluster; run 'ray start --address=HOST:PORT' on "
                "this machine and write HOST:PORT, without ray://"
            )
        self._ray, self._started = connect(address, setting)
        try:
            try:
                self._serve: Any = importlib.import_module("ray.serve")
            except ImportError:
                raise MissingExtraError(setting, "ray") from None
            logging.getLogger("ray.serve").setLevel(logging.WARNING)
            machines = sum(node["Alive"] for node in self._ray.nodes())
            self.count, self.copies = parts or machines, copies or min(2, machines)
            if self.copies > machines:
                raise ConfigError(
                    f"--copies {copies}: the cluster has {machines} machines, and two copies on one would be "
                    "lost together"
                )
            self.name, self.retries = name, 0
            self._counting = threading.Lock()
            self._handles = self._deploy(setting)
        except BaseException:
            self.close()
            raise

    def _deploy(self, setting: str) -> list[Any]:
        self._serve.start(proxy_location="Disabled")
        replica = self._serve.deployment(Replica)

        def bound(number: int, *others: Any) -> Any:
            return replica.options(
                name=f"holder-{number}",
                num_replicas=self.copies,
                max_replicas_per_node=1,
                max_ongoing_requests=AT_ONCE,
                # what a holder needs is memory; where cores are counted, lost ones could not be replaced
                ray_actor_options={"num_cpus": 0},
                health_check_period_s=2,
                health_check_timeout_s=10,
                graceful_shutdown_timeout_s=5,
            ).bind(version(), *others)

        first = bound(0, *(bound(number) for number in range(1, self.count)))
        try:
            self._serve.run(first, name=self.name, route_prefix=None)
        except (RuntimeError, self._ray.exceptions.RayError) as error:
            found = self._serve.status().applications.get(self.name)
            said = [part.message for part in found.deployments.values() if part.message] if found else []
            reason = " ".join((said or [str(error)])[0].strip().splitlines()[-3:])
            raise ConfigError(
                f"{setting}: the cluster cannot hold the index ({reason}); all its machines must have the "
                "same version of ilion, with the extra 'ray'"
            ) from None
        return [
            self._serve.get_deployment_handle(f"holder-{number}", self.name) for number in range(self.count)
        ]

    def ask(self, questions: Sequence[tuple[int, Question]]) -> list[Any]:
        """Ask several holders at once; a question to a copy that is lost is asked again.

        Raises:
            ArtifactError: A holder cannot read its files, or none answers for `PATIENCE` seconds.
        """
        begun = time.monotonic()
        asked = [self._handles[number].answer.remote(question) for number, question in questions]
        return [
            self._wait(response, number, question, begun)
            for response, (number, question) in zip(asked, questions, strict=True)
        ]

    def _wait(self, response: Any, number: int, question: Question, begun: float) -> Any:
        errors = self._ray.exceptions
        while True:
            try:
                return response.result(timeout_s=ATTEMPT)
            except errors.RayTaskError as error:
                if isinstance(error.cause, IlionError):
                    raise error.cause from None
                if not isinstance(error.cause, errors.RayError):
                    raise ArtifactError(
                        f"holder {number} failed: {str(error).strip().splitlines()[-1]}"
                    ) from None
                lost: Exception = error
            except (errors.RayError, self._serve.exceptions.RayServeException, TimeoutError) as error:
                lost = error
            reason = f"{type(lost).__name__}: {str(lost).strip().partition(chr(10))[0]}"
            if time.monotonic() - begun > PATIENCE:
                raise ArtifactError(
                    f"holder {number} of {self.name} does not answer ({reason}); see 'ray status': "
                    "nothing is lost, it is started again where there is a machine for it"
                ) from None
            log.warning("holder %d was lost and is asked again: %s", number, reason)
            with self._counting:
                self.retries += 1
            response.cancel()
            time.sleep(PAUSE)
            response = self._handles[number].answer.remote(question)

    def close(self) -> None:
        """Stop the holders, and leave the cluster."""
        if hasattr(self, "name") and self._ray.is_initialized():
            self._serve.delete(self.name)
        if self._started:
            self._ray.shutdown()
