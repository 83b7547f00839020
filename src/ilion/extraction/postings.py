"""The postings of images, by visual word, stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ilion.extraction.describe import StoredDescription, View
from ilion.extraction.local import LocalDescription
from ilion.searching.asmk import Codebook, index_shard
from ilion.storage import Artifact, TakeStats
from ilion.types import LocalFeatures


@dataclass(frozen=True)
class PostingsDescription(LocalDescription, StoredDescription[View, LocalFeatures]):
    """The local features of an image, as postings of an inverted file.

    Args:
        codebook: The visual words.
        workers: Number of threads that aggregate; 0 means one per core.
    """

    codebook: Codebook = field(kw_only=True)
    workers: int = field(default=0, kw_only=True)
    kind = "asmk"

    def write(
        self, artifact: Artifact, key: str, described: Iterator[tuple[str, LocalFeatures]], stats: TakeStats
    ) -> None:
        """Aggregate and store the features of a shard."""
        index_shard(artifact, key, described, self.codebook, stats, workers=self.workers)
