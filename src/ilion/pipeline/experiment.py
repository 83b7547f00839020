"""What every stage of one experiment works from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from ilion.config import ExperimentConfig
from ilion.evaluation.protocols import results_needed
from ilion.storage import Artifact, locked, open_artifact
from ilion.tasks import RunRecord
from ilion.types import Query, RetrievalDataset

Progress = Callable[[str, int, int], None]
"""Called with the name of the stage, what is done and what there is in all."""


@dataclass(frozen=True)
class Experiment:
    """The settings, the data and the place of one experiment.

    Args:
        config: All settings.
        dataset: The data set.
        queries: Queries of the wanted kind, in order.
        artifacts: Folder of the artifacts.
        record: Keeps the record that ``ilion status`` shows.
        progress: Callback that receives the stage, what is done and how much there is.
        companions: Query id -> text that is asked together with its image.
        notes: Remarks for the reader of the result, one sentence each; stages add to it.
        looked: Names of the shards whose images were looked at before anything was computed.
        sealed: Whether everything is there and is only opened, as by those who search an index while another
            process writes to it: nothing is locked, computed or recorded.
    """

    config: ExperimentConfig
    dataset: RetrievalDataset
    queries: tuple[Query, ...]
    artifacts: Path
    record: RunRecord
    progress: Progress | None = None
    companions: Mapping[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, *sentences: str) -> None:
        """Note what a reader of the result should know, once."""
        self.notes.extend(sentence for sentence in sentences if sentence and sentence not in self.notes)

    looked: set[str] = field(default_factory=set)
    sealed: bool = False

    def locked(self, folder: Path) -> AbstractContextManager[None]:
        """Keep a folder of artifacts to this process, unless it is only read."""
        return nullcontext() if self.sealed else locked(folder)

    def open(self, kind: str, inputs: Mapping[str, object], locks: ExitStack) -> Artifact:
        """Open an artifact and keep it to this process until ``locks`` are released."""
        artifact = open_artifact(self.artifacts, kind, inputs)
        locks.enter_context(self.locked(artifact.folder))
        return artifact

    def tell(self, stage: str) -> Callable[[int, int], None]:
        """Return the progress callback of one stage; what it is told is also recorded."""

        def told(done: int, total: int) -> None:
            if self.progress:
                self.progress(stage, done, total)
            if not self.sealed:
                self.record.passed(stage, done, total)

        return told

    @property
    def results_kept(self) -> int:
        """Results a query: enough that k are left once ignored images are taken out, for every protocol."""
        tables = (self.dataset.ignored, *(p.ignored for p in self.dataset.protocols if p.ignored))
        ignored = max((len(ids) for table in tables for ids in table.values()), default=0)
        return max(self.config.search.k, results_needed(self.dataset)) + ignored
