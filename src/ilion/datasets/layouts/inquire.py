"""INQUIRE, queries of experts in words (Vendrow et al., NeurIPS 2024): ``inquire/`` beside ``inat24/``.

``inquire_queries_test.csv`` and ``inquire_queries_val.csv`` hold the queries, ``inquire_annotations.csv``
pairs of query and image. The photos lie below ``train``, those of the small set for re-ranking below
``train_rerank``.
"""

from __future__ import annotations

import os
from pathlib import Path

from ilion.datasets.layouts.base import LAYOUTS, Layout
from ilion.datasets.listing import is_image_name
from ilion.datasets.published import file_shards, home_of, read_csv, with_queries
from ilion.errors import DatasetError
from ilion.opening import full_path
from ilion.types import BenchmarkProtocol, Query, RetrievalDataset
from ilion.wording import counted

ANNOTATIONS = "inquire_annotations.csv"
AXES = ("supercategory", "category", "iconic_group")


@LAYOUTS.register("inquire", note="INQUIRE, text queries")
class Inquire(Layout):
    """The layout of INQUIRE."""

    needs = f"{ANNOTATIONS} and inquire_queries_test.csv"

    def recognises(self, folder: Path) -> bool:
        """Return whether annotations and a list of queries are there."""
        return home_of(folder, ANNOTATIONS, "inquire_queries_test.csv") is not None

    def read(self, folder: Path) -> RetrievalDataset:
        """Read the tables and list the photos."""
        tables = home_of(folder, ANNOTATIONS, "inquire_queries_test.csv")
        assert tables is not None
        homes = (tables, tables.parent / "inat24", tables.parent, folder / "inat24")
        photos = next(
            (home / name for name in ("train", "train_rerank") for home in homes if (home / name).is_dir()),
            None,
        )
        if photos is None:
            raise DatasetError(f"{folder}: has no folder inat24/train with the photos; fetch them")
        names = _images(photos)
        there = {f"train/{name}" for name in names}
        found: dict[str, list[str]] = {}
        for row in read_csv(tables / ANNOTATIONS, "query_id", "image_path"):
            found.setdefault(row["query_id"], []).append(row["image_path"])
        positives = {query: tuple(dict.fromkeys(images)) for query, images in found.items()}
        queries: list[Query] = []
        labels: dict[str, dict[str, str]] = {axis: {} for axis in AXES}
        protocols = []
        for split in ("test", "val"):
            path = tables / f"inquire_queries_{split}.csv"
            rows = read_csv(path, "query_id", "query_text") if path.is_file() else []
            asked = [row for row in rows if row["query_id"] in positives]
            queries += [Query(row["query_id"], row["query_id"], text=row["query_text"]) for row in asked]
            for row in asked:
                for axis in AXES:
                    labels[axis][row["query_id"]] = row.get(axis) or ""
            own = {row["query_id"]: positives[row["query_id"]] for row in asked}
            protocols.append(BenchmarkProtocol(split, "ilias", 50, ("P@50", "nDCG@50", "RR@50"), own))
        wanted = {image for query in queries for image in positives[query.id]}
        lost = len(wanted - there)
        return RetrievalDataset(
            name=full_path(tables).name,
            root=tables,
            queries=tuple(queries),
            database=with_queries(file_shards("photos", photos, names, "train/"), positives, str(tables)),
            positives={query.id: positives[query.id] for query in queries},
            labels=labels,
            notes=(
                f"{lost:,} of {counted(len(wanted), 'positive')} not among the photos, which "
                "counts as missed",
            )
            * (lost > 0),
            protocols=tuple(protocols),
        )


def _images(folder: Path) -> list[str]:
    """Return the paths of all photos, two levels deep, sorted."""
    names = []
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.is_dir():
            names += sorted(f"{entry.name}/{e.name}" for e in os.scandir(entry.path) if is_image_name(e.name))
        elif is_image_name(entry.name):
            names.append(entry.name)
    return names
