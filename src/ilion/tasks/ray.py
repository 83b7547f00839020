"""Tasks on a Ray cluster (the extra ``ray``): the same tasks, on the machines of the cluster.

The machines must see data and run folder under the same paths (a shared file system), and have the same
version of Ilion installed. Nothing but descriptions of tasks and outcomes, both JSON text, goes through Ray.
"""

from __future__ import annotations

import importlib
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

from ilion._version import __version__
from ilion.errors import ConfigError, MissingExtraError
from ilion.tasks.base import Outcome, Perform, Task, attempt
from ilion.tasks.worker import function_name, function_of

LOCAL = "ray"
"""The address that stands for Ray on this machine."""
PATIENCE = 180.0
"""Seconds that a cluster may take to answer, or may have no machine at all, before that is an error."""
KNOCK = 10.0
"""Seconds that the port of a cluster may take to open."""
QUEUED = 2
"""Tasks given out for each that can run at once, so that no machine waits for the driver."""


def _work(function: str, text: str, claims: str) -> str:
    """Do a task on a worker."""
    return attempt(Task.from_json(text), function_of(function), claims).to_json()


def _version() -> str:
    """Say what is installed on a worker."""
    return f"{socket.gethostname()} has {__version__}"


def _knock(address: str) -> None:
    """Raise OSError unless something listens at ``HOST:PORT``; addresses of another form are left to Ray."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()


def connect(address: str, setting: str) -> tuple[Any, bool]:
    """Connect to a Ray cluster, unless this process is connected to one already.

    Args:
        address: ``ray`` starts Ray on this machine, reachable from this machine only; else ``ray://HOST:PORT``
            or ``HOST:PORT``.
        setting: Setting as the user wrote it, for messages.

    Returns:
        The module ``ray``, and whether the connection is new.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: There is no cluster there.
    """
    # nothing is told to anybody: Ray reports usage unless it is asked not to
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL:
        # read when Ray is imported: else it listens at all addresses, whatever node address it is given
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise MissingExtraError(setting, "ray") from None
    if ray.is_initialized():
        return ray, False
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address == LOCAL:
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    else:
        options["address"] = address
    try:
        if address != LOCAL:
            _knock(address)  # Ray itself would try for minutes
        ray.init(**options)
    except Exception as error:  # Ray raises plain ones too, as where a busy machine takes 30 s to start it
        if address == LOCAL:
            raise ConfigError(f"{setting}: Ray does not start on this machine ({error}); try again") from None
        raise ConfigError(
            f"{setting}: no Ray cluster answers there ({error}); start one with "
            "'ray start --head --include-dashboard=false', or write its address"
        ) from None
    return ray, True


class RayPool:
    """The workers of a Ray cluster. Ray starts them, watches them, and tells when one was lost.

    Args:
        perform: Does a task; a function of a module.
        claims: Folder where running tasks are noted.
        address: ``ray`` starts Ray on this machine, reachable from this machine only; else ``ray://HOST:PORT``
            or ``HOST:PORT``.
        cpus: Cores that Ray sets aside for a task.
        gpus: Graphics cards that Ray sets aside for a task.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: There is no cluster there, or its workers have not this version of Ilion.
    """

    def __init__(
        self, perform: Perform, claims: str, address: str, *, cpus: float = 1.0, gpus: float = 0.0
    ) -> None:
        self._function, self._claims = function_name(perform), claims
        self._cpus, self._gpus = cpus, gpus
        self._ray, self._started = connect(address, f"compute.on = {address!r}")
        try:
            self._check(address)
        except BaseException:
            self.close()
            raise
        # lost workers are counted here like everywhere, so Ray must not try again on its own
        self._remote = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_work)
        self._names: dict[Any, str] = {}
        self._empty_since: float | None = None

    def _check(self, address: str) -> None:
        asked = self._ray.remote(num_cpus=0, max_retries=3)(_version).remote()
        install = f"install the same version on all its machines: pip install 'ilion[ray]=={__version__}'"
        try:
            said = self._ray.get(asked, timeout=PATIENCE)
        except self._ray.exceptions.GetTimeoutError:
            raise ConfigError(
                f"compute.on = {address!r}: no worker of the cluster answers within {PATIENCE:.0f} s; see "
                "'ray status'"
            ) from None
        except self._ray.exceptions.RayError as error:
            if "No module named 'ilion" in str(error):
                raise ConfigError(
                    f"compute.on = {address!r}: the workers of the cluster have no ilion; {install}"
                ) from None
            raise ConfigError(f"compute.on = {address!r}: the cluster cannot run a task: {error}") from None
        if said.rpartition(" ")[2] != __version__:
            raise ConfigError(f"compute.on = {address!r}: {said}, this machine {__version__}; {install}")

    @property
    def capacity(self) -> int:
        """How many tasks may be given out at once."""
        there = self._ray.cluster_resources()
        slots = [there.get("CPU", 0.0) / self._cpus] if self._cpus else []
        slots += [there.get("GPU", 0.0) / self._gpus] if self._gpus else []
        able = int(min(slots, default=1.0))
        if able >= 1:
            self._empty_since = None
            return QUEUED * able
        now = time.monotonic()
        self._empty_since = self._empty_since or now
        if now - self._empty_since > PATIENCE:
            raise ConfigError(
                f"the Ray cluster has {there.get('CPU', 0.0):g} cores and {there.get('GPU', 0.0):g} graphics "
                f"cards; a task wants {self._cpus:g} and {self._gpus:g} (compute.cpus, compute.gpus)"
            )
        return 0

    def submit(self, task: Task) -> None:
        """Give out a task."""
        reference = self._remote.remote(self._function, task.to_json(), self._claims)
        self._names[reference] = task.name

    def finished(self, timeout: float) -> Sequence[Outcome]:
        """Return the outcomes since the last call; wait for one at most ``timeout`` seconds."""
        if not self._names:
            time.sleep(timeout)
            return []
        ready, _ = self._ray.wait(list(self._names), num_returns=1, timeout=timeout)
        # one was waited for; all that are there are taken
        more, _ = self._ray.wait(list(self._names), num_returns=len(self._names), timeout=0)
        return [self._outcome(reference) for reference in dict.fromkeys([*ready, *more])]

    def _outcome(self, reference: Any) -> Outcome:
        name = self._names.pop(reference)
        try:
            return Outcome.from_json(self._ray.get(reference))
        except self._ray.exceptions.RayTaskError as error:
            return Outcome(name, f"its worker cannot run it: {error}", again=True)
        except self._ray.exceptions.RayError as error:
            first = str(error).strip().partition("\n")[0]
            return Outcome(
                name, f"its worker was lost ({type(error).__name__}: {first})", again=True, lost=True
            )

    def close(self) -> None:
        """Stop what is going on, and leave the cluster."""
        for reference in getattr(self, "_names", {}):
            self._ray.cancel(reference, force=True)
        if self._started:
            self._ray.shutdown()
