"""Queries of the local search, stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ilion import storage
from ilion.errors import ArtifactError
from ilion.extraction.photos import read_photo_queries


def test_stored_queries_of_another_version_are_said(tmp_path: Path) -> None:
    artifact = storage.open_artifact(tmp_path, "postings-queries", {})
    storage.write_arrays(artifact.folder / "q.npz", {"counts": np.array([1]), "parts": np.zeros((1, 4))})
    storage.write_head(artifact.folder / "q.ids.json", {"ids": ["a"]}, [artifact.folder / "q.npz"])
    with pytest.raises(ArtifactError, match=r"q\.npz: damaged \(lacks frames, .*tones.*delete it and run"):
        read_photo_queries(artifact, "q")
