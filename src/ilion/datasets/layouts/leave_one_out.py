"""Metric learning: every photo of the test classes is a query, itself left out.

Stanford Online Products (Song et al., 2016), CUB-200-2011 and Cars196 (the second half of the classes), and
In-Shop (Liu et al., 2016), which has queries of its own and a gallery.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ilion.datasets.layouts.base import LAYOUTS, Layout
from ilion.datasets.published import (
    check_files,
    file_shards,
    find_first,
    home_of,
    leave_one_out,
    metric_learning,
    read_rows,
    with_queries,
)
from ilion.errors import ArtifactError, DatasetError
from ilion.opening import full_path
from ilion.storage.matlab import read_mat
from ilion.types import FileSource, ImageRecord, Query, RetrievalDataset
from ilion.wording import counted

PARTITIONS = ("list_eval_partition.txt", "Eval/list_eval_partition.txt")


class LeaveOneOut(Layout):
    """Base of the sets in which every photo is a query."""

    title: ClassVar[str]
    cutoffs: ClassVar[tuple[int, ...]]
    """Cut-offs of R@n in publications."""

    @abstractmethod
    def classes(self, home: Path) -> Mapping[str, str]:
        """Return path of a test photo below the folder -> its class."""

    @abstractmethod
    def home(self, folder: Path) -> Path | None:
        """Return the folder of the set, at or below a folder; None if it is none."""

    def recognises(self, folder: Path) -> bool:
        """Return whether the lists of the set are there."""
        return self.home(folder) is not None

    def read(self, folder: Path) -> RetrievalDataset:
        """Read the lists of photos and classes."""
        home = self.home(folder)
        assert home is not None
        groups = self.classes(home)
        check_files(home, groups, self.title)
        positives, ignored = leave_one_out(groups)
        alone = len(groups) - len(positives)
        return RetrievalDataset(
            name=full_path(home).name,
            root=home,
            queries=tuple(
                Query(image, groups[image], ImageRecord(image, FileSource(home / image)))
                for image in positives
            ),
            database=with_queries(file_shards("photos", home, list(groups)), positives, str(home)),
            positives=positives,
            ignored=ignored,
            notes=(
                counted(
                    alone,
                    "photo is no query, as its class has no other",
                    "photos are no queries, as their classes have no other",
                ),
            )
            * (alone > 0),
            protocols=(metric_learning(positives, self.cutoffs),),
        )


@LAYOUTS.register("sop", note="Stanford Online Products")
class OnlineProducts(LeaveOneOut):
    """Stanford Online Products: ``Ebay_test.txt`` beside the folders of photos."""

    needs, title, cutoffs = "Ebay_test.txt", "Ebay_test.txt", (1, 10, 100, 1000)

    def home(self, folder: Path) -> Path | None:
        """Return the folder of ``Ebay_test.txt``."""
        return home_of(folder, "Ebay_test.txt")

    def classes(self, home: Path) -> Mapping[str, str]:
        """Return the photos of the test split."""
        path = home / "Ebay_test.txt"
        header, *lines = [line.split() for line in read_rows(path)] or [[]]
        if header != ["image_id", "class_id", "super_class_id", "path"]:
            raise DatasetError(
                f"{path}: begins with {header}, not with image_id class_id super_class_id path"
            )
        return _table(path, [(line[3], line[1]) for line in lines if _fits(path, line, 4)])


@LAYOUTS.register("cub", note="CUB-200-2011")
class Birds(LeaveOneOut):
    """CUB-200-2011: two lists and ``images/``; the classes 101 to 200 are tested."""

    needs, title, cutoffs = "images.txt and image_class_labels.txt", "images.txt", (1, 2, 4, 8, 10, 100)

    def home(self, folder: Path) -> Path | None:
        """Return the folder of the two lists."""
        return home_of(folder, "images.txt", "image_class_labels.txt")

    def classes(self, home: Path) -> Mapping[str, str]:
        """Return the photos of the second half of the classes."""
        path, labels = home / "images.txt", home / "image_class_labels.txt"
        lines = [line.split() for line in read_rows(labels)]
        label = {line[0]: line[1] for line in lines if _fits(labels, line, 2)}
        photos = [line.split() for line in read_rows(path)]
        unknown = [line[0] for line in photos if _fits(path, line, 2) and line[0] not in label]
        if unknown:
            raise DatasetError(f"{labels}: has no class of photo {unknown[0]}; fetch it again")
        wanted = second_half(label.values(), labels)
        return _table(
            path, [(f"images/{line[1]}", label[line[0]]) for line in photos if int(label[line[0]]) in wanted]
        )


@LAYOUTS.register("cars", note="Cars196")
class Cars(LeaveOneOut):
    """Cars196: ``cars_annos.mat`` with ``car_ims/``, or ``cars_train`` and ``cars_test`` with their lists."""

    needs, title = "cars_annos.mat or cars_test_annos_withlabels.mat", "the annotations"
    cutoffs = (1, 2, 4, 8, 10, 100)

    def home(self, folder: Path) -> Path | None:
        """Return the folder of the annotations."""
        return home_of(folder, "cars_annos.mat") or home_of(folder, "cars_test_annos_withlabels.mat")

    def classes(self, home: Path) -> Mapping[str, str]:
        """Return the photos of the second half of the classes."""
        whole = home / "cars_annos.mat"
        files = {whole: ""}
        if not whole.is_file():
            train = next(
                (
                    p
                    for p in (home / "cars_train_annos.mat", home / "devkit" / "cars_train_annos.mat")
                    if p.is_file()
                ),
                None,
            )
            if train is None:
                raise DatasetError(
                    f"{home}: lacks cars_train_annos.mat, which lists half of the photos; fetch it"
                )
            files = {train: "cars_train/", home / "cars_test_annos_withlabels.mat": "cars_test/"}
        rows = [(f"{folder}{name}", number) for path, folder in files.items() for name, number in _cars(path)]
        wanted = second_half([number for _, number in rows], home)
        return _table(home, [(name, str(number)) for name, number in rows if int(number) in wanted])


@LAYOUTS.register("in-shop", note="In-Shop (DeepFashion)")
class InShop(Layout):
    """In-Shop: ``list_eval_partition.txt``; queries are searched in a gallery of other photos."""

    needs = "list_eval_partition.txt with the partition query"

    def recognises(self, folder: Path) -> bool:
        """Return whether the list is there and has queries."""
        path = find_first(folder, PARTITIONS)
        return path is not None and any(line.split()[-1:] == ["query"] for line in read_rows(path))

    def read(self, folder: Path) -> RetrievalDataset:
        """Read queries and gallery."""
        path = find_first(folder, PARTITIONS)
        assert path is not None
        above = path.parent.parent if path.parent.name == "Eval" else path.parent
        parts: dict[str, dict[str, str]] = {"query": {}, "gallery": {}, "train": {}}
        for line in map(str.split, read_rows(path)[2:]):
            if _fits(path, line, 3):
                if line[2] not in parts:
                    raise DatasetError(
                        f"{path}: {line[2]!r} is no partition; they are query, gallery and train"
                    )
                parts[line[2]][line[0]] = line[1]
        home = next(
            (h for h in (above, above / "Img") if (h / next(iter(parts["query"]), "")).is_file()), above
        )
        check_files(home, (*parts["query"], *parts["gallery"]), path.name)
        members: dict[str, list[str]] = {}
        for image, item in parts["gallery"].items():
            members.setdefault(item, []).append(image)
        positives = {image: tuple(members[item]) for image, item in parts["query"].items() if item in members}
        return RetrievalDataset(
            name=full_path(above).name,
            root=above,
            queries=tuple(
                Query(image, parts["query"][image], ImageRecord(image, FileSource(home / image)))
                for image in positives
            ),
            database=with_queries(file_shards("gallery", home, list(parts["gallery"])), positives, str(path)),
            positives=positives,
            protocols=(metric_learning(positives, (1, 10, 20, 30, 40, 50, 100)),),
        )


def second_half(classes: Any, path: Path) -> range:
    """Return the numbers of the classes that are tested: the second half, as in Song et al. (2016)."""
    try:
        most = max(int(number) for number in classes)
    except ValueError as error:
        raise DatasetError(f"{path}: classes are no numbers, or there are none ({error})") from error
    return range(most // 2 + 1, most + 1)


def _cars(path: Path) -> list[tuple[str, int]]:
    """Return name and class of the photos in a file of annotations."""
    try:
        rows = read_mat(path).get("annotations", [])
        key = "relative_im_path" if rows and "relative_im_path" in rows[0] else "fname"
        return [(str(row[key]), int(row["class"].ravel()[0])) for row in rows]
    except (ArtifactError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise DatasetError(f"{path}: holds no annotations of cars with their class ({error!r})") from error


def _fits(path: Path, line: list[str], size: int) -> bool:
    if len(line) != size:
        raise DatasetError(
            f"{path}: the line {' '.join(line)!r:.80} has {counted(len(line), 'value')}, not {size}"
        )
    return True


def _table(path: Path, rows: list[tuple[str, str]]) -> dict[str, str]:
    table = dict(rows)
    if len(table) != len(rows):
        raise DatasetError(f"{path}: lists a photo twice; ids must be unique")
    return table
