"""Answers of several reviewers to the suspects of one audit, kept while they work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ilion.audit.decisions import Decision, Decisions
from ilion.audit.suspects import Answer, read_audit
from ilion.storage.sqlite import Connection, connect

FILE = "reviews.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    suspect TEXT NOT NULL, who TEXT NOT NULL, answer TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (suspect, who)
)
"""


class Reviews:
    """The answers, in a file of the audit's folder. Safe to share among threads and processes.

    Args:
        folder: Folder of the audit.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def _open(self, *, kept: bool = True) -> Iterator[Connection]:
        # an answer takes a millisecond to write: a connection of its own needs no lock among threads
        with closing(connect(self.folder / FILE, seconds=10, kept=kept)) as connection:
            connection.doing = "used"
            connection.execute(_SCHEMA)
            yield connection

    def answer(self, suspect: str, who: str, answer: Answer, at: str) -> None:
        """Keep an answer; an earlier one of the same reviewer goes.

        Args:
            suspect: Key of the suspect.
            who: Name of the reviewer.
            answer: The answer.
            at: Time, ISO 8601.
        """
        with self._open() as connection:
            connection.execute("REPLACE INTO answers VALUES (?, ?, ?, ?)", (suspect, who, answer, at))

    def take_back(self, suspect: str, who: str) -> None:
        """Forget an answer."""
        with self._open() as connection:
            connection.execute("DELETE FROM answers WHERE suspect = ? AND who = ?", (suspect, who))

    def _rows(self) -> list[tuple[str, str, str, str]]:
        """Return suspect, reviewer, answer and time of each answer, by time."""
        # before anybody answered, reading leaves no file behind
        with self._open(kept=(self.folder / FILE).exists()) as connection:
            return connection.execute("SELECT * FROM answers ORDER BY at, suspect, who").fetchall()

    def answers(self) -> dict[str, dict[str, str]]:
        """Return reviewer -> key of a suspect -> answer, as `ilion.audit.agreement.agree` takes them."""
        found: dict[str, dict[str, str]] = {}
        for suspect, who, answer, _ in self._rows():
            found.setdefault(who, {})[suspect] = answer
        return found

    def agreed(self) -> Decisions:
        """Return the decisions in which all who answered agree; what they dispute is left to them.

        Raises:
            ArtifactError: The audit or the answers are damaged.
        """
        audit = read_audit(self.folder)
        by_key: dict[str, list[tuple[str, str, str]]] = {}
        for suspect, *rest in self._rows():
            by_key.setdefault(suspect, []).append((rest[0], rest[1], rest[2]))
        return Decisions(
            audit.dataset,
            tuple(
                Decision(suspect, each[0][1], ", ".join(who for who, _, _ in each), each[-1][2])  # type: ignore[arg-type]
                for suspect in audit.suspects
                if (each := by_key.get(suspect.key)) and len({answer for _, answer, _ in each}) == 1
            ),
        )
