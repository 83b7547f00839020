"""Where the work is done: in this process, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ilion import storage
from ilion._version import __version__
from ilion.config import ComputeConfig, ExperimentConfig, to_dict
from ilion.datasets.shards import TarShard, plain_shard
from ilion.errors import ArtifactError, TaskError
from ilion.extraction.describe import StoredDescription, describe_shard
from ilion.extraction.known import STAMPS
from ilion.extraction.shards import Progress, is_finished, shard_keys
from ilion.outcome import MissingShard
from ilion.pipeline.distributed.work import perform
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.look import look_at_images
from ilion.storage import Artifact, fingerprint
from ilion.tasks import Failure, InlinePool, Pool, Task, run_tasks
from ilion.tasks.base import Advance
from ilion.types import Shard
from ilion.wording import agree, counted

_NUMBER = re.compile(r"_\d{5}$")
_SHOWN = 10
"""Failures that an error names."""


def is_distributed(settings: ComputeConfig) -> bool:
    """Tell whether tasks leave this process."""
    return bool(settings.on) or settings.processes != 1


def pool_of(settings: ComputeConfig, claims: str) -> Pool:
    """Start who does the tasks.

    Args:
        settings: Settings of workers and cluster.
        claims: Folder where running tasks are noted.

    Raises:
        MissingExtraError: Ray is wanted and not installed.
        ConfigError: There is no such cluster, or its workers cannot run Ilion.
    """
    if settings.on:
        from ilion.tasks.ray import RayPool

        return RayPool(perform, claims, settings.on, cpus=settings.cpus, gpus=settings.gpus)
    from ilion.tasks.local import LocalPool

    return LocalPool(perform, claims, settings.processes or os.cpu_count() or 1)


def worker_config(config: ExperimentConfig) -> dict[str, Any]:
    """Return the settings as a worker gets them: with its share of the cores, if threads are not set."""
    settings, general = config.compute, config.extraction
    if settings.on:
        share = max(1, round(settings.cpus))
    else:
        share = max(1, (os.cpu_count() or 1) // (settings.processes or os.cpu_count() or 1))
    own = replace(general, threads=general.threads or share, workers=general.workers or share)
    return to_dict(replace(config, extraction=own))


def do_tasks(
    experiment: Experiment, stage: str, tasks: Sequence[Task], *, reused: Sequence[int] = ()
) -> None:
    """Do all tasks of a stage away from this process; its result cannot lack any of them.

    Args:
        experiment: Says where.
        stage: Name of the stage, for people.
        tasks: Tasks that are left to do.
        reused: Images or queries in each task that was done before.

    Raises:
        TaskError: Some failed to the end.
    """
    failures = _do(experiment, stage, tasks, reused, None)
    if failures:
        raise TaskError(
            _failed(stage, failures, len(tasks) + len(reused)) + "\nRun it again to try once more."
        )


def do_shards(
    experiment: Experiment,
    stage: str,
    artifact: Artifact,
    description: StoredDescription[Any, Any],
    learnt: str = "",
    shards: Sequence[Shard] | None = None,
) -> tuple[list[str], bool, tuple[MissingShard, ...]]:
    """Describe the shards that are not described yet, one task each.

    Args:
        experiment: Experiment that says where the work is done.
        stage: Name of the stage, for people.
        artifact: Artifact of the shards; this process holds its lock.
        description: Kind of description.
        learnt: Folder of what was learnt for it, for workers; "" where nothing was.
        shards: Shards to describe; None for those of the database.

    Returns:
        The keys of the shards that are there, in order; whether all were there before; the shards that
        failed, if a result without them is wanted.

    Raises:
        TaskError: Shards failed, and ``compute.allow_incomplete`` is not set.
    """
    config, shards = experiment.config, experiment.dataset.database if shards is None else shards
    keys = shard_keys(shards)
    by_key = dict(zip(keys, shards, strict=True))
    settings = config.extraction
    earlier = _earlier(artifact, keys)
    left = [key for key in keys if not is_finished(artifact, key, settings.on_bad_image)]
    if experiment.sealed:
        if left:
            raise ArtifactError(
                f"{artifact.folder}: {len(left)} of {counted(len(keys), 'part')} "
                f"{agree(len(left), 'is', 'are')} missing, such as {left[0]!r}; make "
                "the index again, or undo what was deleted"
            )
        return keys, True, ()
    before = [storage.read_stats(artifact, key) for key in keys if key not in set(left)]
    look_at_images(experiment, [by_key[key] for key in left])
    away = is_distributed(config.compute)
    common: dict[str, Any] = {}
    if away:
        place = {"config": worker_config(config), "artifact": str(artifact.folder), "learnt": learnt}
        common = {**place, "kind": description.kind, "spec": fingerprint(description.spec)}

    def values(key: str) -> dict[str, Any]:
        if not away:
            return {}
        own = {"key": key, "shard": plain_shard(by_key[key]), "earlier": earlier(by_key[key])}
        return {**common, **own}

    def here(key: str, progress: Progress) -> None:
        describe_shard(
            by_key[key],
            key,
            description,
            artifact,
            on_bad_image=settings.on_bad_image,
            workers=settings.workers,
            earlier=earlier(by_key[key]),
            progress=progress,
        )

    failures = _do(
        experiment,
        stage,
        [Task(key, "describe", values(key), _size(by_key[key])) for key in left],
        [stats.images + len(stats.skipped) for stats in before],
        None if away else here,
    )
    if failures and not config.compute.allow_incomplete:
        raise TaskError(
            _failed(stage, failures, len(keys))
            + "\nWhat is done is kept. Run it again to try these once more, or add --allow-incomplete to go "
            "on without them; the result then says what it lacks."
        )
    lacking = {failure.name: failure.error for failure in failures}
    missing = tuple(MissingShard(by_key[n].name, _size(by_key[n]), error) for n, error in lacking.items())
    return [key for key in keys if key not in lacking], not left, missing


def family_of(name: str) -> str:
    """Return the name of a shard without its number; images move between the shards of a family.

    >>> family_of("photos_00012")
    'photos'
    """
    return _NUMBER.sub("", name)


def _earlier(artifact: Artifact, keys: Sequence[str]) -> Callable[[Shard], list[str]]:
    """Return what names the shards of earlier states of the database that may hold images of a shard."""
    families: dict[str, list[str]] = {}
    present = set(keys)
    for path in sorted(artifact.folder.glob(f"*{STAMPS}")):
        key = path.name.removesuffix(STAMPS)
        if key not in present:
            name = key.rpartition("-")[0]
            # a tar keeps its name; files move between the numbered shards of their folder
            for family in {name, family_of(name)}:
                families.setdefault(family, []).append(key)

    def earlier(shard: Shard) -> list[str]:
        return families.get(shard.name if isinstance(shard, TarShard) else family_of(shard.name), [])

    return earlier


def _size(shard: Shard) -> int:
    return len(getattr(shard, "names", ()))


def _do(
    experiment: Experiment,
    stage: str,
    tasks: Sequence[Task],
    reused: Sequence[int],
    here: Callable[[str, Progress], None] | None,
) -> list[Failure]:
    settings, tell = experiment.config.compute, experiment.progress
    with experiment.record.stage(
        stage, [task.size for task in tasks], reused=len(reused), units_reused=sum(reused)
    ) as log:
        if not tasks:
            return []

        def told(done: int, total: int) -> None:
            if tell:
                tell(stage, done, total)

        if here is None:
            sent = [replace(task, values={**task.values, "ilion": __version__}) for task in tasks]
            pool = pool_of(settings, log.claims)
            return run_tasks(sent, pool, log, retries=settings.retries, progress=told)

        seen = sum(reused)

        def in_place(task: Task, advance: Advance) -> None:
            start = seen

            def passed(done: int, total: int) -> None:
                nonlocal seen
                advance(start + done - seen)
                seen = start + done
                told(seen, max(log.expected, start + total))

            here(task.name, passed)

        return run_tasks(
            tasks,
            InlinePool(in_place, log.claims),
            log,
            retries=settings.retries,
            stop_at_first=not settings.allow_incomplete,
        )


def _failed(stage: str, failures: Sequence[Failure], total: int) -> str:
    lines = [f"{stage}: {len(failures)} of {counted(total, 'part')} failed:"]
    lines += [f"  {f.name} (tried {f.attempts} times): {f.error}" for f in failures[:_SHOWN]]
    if len(failures) > _SHOWN:
        lines.append(f"  ... and {len(failures) - _SHOWN} more; 'ilion status' lists them")
    return "\n".join(lines)
