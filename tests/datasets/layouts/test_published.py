"""Published benchmarks from their own files, judged as their publications do.

The reference is in each case a loop written from the published definition; docs/metrics.md says which
authors' code was compared with as well.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests import benchmark_sets as sets

from ilion.datasets import check_dataset, open_dataset
from ilion.errors import ArtifactError, DatasetError
from ilion.evaluation.protocols import judge_protocols, results_needed
from ilion.storage.matlab import read_mat
from ilion.types import FileSource, NoSource, Ranking, RetrievalDataset

CASES = pytest.mark.parametrize(
    "seeds", [range(3), pytest.param(range(3, 100), marks=pytest.mark.slow)], ids=["few", "many"]
)
"""Random cases of each benchmark."""


def lists_of(ranking: Ranking) -> dict[str, list[str]]:
    return {query: list(found) for query, found in ranking.to_dict().items()}


def trapezoids(ranks: list[int], positives: int) -> float:
    """Return the area under the precision-recall curve; ranks from 1."""
    area = 0.0
    for number, rank in enumerate(sorted(ranks)):
        before = 1.0 if rank == 1 else number / (rank - 1)
        area += (before + (number + 1) / rank) / 2 / positives
    return area


def ranks_in(listed: list[str], positives: set[str], junk: set[str] = frozenset()) -> list[int]:  # type: ignore[assignment]
    counted = [image for image in listed if image not in junk]
    return [rank for rank, image in enumerate(counted, start=1) if image in positives]


@CASES
def test_revisited_oxford_equals_its_definition(tmp_path: Path, seeds: range) -> None:
    for seed in seeds:
        root = tmp_path / str(seed)
        content = sets.revisited(root, seed)
        dataset = open_dataset(root)
        ranking = sets.rank_randomly(dataset, seed)
        listed = lists_of(ranking)
        found = judge_protocols(dataset, ranking, bootstrap=2)
        assert list(found) == ["easy", "medium", "hard"]
        for name, ok, junk in (
            ("easy", ["easy"], ["junk", "hard"]),
            ("medium", ["easy", "hard"], ["junk"]),
            ("hard", ["hard"], ["junk", "easy"]),
        ):
            aps, precisions = [], []
            for query, truth in zip(content["qimlist"], content["gnd"], strict=True):
                right, out = (
                    {content["imlist"][i] for key in keys for i in np.asarray(truth[key]).tolist()}
                    for keys in (ok, junk)
                )
                if right:
                    ranks = ranks_in(listed[query], right, out)
                    aps.append(trapezoids(ranks, len(right)))
                    cuts = [min(max(ranks), kappa) for kappa in (1, 5, 10)]
                    precisions.append([sum(rank <= cut for rank in ranks) / cut for cut in cuts])
            assert found[name].mean == pytest.approx(np.mean(aps), abs=1e-9)
            assert list(found[name].metrics) == ["mP@1", "mP@5", "mP@10"]
            np.testing.assert_allclose(
                list(found[name].metrics.values()), np.mean(precisions, axis=0), atol=1e-9, rtol=0
            )
        assert len(found["hard"].query_ids) == len(content["qimlist"]) - 1


def test_revisited_oxford_has_boxes_landmarks_and_a_note(tmp_path: Path) -> None:
    sets.revisited(tmp_path / "a" / "roxford5k", 0)
    dataset = open_dataset(tmp_path / "a")  # a recipe's folder holds the benchmark's
    assert {query.instance for query in dataset.queries} == {"all_souls", "hall"}
    first = dataset.queries[0].image
    assert first is not None
    assert [(b.x, b.y, b.width, b.height) for b in first.boxes] == [(1.5, 2.0, 38.5, 58.25)]
    assert isinstance(first.source, FileSource)
    assert first.source.path.is_file()
    assert results_needed(dataset) >= 30
    assert not [
        p for p in check_dataset(tmp_path / "a", full_decode=False).problems if p.kind == "missing-file"
    ]
    content = sets.revisited(tmp_path / "b", 1)
    for entry in content["gnd"][:1]:
        entry["easy"] = entry["hard"] = []
    (tmp_path / "b" / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(content))
    dataset = open_dataset(tmp_path / "b")
    assert len(dataset.queries) == 4
    assert any("1 query without a positive" in note for note in dataset.notes)


def test_annotations_without_photos_are_a_set_of_ids(tmp_path: Path) -> None:
    content = sets.revisited(tmp_path, 3)
    for path in (tmp_path / "jpg").iterdir():
        path.unlink()
    (tmp_path / "jpg").rmdir()
    dataset = open_dataset(tmp_path)
    assert not dataset.complete
    assert [record.id for record in dataset.records()] == content["imlist"]
    assert all(isinstance(record.source, NoSource) for record in dataset.records())


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {**c, "gnd": Evil()}, "names builtins.print"),
        (lambda c: {k: v for k, v in c.items() if k != "gnd"}, "no imlist, qimlist and gnd"),
        (lambda c: {**c, "gnd": c["gnd"][1:]}, "4 entries in gnd for 5 queries"),
        (lambda c: {**c, "imlist": c["imlist"][:5]}, "names image"),
        (
            lambda c: {**c, "imlist": [*c["imlist"], c["imlist"][0]]},
            "lists a image twice|lists an image twice",
        ),
        (lambda c: {**c, "imlist": [*c["imlist"], "gone"]}, "lacks 1 photo .* such as 'gone'"),
    ],
)
def test_what_is_wrong_with_annotations_is_said(
    tmp_path: Path, change: Callable[[object], object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = sets.revisited(tmp_path, 0)
    (tmp_path / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(change(content)))
    with pytest.raises(DatasetError, match=message):
        open_dataset(tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("form", ["mat", "pkl"])
@CASES
def test_instre_equals_its_definition(tmp_path: Path, seeds: range, form: str) -> None:
    for seed in seeds:
        root = tmp_path / str(seed)
        content = sets.instre(root, seed, form)
        dataset = open_dataset(root)
        ranking = sets.rank_randomly(dataset, seed)
        found, listed = judge_protocols(dataset, ranking, bootstrap=2), lists_of(ranking)
        rectangles, areas = [], []
        for query, truth in zip(content["qimlist"], content["gnd"], strict=True):
            right = {content["imlist"][i] for i in truth["ok"]}
            ranks = ranks_in(listed[query], right)
            areas.append(trapezoids(ranks, len(right)))
            rectangles.append(sum((n + 1) / rank for n, rank in enumerate(ranks)) / len(right))
        assert found["INSTRE"].mean == pytest.approx(np.mean(areas), abs=1e-9)
        assert found["INSTRE, rectangles"].mean == pytest.approx(np.mean(rectangles), abs=1e-9)
    assert {query.instance for query in dataset.queries} == {f"INSTRE-S1/{n:02d}a_thing" for n in range(4)}
    image = dataset.queries[0].image
    assert image is not None
    assert image.boxes[0].width == 29


@CASES
def test_google_landmarks_equal_their_definition(tmp_path: Path, seeds: range) -> None:
    for seed in seeds:
        root = tmp_path / str(seed)
        solution = sets.gldv2(root, seed)
        dataset = open_dataset(root)
        ranking = sets.rank_randomly(dataset, seed)
        found, listed = judge_protocols(dataset, ranking, bootstrap=2), lists_of(ranking)
        for usage in ("Public", "Private"):
            aps = []
            for query, (part, positives) in solution.items():
                if part == usage:
                    names = [image.rpartition("/")[2].removesuffix(".jpg") for image in listed[query]]
                    ranks = ranks_in(names[:100], set(positives))
                    aps.append(sum((n + 1) / r for n, r in enumerate(ranks)) / min(len(positives), 100))
            assert found[usage.lower()].mean == pytest.approx(np.mean(aps), abs=1e-9)
    assert all(query.instance in "01234" for query in dataset.queries)
    assert any("1 query without an image in the index" in note for note in dataset.notes)


def test_a_cut_off_is_kept_where_fewer_results_are_left(tmp_path: Path) -> None:
    solution = sets.gldv2(tmp_path, 0)
    dataset = open_dataset(tmp_path)
    whole = sets.rank_randomly(dataset, 0)
    left = np.minimum(whole.counts, 2)
    few = replace(whole, indices=whole.indices[:, :2], similarities=whole.similarities[:, :2], counts=left)
    found, listed = judge_protocols(dataset, few, bootstrap=2), lists_of(few)
    assert {(name, judged.k) for name, judged in found.items()} == {("private", 100), ("public", 100)}
    aps = []
    for query, (part, positives) in solution.items():
        if part == "Public":
            names = [image.rpartition("/")[2].removesuffix(".jpg") for image in listed[query]]
            ranks = ranks_in(names, set(positives))
            aps.append(sum((n + 1) / r for n, r in enumerate(ranks)) / min(len(positives), 100))
    assert found["public"].mean == pytest.approx(np.mean(aps), abs=1e-9)


def assert_metric_learning(
    dataset: RetrievalDataset, groups: dict[str, str], gallery: dict[str, str]
) -> None:
    """Compare with R@n, R-precision and MAP@R of Musgrave et al. (ECCV 2020), written out."""
    ranking = sets.rank_randomly(dataset, len(groups))
    result, listed = judge_protocols(dataset, ranking, bootstrap=2)["metric learning"], lists_of(ranking)
    values: dict[str, list[float]] = {name: [] for name in result.metrics}
    for query, group in groups.items():
        right = {image for image, other in gallery.items() if other == group and image != query}
        if not right:
            assert query not in listed
            continue
        hits = [image in right for image in listed[query] if image != query]
        r = len(right)
        for name in values:
            if name.startswith("R@"):
                values[name].append(float(any(hits[: int(name[2:])])))
        values["P@R"].append(sum(hits[:r]) / r)
        values["MAP@R"].append(sum(sum(hits[: i + 1]) / (i + 1) for i in range(r) if hits[i]) / r)
    assert {"R@1", "P@R", "MAP@R"} <= set(values)
    for name, each in values.items():
        assert result.metrics[name] == pytest.approx(np.mean(each), abs=1e-9), name


@pytest.mark.parametrize("name", ["sop", "cub", "cars", "cars split", "in_shop"])
@CASES
def test_metric_learning_equals_its_definition(tmp_path: Path, seeds: range, name: str) -> None:
    for seed in seeds:
        root = tmp_path / str(seed)
        if name == "in_shop":
            queries, gallery = sets.in_shop(root, seed)
        elif name == "cars split":
            queries = gallery = sets.cars(root, seed, split=True)
        else:
            queries = gallery = getattr(sets, name)(root, seed)
        dataset = open_dataset(root)
        assert [record.id for record in dataset.records()] == list(gallery)
        assert_metric_learning(dataset, queries, gallery)


def test_every_photo_of_a_class_leaves_itself_out(tmp_path: Path) -> None:
    for number, name in enumerate(sets.sop(tmp_path, 0)):
        (tmp_path / name).write_text(f"no picture {number}")
    dataset = open_dataset(tmp_path)
    assert all(dataset.ignored[query.id] == (query.id,) for query in dataset.queries)
    assert "mug_final/alone.JPG" not in dataset.positives
    assert "1 photo is no query, as its class has no other" in dataset.notes
    kinds = {problem.kind for problem in check_dataset(tmp_path, full_decode=False).problems}
    assert not kinds & {"query-in-database", "missing-file", "no-query", "no-positive"}


@CASES
def test_composed_queries_are_averaged_over_objects_first(tmp_path: Path, seeds: range) -> None:
    for seed in seeds:
        root = tmp_path / str(seed) / "icir"
        queries, database = sets.icir(root, seed)
        dataset = open_dataset(root)
        ranking = sets.rank_randomly(dataset, seed, dataset.among)
        images = [query.id for query in dataset.queries if query.image is not None]
        found = judge_protocols(dataset, ranking.take(images), bootstrap=2)
        listed = lists_of(ranking)
        by_object: dict[str, list[float]] = {}
        for image, text, instance in queries:
            right = {name for name, other, of in database if (other, of) == (text, instance)}
            if right:
                ap = trapezoids(ranks_in(listed[f"{image}#{text}"], right), len(right))
                by_object.setdefault(instance, []).append(ap)
        assert found["macro"].mean == pytest.approx(
            np.mean([np.mean(a) for a in by_object.values()]), abs=1e-9
        )
        assert found["micro"].mean == pytest.approx(
            np.mean([ap for aps in by_object.values() for ap in aps]), abs=1e-9
        )
    assert dataset.companions[images[0]] == images[0].partition("#")[2]
    assert sum(query.text is not None for query in dataset.queries) == len(images)


@CASES
def test_inquire_equals_its_definition(tmp_path: Path, seeds: range) -> None:
    for seed in seeds:
        root = tmp_path / str(seed)
        truth = sets.inquire(root, seed)
        dataset = open_dataset(root)
        ranking = sets.rank_randomly(dataset, seed)
        found, listed = judge_protocols(dataset, ranking, bootstrap=2), lists_of(ranking)
        for split, queries in truth.items():
            aps, gains, firsts = [], [], []
            for query, positives in queries.items():
                ranks = ranks_in(listed[query][:50], set(positives))
                aps.append(sum((n + 1) / r for n, r in enumerate(ranks)) / min(50, len(positives)))
                best = sum(1 / np.log2(r + 1) for r in range(1, min(50, len(positives)) + 1))
                gains.append(sum(1 / np.log2(r + 1) for r in ranks) / best)
                firsts.append(1 / ranks[0] if ranks else 0.0)
            assert found[split].mean == pytest.approx(np.mean(aps), abs=1e-9)
            assert found[split].metrics["nDCG@50"] == pytest.approx(np.mean(gains), abs=1e-9)
            assert found[split].metrics["RR@50"] == pytest.approx(np.mean(firsts), abs=1e-9)
    assert dataset.labels["iconic_group"]["0"] == "Birds"
    assert all(query.text and "a bird, " in query.text for query in dataset.queries)


def test_lists_that_lead_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    sets.sop(tmp_path / "sop", 0)
    path = tmp_path / "sop" / "Ebay_test.txt"
    path.write_text(path.read_text().replace("mug_final/3_3.JPG", "../3_3.JPG"))
    with pytest.raises(DatasetError, match=r"'\.\./3_3\.JPG' leads out"):
        open_dataset(tmp_path / "sop")
    sets.gldv2(tmp_path / "gld", 0)
    path = tmp_path / "gld" / "retrieval_solution_v2.1.csv"
    path.write_text(path.read_text() + "../../etc,00000000abcdef01,Public\n")
    with pytest.raises(DatasetError, match="no id of a photo"):
        open_dataset(tmp_path / "gld")


def test_two_benchmarks_in_one_folder_are_not_guessed(tmp_path: Path) -> None:
    sets.revisited(tmp_path / "one", 0)
    sets.revisited(tmp_path / "two", 0)
    with pytest.raises(DatasetError, match="holds no"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("packed", [True, False])
def test_matlab_files_are_read_as_plain_values(tmp_path: Path, packed: bool) -> None:
    values = {
        "text": "Bärlauch",
        "numbers": np.arange(6.0).reshape(2, 3),
        "cell": ["a", "longer text", np.array([[7]], np.uint8)],
        "rows": [{"x": np.array([[1, 2]], np.int32), "name": "p"}, {"x": np.zeros((0, 0)), "name": ""}],
    }
    path = tmp_path / "a.mat"
    path.write_bytes(sets.mat_file(values, packed))
    found = read_mat(path)
    assert found["text"] == "Bärlauch"
    np.testing.assert_array_equal(found["numbers"], values["numbers"])
    assert found["cell"][:2] == ["a", "longer text"]
    assert found["cell"][2].tolist() == [[7]]
    assert [row["name"] for row in found["rows"]] == ["p", ""]
    assert found["rows"][0]["x"].tolist() == [[1, 2]]
    scipy = pytest.importorskip("scipy.io")
    other = scipy.loadmat(path)
    np.testing.assert_array_equal(other["numbers"], values["numbers"])
    assert [str(c[0]) for c in other["cell"][0][:2]] == ["a", "longer text"]
    scipy.savemat(tmp_path / "b.mat", {"n": np.arange(5, dtype=np.int64), "s": "text"}, do_compression=packed)
    assert read_mat(tmp_path / "b.mat")["n"].tolist() == [[0, 1, 2, 3, 4]]
    assert read_mat(tmp_path / "b.mat")["s"] == "text"


@pytest.mark.parametrize("seed", range(60))
def test_damaged_matlab_files_are_refused_and_never_hang(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(sets.mat_file({"a": [{"x": "text", "y": np.eye(2)}], "b": ["c"]}, packed=seed % 2 == 0))
    for _ in range(4):
        data[int(rng.integers(124, len(data)))] = int(rng.integers(256))
    path = tmp_path / "a.mat"
    path.write_bytes(bytes(data[: int(rng.integers(130, len(data) + 1))]))
    with contextlib.suppress(ArtifactError):
        read_mat(path)
