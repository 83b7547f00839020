"""Designs of an index: a new one stands beside the one that answers, until it takes over."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ilion.adapt import save_layer
from ilion.config import ExperimentConfig, from_dict
from ilion.config.design import Design
from ilion.errors import ConfigError
from ilion.opening import full_path
from ilion.pipeline import Pipeline, Progress
from ilion.pipeline.asking import Ready
from ilion.serve.engines.attached import check_design, new_setting, read_setting, write_setting
from ilion.serve.index import Index
from ilion.serve.tables import changed, set_state, state
from ilion.serve.writer.engine import drop_designs, held_designs, send, tell
from ilion.serve.writer.lock import writing
from ilion.storage.runs import read_run

EMBEDDED = "embedded"
"""No engine: the index searches its own files."""
LEARNT = ("fit", "codebook", "codec")
"""Kinds of artifacts that are learnt once from a database, and belong to the design."""


def build(index: Index, design: Design, run: Path | None = None, progress: Progress | None = None) -> int:
    """Describe all photos by a new design, beside the one that answers; `switch` lets it answer.

    Args:
        index: The index.
        design: The new design.
        run: Output folder of the run that it comes from, for what it learnt.
        progress: Callback that receives stage, done and total.

    Returns:
        The number of the design.
    """
    with writing(index):
        number = take_design(index, design, run)
        try:
            ready = Ready(index.pipeline(number, index.tables.connection, sealed=False, progress=progress))
            told = send(index, number, ready, progress=progress)
            with index.tables.write() as connection:
                tell(connection, told)
        except BaseException:
            with index.tables.write() as connection:
                connection.execute("DELETE FROM designs WHERE number = ?", (number,))
            raise
    return number


def catch_up(index: Index, progress: Progress | None = None) -> None:
    """Describe by the design before what was added since, so that the way back is immediate.

    The caller keeps other writers out.
    """
    connection = index.tables.connection
    counters = state(connection)
    if counters["previous"] and counters.get("behind"):
        ready = Ready(index.pipeline(counters["previous"], connection, sealed=False, progress=progress))
        told = send(index, counters["previous"], ready, progress=progress)
        with index.tables.write() as connection:
            tell(connection, told)
            set_state(connection, "behind", 0)


def switch(index: Index, number: int, progress: Progress | None = None) -> str:
    """Let another design answer from now on.

    Args:
        index: The index.
        number: Number of the design; 0 goes back to the one before.
        progress: Callback that receives stage, done and total.

    Returns:
        Its name.

    Raises:
        ConfigError: There is no such design.
    """
    with writing(index):
        connection = index.tables.connection
        counters = state(connection)
        number = number or counters["previous"]
        if not number:
            raise ConfigError(f"{index.folder}: no other design has answered before; there is no way back")
        # it may have missed photos that were added since: they are described now, before it answers
        ready = Ready(index.pipeline(number, connection, sealed=False, progress=progress))
        told = send(index, number, ready, progress=progress)
        if number != counters["current"]:
            with index.tables.write() as connection:
                tell(connection, told)
                set_state(connection, "previous", counters["current"])
                set_state(connection, "current", number)
                set_state(connection, "behind", 0)
                changed(connection, layout=True)
    return index.design(number).name


def take_design(index: Index, design: Design, run: Path | None) -> int:
    """Write a design into the tables, with its files and what it learnt."""
    connection = index.tables.connection
    number = (connection.execute("SELECT max(number) FROM designs").fetchone()[0] or 0) + 1
    root, distractors = str(full_path(index.folder)), ""
    if run is not None:
        config = from_dict(ExperimentConfig, read_run(run)["provenance"]["config"])
        root, distractors = str(full_path(config.dataset.path)), config.dataset.distractors
        pipeline = Pipeline(config, finished=True)
        link_artifacts(pipeline.artifacts, index.folder / "artifacts", ())
        if pipeline.layer is not None:
            save_layer(index.folder / "designs" / f"{number}.npz", pipeline.layer.layer)
            adaptation = replace(
                design.adaptation, layer=f"{number}.npz", method="none", labels="", photos=""
            )
            design = replace(design, adaptation=adaptation)
    elif design.adaptation.layer or design.adaptation.method != "none":
        raise ConfigError("a design with an adaptation layer is taken from a finished run")
    with index.tables.write() as connection:
        connection.execute(
            "INSERT INTO designs VALUES (?, ?, ?, ?, ?)",
            (number, json.dumps(design.as_dict()), root, distractors, time.time()),
        )
    return number


def link_artifacts(source: Path, target: Path, keys: Sequence[str]) -> None:
    """Bring what was learnt, and finished shards, into another folder of artifacts: by links, or copies."""
    wanted = tuple(f"{key}." for key in keys)
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        if path.is_file() and path.name.startswith("first-"):
            bring(path, target / path.name)
        elif path.is_dir():
            learnt = path.name.startswith(tuple(f"{kind}-" for kind in LEARNT))
            found = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
            shards = [file for file in found if file.name.startswith(wanted)] if wanted else []
            if not learnt and not shards:
                continue
            known = {head.name.removesuffix(".ids.json") + "." for head in path.glob("*.ids.json")}
            own = [file for file in found if not file.name.startswith(tuple(known))]
            for file in (*own, *shards):
                bring(file, target / path.name / file.name)


def bring(source: Path, target: Path) -> None:
    """Link a file that never changes to another place, or copy it where that cannot be."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        aside = target.with_name(f".{target.name}.tmp")
        shutil.copyfile(source, aside)
        os.replace(aside, target)


def attach(index: Index, uri: str, progress: Progress | None = None) -> int:
    """Let an engine hold the vectors of an index from now on.

    Args:
        index: The index.
        uri: The engine, such as ``milvus:http://127.0.0.1:19530``; ``embedded`` for none.
        progress: Callback that receives stage, done and total.

    Returns:
        Number of vectors that it holds.

    Raises:
        ConfigError: The design that answers does not fit, or there is no such engine.
        ArtifactError: The engine does not answer; nothing has changed then.
    """
    with writing(index):
        before, count = read_setting(index.folder), 0
        told: Mapping[str, int] = {}
        left = held_designs(index, before) if before else []
        setting = None if uri == EMBEDDED else new_setting(uri)
        connection = index.tables.connection
        if setting is not None:
            design = state(connection)["current"]
            check_design(index.design(design, connection), uri)
            ready = Ready(index.pipeline(design, connection, sealed=True))
            told = send(index, design, ready, setting, progress)
            count = len(ready.ids)
        write_setting(index.folder, setting)
        with index.tables.write() as connection:
            connection.execute("DELETE FROM state WHERE name LIKE 'engine %'")
            tell(connection, told)
            changed(connection, layout=True)
        if before is not None:
            drop_designs(index, before, left)
    return count
