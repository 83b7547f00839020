"""Where the real photos are, and what a run has stored, for benchmarks that need them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ilion import storage
from ilion.datasets import open_dataset
from ilion.extraction.photos import read_photo_queries
from ilion.searching import local
from ilion.searching.local.settings import WORDS
from ilion.types import RetrievalDataset


@dataclass(frozen=True, eq=False)
class RunPostings:
    """What a finished run of the default has stored.

    Args:
        home: Folder of the postings.
        keys: Their shards.
        database: The postings.
        settings: How they were made.
        dataset: The data set of the run.
    """

    home: Path
    keys: list[str]
    database: local.Postings
    settings: local.LocalSettings
    dataset: RetrievalDataset


def postings_of(run: Path) -> RunPostings:
    """Open the postings of a finished run of the default, whose data set is still there."""
    [home] = (run / "artifacts").glob("postings-????????????????")
    stored = storage.load_artifact(home, "postings")
    keys = sorted(path.name.removesuffix(".ids.json") for path in home.glob("*.ids.json"))
    [words] = (n for n in WORDS if local.shipped_model(n).digest == stored.inputs["model"])
    database = local.Postings(stored, keys, words)
    path = storage.runs.read_run(run)["provenance"]["config"]["dataset"]["path"]
    settings = local.LocalSettings(stored.inputs["budget"], words=words)
    return RunPostings(home, keys, database, settings, open_dataset(Path(path)))


def queries_of(run: Path) -> dict[str, local.QuerySpots]:
    """Read the described queries of a finished run of the default."""
    [home] = (run / "artifacts").glob("postings-queries-*")
    [key] = [path.name.removesuffix(".ids.json") for path in home.glob("*.ids.json")]
    return read_photo_queries(storage.load_artifact(home), key)


def grocery() -> Path:
    """Return the folder of the grocery photos; without them the benchmark ends and says so."""
    checkout = Path(__file__).resolve().parents[1]
    given = os.environ.get("ILION_SHARED")
    for home in [Path(given)] if given else [checkout / "shared", checkout.parent / "shared"]:
        if (home / "data" / "grocery" / "ilias_core").is_dir():
            return home / "data" / "grocery"
    print("skipped: no grocery photos; set ILION_SHARED to the folder that holds data/grocery")
    sys.exit(0)
