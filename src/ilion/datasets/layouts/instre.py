"""INSTRE with the queries of Iscen et al. (CVPR 2017): ``gnd_instre.mat`` or ``.pkl`` beside the photos.

``imlist`` and ``qimlist`` are paths below ``jpg/`` or the folder itself; ``gnd`` has for each query ``ok``
(indices of the positives) and ``bbx``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ilion.datasets.layouts.base import LAYOUTS, Layout
from ilion.datasets.layouts.revisited import Annotations, read_pickle
from ilion.datasets.published import check_files, find_first
from ilion.errors import ArtifactError, DatasetError
from ilion.storage.matlab import read_mat
from ilion.types import BenchmarkProtocol, RetrievalDataset

FILES = ("gnd_instre.mat", "gnd_instre.pkl")


@LAYOUTS.register("instre", note="INSTRE")
class Instre(Layout):
    """The layout of INSTRE. Without photos, only ids are known."""

    needs = " or ".join(FILES)

    def recognises(self, folder: Path) -> bool:
        """Return whether the annotations are there."""
        return find_first(folder, FILES) is not None

    def read(self, folder: Path) -> RetrievalDataset:
        """Read annotations and list the photos."""
        path = find_first(folder, FILES)
        assert path is not None
        try:
            matlab = path.suffix == ".mat"
            content: Any = read_mat(path) if matlab else read_pickle(path)
        except ArtifactError as error:
            raise DatasetError(str(error)) from error
        tables = Annotations(content, path, first=int(matlab))
        _corners(tables.truth)
        names = [*tables.images, *tables.queries]
        home = next((h for h in (path.parent / "jpg", path.parent) if (h / names[0]).is_file()), None)
        if home is not None:
            check_files(home, names, path.name)
        positives = {q: tables.named(found.get("ok", ()), q) for q, found in tables.truth.items()}
        ignored = {q: tables.named(found.get("junk", ()), q) for q, found in tables.truth.items()}
        protocols = (
            BenchmarkProtocol("INSTRE", "revisited", 0, ("mP@1", "mP@5", "mP@10")),
            BenchmarkProtocol("INSTRE, rectangles", "trec", 0, ("R@1", "R@10", "R@100")),
        )
        files = None if home is None else {name: home / name for name in names}
        return tables.dataset("instre", files, positives, ignored, protocols)


def _corners(truth: dict[str, dict[str, Any]]) -> None:
    """Bring boxes to corners: if the right edge of any is left of its left one, all have sizes instead."""
    boxes = {q: np.asarray(found.get("bbx", ()), np.float64).ravel() for q, found in truth.items()}
    full = {q: box for q, box in boxes.items() if len(box) == 4}
    if any(box[2] <= box[0] or box[3] <= box[1] for box in full.values()):
        for query, (x, y, width, height) in full.items():
            truth[query]["bbx"] = [x, y, x + width, y + height]
