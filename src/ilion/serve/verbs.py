"""Indexes: photos that can be searched by the design that was evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ilion.errors import ConfigError
from ilion.pipeline import Progress
from ilion.serve.index import Index
from ilion.serve.writer import Added, add, attach, create, create_from_run, remove
from ilion.storage.runs import FILE, read_run
from ilion.types import Where

__all__ = ["Added", "add", "index", "remove"]


def index(
    sources: Sequence[Where],
    output: Where,
    *,
    like: Where | None = None,
    objects: bool = True,
    engine: str = "",
    progress: Progress | None = None,
    added: Callable[[Added], None] | None = None,
) -> Index:
    """Make an index of photos, or of a finished run.

    Args:
        sources: Folders, tars, tables (.csv), photos or data sets; or one output folder of a finished run, of
            which nothing is described again.
        output: Folder of the index.
        like: Output folder of a run whose design is taken; None takes the default design.
        objects: Whether a photo in a folder of a folder shows the object that the first folder is named by.
        engine: Search engine that holds the descriptors, such as ``milvus:http://HOST:19530``; "" for none.
        progress: Callback that receives stage, done and total.
        added: Callback that receives what was added, and which photos cannot be read.

    Raises:
        ConfigError: No source is given, the folder is not empty, or the design does not fit the engine.
        DatasetError: A source cannot be used.
    """
    paths = [Path(source) for source in sources]
    if not paths:
        raise ConfigError("name at least one folder of photos, or a finished run")
    if (paths[0] / FILE).is_file():
        if len(paths) > 1 or like is not None:
            raise ConfigError(f"{paths[0]}: a finished run makes an index by itself; add other photos after")
        made = create_from_run(Path(output), paths[0], progress)
        bad = {skipped["id"]: skipped["reason"] for skipped in read_run(paths[0])["skipped"]}
        done = Added(made.status().photos, unreadable=bad)
    else:
        design = None if like is None else Path(like)
        made, done = create(Path(output), paths, like=design, objects=objects, progress=progress)
    if added is not None:
        added(done)
    if engine:
        attach(made, engine, progress)
    return made
