"""What a writer tells the engine of an index.

Photos have numbers that only grow, so one number says what the engine holds already. It is written into the
tables together with the photos: what was sent before a kill is sent again, which changes nothing.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ilion.errors import ArtifactError
from ilion.pipeline import Progress
from ilion.pipeline.asking import Ready
from ilion.pipeline.stages.results import Extraction
from ilion.serve.engines.attached import Setting, check_design, open_attached, read_setting
from ilion.serve.index import Index
from ilion.serve.tables import set_state, state

log = logging.getLogger(__name__)
BLOCK = 4096
"""Vectors that are read at once."""


def send(
    index: Index, design: int, ready: Ready, setting: Setting | None = None, progress: Progress | None = None
) -> Mapping[str, int]:
    """Send the vectors that the engine does not hold yet.

    Args:
        index: The index.
        design: Number of the design.
        ready: The design with its database, photos that are being added included.
        setting: The engine; None takes that of the index.
        progress: Callback that receives stage, done and total.

    Returns:
        Counters to be written when the photos count; empty without an engine.

    Raises:
        ConfigError: The design does not fit the engine.
        ArtifactError: The engine does not answer.
    """
    setting = setting or read_setting(index.folder)
    if setting is None:
        return {}
    connection = index.tables.connection
    check_design(index.design(design, connection), setting["uri"])
    assert isinstance(ready.prepared, Extraction)
    database = ready.prepared.database
    engine = open_attached(setting, design, database.dim)
    key = f"engine {setting['name']}_{design}"
    held = state(connection).get(key, 0)
    fresh = dict(connection.execute("SELECT stored_as, number FROM photos WHERE number > ?", (held,)))
    # rows go by number, so new photos are the last ones
    rows = range(max(0, len(ready.ids) - len(fresh)), len(ready.ids))
    known = [(row, fresh[ready.ids[row]]) for row in rows if ready.ids[row] in fresh]
    for start in range(0, len(known), BLOCK):
        part = np.array(known[start : start + BLOCK], np.int64).reshape(-1, 2)
        engine.upsert(part[:, 1], database.gather(part[:, 0]))
        if progress:
            progress("engine", start + len(part), len(known))
    return {key: max(fresh.values(), default=held), f"{key} mark": engine.flush()}


def tell(connection: sqlite3.Connection, told: Mapping[str, int]) -> None:
    """Write down what the engine holds."""
    for name, value in told.items():
        set_state(connection, name, value)


def drop_numbers(index: Index, numbers: Sequence[int], *, must: bool = False) -> None:
    """Delete vectors of photos that do not count any more.

    Args:
        index: The index.
        numbers: Numbers of the photos.
        must: Whether an engine that does not answer is an error; else the vectors stay, and are passed over.

    Raises:
        ArtifactError: The engine does not answer, and it must.
    """
    setting = read_setting(index.folder)
    if setting is None or not len(numbers):
        return
    for design in held_designs(index, setting):
        try:
            open_attached(setting, design).delete(np.array(numbers, np.int64))
        except ArtifactError as error:
            if must:
                raise
            log.warning("%s: removed photos stay in the engine for now: %s", index.folder, error)


def held_designs(index: Index, setting: Setting) -> list[int]:
    """Return the designs whose vectors an engine holds."""
    start = f"engine {setting['name']}_"
    names = (name for name in state(index.tables.connection) if name.startswith(start))
    return [int(name.removeprefix(start)) for name in names if not name.endswith(" mark")]


def drop_designs(index: Index, setting: Setting, designs: Iterable[int]) -> None:
    """Drop the vectors of designs from an engine; where it does not answer, they stay."""
    for design in designs:
        try:
            open_attached(setting, design).drop()
        except ArtifactError as error:
            log.warning("%s: vectors stay in the engine: %s", index.folder, error)
