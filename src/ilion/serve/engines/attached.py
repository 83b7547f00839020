"""The engine that an index is attached to, and the ranking that it gives.

What an engine does not know is done here: photos that do not count (being added, or removed) are left out,
and a filter that leaves few photos is searched in the files of the index, exactly.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from ilion.config.design import Design
from ilion.errors import ArtifactError, ConfigError
from ilion.pipeline.stages.results import Extraction
from ilion.searching import search
from ilion.serve.engines.base import MOST, Engine, open_engine
from ilion.storage import read_json, write_json
from ilion.types import Float32, Int64, Ranking, Value
from ilion.wording import counted

FILE = "engine.json"
FEW = 50_000
"""Photos left by a filter that are searched in the files of the index."""


class Setting(TypedDict):
    """What the file says: where the engine is, and how the vectors of this index are called there."""

    uri: str
    name: str


def read_setting(folder: Path) -> Setting | None:
    """Return the engine of an index; None where it searches its own files."""
    return read_json(folder / FILE, Setting) if (folder / FILE).exists() else None


def write_setting(folder: Path, setting: Setting | None) -> None:
    """Attach an index to an engine, or to none."""
    if setting is None:
        (folder / FILE).unlink(missing_ok=True)
    else:
        write_json(folder / FILE, setting)
        (folder / FILE).chmod(0o600)  # it may hold a password


def new_setting(uri: str) -> Setting:
    """Return a setting with a name that nobody has."""
    return {"uri": uri, "name": f"ilion_{secrets.token_hex(6)}"}


def redact(uri: str) -> str:
    """Return the place of an engine without the password that it may hold.

    >>> redact("milvus:http://me:secret@host:19530")
    'milvus:http://host:19530'
    """
    return re.sub(r"//[^/@]+@", "//", uri)


def open_attached(setting: Setting, design: int, dim: int = 0) -> Engine:
    """Open the vectors of a design, see `ilion.serve.engines.base.open_engine`."""
    return open_engine(setting["uri"], f"{setting['name']}_{design}", dim)


def check_design(design: Design, uri: str) -> None:
    """Refuse a design whose first stage an engine cannot carry out.

    Raises:
        ConfigError: The design compares local features, expands queries, or uses codes.
    """
    search = design.search
    for bad, why in (
        (search.method != "exact", f"search.method = {search.method!r}"),
        (design.reading.use == "only", "reading.use = 'only'"),
        (search.projection != "", "search.projection"),
        (design.extraction.text_fusion == "product", "extraction.text_fusion = 'product'"),
        (search.expansion != "none", f"search.expansion = {search.expansion!r}"),
        (
            search.database_expansion_top > 0,
            f"search.database_expansion_top = {search.database_expansion_top}",
        ),
    ):
        if bad:
            raise ConfigError(
                f"design {design.name!r} has {why}, and engine {redact(uri)!r} only compares global "
                "descriptors; take a design with search.method = 'exact' and no expansion, or let the index "
                "search its own files (--engine embedded)"
            )


@dataclass(frozen=True, eq=False)
class Attached(Value):
    """An engine that ranks the rows of a database.

    Args:
        engine: The engine.
        numbers: (N,) number of the photo of each row.
        mark: Mark up to which the engine must have all that was written.
        removed: Rows that do not count any more, which the engine may still have.
    """

    engine: Engine
    numbers: Int64
    mark: int
    removed: int

    def rank(self, extracted: Extraction, k: int, allowed: Int64 | None) -> Ranking:
        """Rank the database for every query, like the exact search of the same descriptors.

        Args:
            extracted: Queries and database.
            k: Number of results to keep.
            allowed: Ascending rows that may be found; None means all.

        Raises:
            ArtifactError: The engine does not answer, or lacks vectors.
        """
        ids, database = extracted.queries.ids, extracted.database
        queries: Float32 = np.asarray(extracted.queries.values, np.float32)
        if allowed is not None and len(allowed) <= FEW:
            part = database.take(allowed)
            found = search(ids, queries, part, k=min(k, len(part)))
            return Ranking(ids, database.ids, allowed[found.indices], found.similarities, found.counts)
        count = len(self.numbers) if allowed is None else len(allowed)
        wanted, only, without = min(k, count), None, None
        hidden = len(self.numbers) - count
        if hidden > self.removed:  # a filter, not only what was removed
            others = np.delete(self.numbers, allowed) if allowed is not None else None
            if others is not None and len(others) > count:
                only = self.numbers[allowed]
            else:
                without = others
        asked = wanted + (0 if only is not None or without is not None else min(hidden, MOST // 4))
        while True:
            asked = min(asked, MOST)
            numbers, values = self.engine.search(
                queries, max(asked, 1), only=only, without=without, mark=self.mark
            )
            rows = self._rows(numbers, allowed)
            kept = (rows >= 0).sum(1)
            if (kept >= wanted).all() or asked >= MOST or numbers.shape[1] < asked:
                break
            asked *= 2  # what does not count took places
        if (kept < min(wanted, MOST)).any():
            raise ArtifactError(
                f"the engine has {int(kept.min())} of {counted(wanted, 'result')}, so it lost vectors; "
                "attach it again: ilion index INDEX --engine URI"
            )
        return _ranking(ids, database.ids, rows, values, wanted)

    def _rows(self, numbers: Int64, allowed: Int64 | None) -> Int64:
        """Return the database row of each number; -1 for photos that must not be found."""
        order = np.argsort(self.numbers, kind="stable")
        at = np.minimum(np.searchsorted(self.numbers, numbers, sorter=order), len(order) - 1)
        rows = np.where(self.numbers[order[at]] == numbers, order[at], -1)
        if allowed is not None and len(allowed):
            place = np.minimum(np.searchsorted(allowed, rows), len(allowed) - 1)
            rows = np.where(allowed[place] == rows, rows, -1)
        return rows


def _ranking(query_ids: Sequence[str], ids: Sequence[str], rows: Int64, values: Float32, k: int) -> Ranking:
    """Return the first k valid rows of each query, ties by lower row."""
    values = np.where(rows >= 0, values, -np.inf).astype(np.float32)
    order = np.lexsort((rows, -values), axis=1)[:, :k]
    rows, values = np.take_along_axis(rows, order, 1), np.take_along_axis(values, order, 1)
    return Ranking(tuple(query_ids), ids, rows, values, (rows >= 0).sum(1).astype(np.int64))
