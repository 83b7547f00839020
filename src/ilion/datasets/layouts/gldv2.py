"""Google Landmarks v2, retrieval (Weyand et al., CVPR 2020): ``retrieval_solution_v2.1.csv`` and the photos.

``index/`` and ``test/`` hold the photos as ``a/b/c/<id>.jpg``; ``index.csv`` lists the database, and
``index_image_to_landmark.csv``, if it is there, says which landmark an image shows.
"""

from __future__ import annotations

from pathlib import Path

from ilion.datasets.layouts.base import LAYOUTS, Layout
from ilion.datasets.published import check_files, file_shards, home_of, read_csv, with_queries
from ilion.datasets.shards import IdShard
from ilion.errors import DatasetError
from ilion.opening import full_path
from ilion.types import BenchmarkProtocol, FileSource, ImageRecord, NoSource, Query, RetrievalDataset, Shard
from ilion.wording import counted

SOLUTION, INDEX, LANDMARKS = "retrieval_solution_v2.1.csv", "index.csv", "index_image_to_landmark.csv"


@LAYOUTS.register("gldv2", note="Google Landmarks v2, retrieval")
class GoogleLandmarks(Layout):
    """The layout of Google Landmarks v2. Without ``index/``, only ids are known."""

    needs = f"{SOLUTION} and {INDEX}"

    def recognises(self, folder: Path) -> bool:
        """Return whether solution and index are there."""
        return home_of(folder, SOLUTION, INDEX) is not None

    def read(self, folder: Path) -> RetrievalDataset:
        """Read the tables; photos are named by their ids."""
        home = home_of(folder, SOLUTION, INDEX)
        assert home is not None
        images = [row["id"] for row in read_csv(home / INDEX, "id")]
        landmarks = {}
        if (home / LANDMARKS).is_file():
            landmarks = {
                row["id"]: row["landmark_id"] for row in read_csv(home / LANDMARKS, "id", "landmark_id")
            }
        usage, positives = {}, {}
        ignored = 0
        for row in read_csv(home / SOLUTION, "id", "images", "Usage"):
            found = [name for name in row["images"].split() if name != "None"]
            for name in (row["id"], *found):
                if not name.isalnum() or len(name) < 3:
                    raise DatasetError(f"{home / SOLUTION}: {name!r} is no id of a photo; fetch it again")
            if found:
                usage[row["id"]], positives[row["id"]] = row["Usage"], tuple(dict.fromkeys(found))
            ignored += not found
        for name in set(usage.values()) - {"Public", "Private"}:
            raise DatasetError(f"{home / SOLUTION}: Usage is {name!r}, not Public or Private; fetch it again")
        there = (home / "index").is_dir()
        if there:
            check_files(home / "test", map(_file, positives), SOLUTION)
        shards: tuple[Shard, ...] = (IdShard("index", tuple(images)),)
        if there:
            shards = file_shards("index", home / "index", [_file(image) for image in images])
            positives = {q: tuple(map(_file, found)) for q, found in positives.items()}
            landmarks = {_file(image): name for image, name in landmarks.items()}
        queries = tuple(
            # queries of one landmark are one object: without a table, those with the same first positive
            Query(
                query,
                landmarks.get(found[0], found[0]),
                ImageRecord(query, FileSource(home / "test" / _file(query)) if there else NoSource(query)),
            )
            for query, found in positives.items()
        )
        protocols = tuple(
            BenchmarkProtocol(
                name.lower(),
                "ilias",
                100,
                (),
                {q: found for q, found in positives.items() if usage[q] == name},
            )
            for name in ("Private", "Public")
        )
        return RetrievalDataset(
            name=full_path(home).name,
            root=home,
            queries=queries,
            database=with_queries(shards, positives, str(home)),
            positives=positives,
            notes=(
                f"left out, as published: {counted(ignored, 'query', 'queries')} without an image "
                "in the index",
            )
            * (ignored > 0),
            complete=there,
            protocols=protocols,
        )


def _file(image: str) -> str:
    """Return the path of a photo: three folders named by the first letters of the id.

    >>> _file("0123456789abcdef")
    '0/1/2/0123456789abcdef.jpg'
    """
    return f"{image[0]}/{image[1]}/{image[2]}/{image}.jpg"
