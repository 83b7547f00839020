"""What holds some shards of an index and answers for them, on whatever machine it runs.

A holder keeps nothing but files that it has mapped. Each question names the shards that it is about, so any
copy of a holder can answer it, before and after photos were added, and asking twice changes nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ilion._version import __version__
from ilion.errors import ArtifactError
from ilion.searching.local import Encoded, LocalQuery, Looks, Postings, search_digest, shipped_model
from ilion.searching.local.matches import Matches
from ilion.storage import load_artifact
from ilion.types import Int64, Value

KEPT = 4
"""Parts of databases that a holder keeps open: that of now, and those of states that are still searched."""


@dataclass(frozen=True)
class Part(Value):
    """Consecutive shards of a database.

    Args:
        folder: Artifact that holds them; the same path on all machines.
        keys: The shards.
        words: Number of visual words, which tells the model.
    """

    folder: str
    keys: tuple[str, ...]
    words: int


@dataclass(frozen=True)
class Question(Value):
    """What a holder is asked.

    Args:
        part: The shards that it is about.
        verb: Method of `Holder`.
        arguments: Further arguments of the method.
    """

    part: Part
    verb: str
    arguments: tuple[Any, ...] = ()


class Holders(Protocol):
    """Several holders. Safe to share among threads."""

    @property
    def count(self) -> int:
        """Number of holders, each of which answers for a part of a database."""

    @property
    def retries(self) -> int:
        """Number of questions that were asked again, as a holder was lost."""

    def ask(self, questions: Sequence[tuple[int, Question]]) -> list[Any]:
        """Ask several holders at once; one that is lost is replaced and asked again.

        Args:
            questions: Number of the holder, and what it is asked.

        Returns:
            The answers, in order.

        Raises:
            ArtifactError: A holder cannot read its files, or none answers for too long.
        """


class Holder:
    """Answers questions about parts of databases. Safe to share among threads."""

    def __init__(self) -> None:
        self._open: OrderedDict[Part, Postings] = OrderedDict()
        self._opening = threading.Lock()

    def answer(self, question: Question) -> Any:
        """Answer a question.

        Raises:
            ArtifactError: Files are missing or damaged.
        """
        return getattr(self, question.verb)(self._database(question.part), *question.arguments)

    def _database(self, part: Part) -> Postings:
        with self._opening:
            found = self._open.get(part)
            if found is None:
                folder = Path(part.folder)
                if not folder.is_dir():
                    raise ArtifactError(
                        f"{folder}: a machine of the cluster does not see this folder; the index must have "
                        "the same path on all of them"
                    )
                found = Postings(load_artifact(folder), part.keys, part.words)
                self._open[part] = found
                while len(self._open) > KEPT:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(part)
            return found

    def lengths(self, database: Postings) -> Int64:
        """Return (W,) the postings of each word."""
        return database.lengths

    def sums(self, database: Postings, query: LocalQuery, lengths: Int64) -> tuple[Int64, Int64]:
        """Sum the matches of each photo and of each feature; ``lengths`` are those of the whole database."""
        found = database.first_pass(_own(query), shipped_model(database.words), np.array(lengths))
        return found.sums, found.totals

    def matches(self, database: Postings, query: LocalQuery, rows: Int64 | None) -> Matches:
        """Find the matches of a query in some photos."""
        return database.matches(_own(query), shipped_model(database.words), rows)

    def photos(self, database: Postings, rows: Int64) -> list[Encoded]:
        """Read all that is stored of some photos."""
        return database.photos(rows)

    def looks(self, database: Postings, rows: Int64) -> Looks:
        """Read sizes and colours of photos."""
        return database.looks(rows)


def version() -> str:
    """Return what must be the same on all machines for answers to be the same."""
    return f"{__version__} {search_digest()}"


def _own(query: LocalQuery) -> LocalQuery:
    """Copy what is read of a query: arrays that came from another process cannot be written to, and kernels
    would be compiled once more for them."""
    return replace(query, vectors=np.array(query.vectors), words=np.array(query.words))
