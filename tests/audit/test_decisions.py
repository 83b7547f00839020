"""Decisions become amendments, are remembered, and are taken back to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilion.audit.decisions import (
    Decision,
    amendments_of,
    apply_decisions,
    changes_if_true,
    read_decisions,
    settled_keys,
    undo,
)
from ilion.audit.suspects import (
    ANSWERS,
    KINDS,
    Audit,
    Numbers,
    Suspect,
    order,
    read_audit,
    to_plain,
    unsettled,
    write_audit,
)
from ilion.datasets import open_dataset
from ilion.datasets.amendments import Amendment, amend, read_amendments, versions
from ilion.errors import ArtifactError, DatasetError
from ilion.types import Query, RetrievalDataset

NOW = "2026-11-29T12:00:00+00:00"


def decide(suspect: Suspect, answer: str, who: str = "aki") -> Decision:
    return Decision(suspect, answer, who, NOW)  # type: ignore[arg-type]


def of(kind: str, photos: tuple[str, ...] = ("p.jpg",), name: str = "mug", **more: object) -> Suspect:
    return Suspect(kind, photos, name, 0.9, **more)  # type: ignore[arg-type]


def changes(suspect: Suspect, answer: str, **more: bool) -> set[tuple[str, str, str]]:
    return {(r.file, r.object, r.role) for r in amendments_of(decide(suspect, answer), **more)}


def test_what_answers_change() -> None:
    wrong = of("wrong-label", other="cup")
    assert changes(wrong, "same") == {("p.jpg", "mug", "")}
    assert changes(wrong, "different") == {("p.jpg", "mug", "none")}
    assert changes(wrong, "other") == {("p.jpg", "mug", "none"), ("p.jpg", "cup", "positive")}
    assert changes(wrong, "unsure") == {("p.jpg", "mug", "")}
    assert changes(wrong, "unsure", unsure_ignored=True) == {("p.jpg", "mug", "ignored")}
    assert changes(of("unlabelled"), "same") == {("p.jpg", "mug", "positive")}
    assert changes(of("unlabelled"), "different") == {("p.jpg", "mug", "")}
    alike = of("same-object", ("q1", "q2"), "a", other="b", roles=((("a", "query"),), (("b", "query"),)))
    assert changes(alike, "same") == {("q1", "b", "ignored"), ("q2", "a", "ignored")}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("query", None, {("b", "mug", "ignored")}),
        (None, "query", {("a", "mug", "ignored")}),
        ("query", "positive", {("b", "mug", "ignored")}),
        ("positive", "query", {("a", "mug", "ignored")}),
        ("positive", "positive", {("b", "mug", "ignored")}),
        ("positive", None, {("b", "mug", "ignored")}),
        (None, "positive", {("a", "mug", "ignored")}),
        (None, None, {("a", "", "")}),
    ],
)
def test_of_two_photos_that_are_one_one_counts(
    first: str | None, second: str | None, expected: set[tuple[str, str, str]]
) -> None:
    roles = tuple(((("mug", role),) if role else ()) for role in (first, second))
    assert changes(of("duplicate", ("a", "b"), "", roles=roles), "duplicate") == expected


def test_a_copy_under_another_object_counts_for_neither() -> None:
    roles = ((("mug", "positive"),), (("cup", "positive"),))
    suspect = of("duplicate", ("a", "b"), "", roles=roles)
    assert set(changes_if_true(suspect)) == {("b", "mug", "ignored"), ("a", "cup", "ignored")}
    assert changes_if_true(of("duplicate", ("a", "b"), "", roles=roles, relation="burst")) == []


def tiny() -> RetrievalDataset:
    queries = tuple(Query(name, name, text=name) for name in ("mug", "cup"))
    return RetrievalDataset("t", Path(), queries, (), {"mug": ("a", "b"), "cup": ("c",)}, {"mug": ("x",)})


def test_amendments_change_the_ground_truth_by_id() -> None:
    rows = [
        Amendment("a", "mug", "none"),
        Amendment("a", "cup", "positive"),
        Amendment("x", "mug", "positive"),
        Amendment("b", "mug", "ignored"),
        Amendment("z", "no such", "positive"),
        Amendment("a", "cup", ""),
    ]
    found = amend(tiny(), rows)
    assert found.positives == {"mug": ("x",), "cup": ("c", "a")}
    assert found.ignored == {"mug": ("b",)}
    assert "no such" in " ".join(found.notes)
    assert amend(tiny(), []) == tiny()
    lost = amend(tiny(), [Amendment("c", "cup", "none")])
    assert [q.id for q in lost.queries] == ["mug"]
    assert "left out" in " ".join(lost.notes)


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcx"),
            st.sampled_from(["mug", "cup"]),
            st.sampled_from(["positive", "ignored", "none"]),
        ),
        max_size=8,
    )
)
def test_no_photo_is_ever_both(rows: list[tuple[str, str, str]]) -> None:
    found = amend(tiny(), [Amendment(a, b, c) for a, b, c in rows])  # type: ignore[arg-type]
    last = {(a, b): c for a, b, c in rows}
    for query in found.queries:
        positives, ignored = found.positives[query.id], found.ignored.get(query.id, ())
        assert not set(positives) & set(ignored)
        assert len(set(positives)) == len(positives)
        for (photo, name), role in last.items():
            if name == query.instance:
                assert (photo in positives, photo in ignored) == (role == "positive", role == "ignored")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_tables_are_the_same_bytes_after_undo(tiny_dataset: Path) -> None:
    before = snapshot(tiny_dataset)
    dataset = open_dataset(tiny_dataset)
    query = dataset.queries[0]
    photo = dataset.positives[query.id][0]
    first = of("wrong-label", (photo,), query.instance)
    done = apply_decisions(tiny_dataset, [decide(first, "different")])
    assert done.labels == 1
    assert done.table is not None
    assert photo not in open_dataset(tiny_dataset).positives.get(query.id, ())
    assert photo in open_dataset(tiny_dataset, amended=False).positives[query.id]
    once = snapshot(tiny_dataset)
    assert {name: data for name, data in once.items() if name in before} == before
    assert apply_decisions(tiny_dataset, [decide(first, "different")]).table is None, "nothing is new"
    apply_decisions(tiny_dataset, [decide(first, "same", "ben"), decide(of("unlabelled", ("x",)), "unsure")])
    assert photo in open_dataset(tiny_dataset).positives[query.id], "the last word counts"
    rows = read_amendments(tiny_dataset)
    assert [(row.who, row.when, row.answer) for row in rows] == [("ben", NOW, "same"), ("aki", NOW, "unsure")]
    assert settled_keys(rows) == {first.key, of("unlabelled", ("x",)).key}
    assert len(versions(tiny_dataset)) == 2
    undo(tiny_dataset)
    assert snapshot(tiny_dataset) == once
    undo(tiny_dataset)
    assert snapshot(tiny_dataset) == before
    assert not (tiny_dataset / "amendments").exists()
    with pytest.raises(DatasetError, match="no amendments"):
        undo(tiny_dataset)


def test_what_was_settled_stays_so_when_data_grow() -> None:
    old, new = of("duplicate", ("b", "a"), ""), of("duplicate", ("c", "a"), "")
    grown = of("duplicate", ("a", "b"), "", evidence={"pixels": 0.5})
    assert unsettled([grown, new], {old.key}) == [new]
    assert of("wrong-label", ("p", "q1")).key == of("wrong-label", ("p", "q2"), other="cup").key
    assert len({of(kind, ("a", "b")).key for kind in KINDS}) == len(KINDS)


def test_the_most_valuable_come_first() -> None:
    harmless = of("duplicate", ("a", "b"), "")
    telling = Suspect("unlabelled", ("p",), "mug", 0.5, map_change=-0.01)
    assert order([harmless, telling]) == [telling, harmless]


def test_an_audit_is_read_as_it_was_written(tmp_path: Path) -> None:
    suspect = Suspect(
        "duplicate", ("a", "b"), "", 0.5, "", "cropped", {"pixels": 0.9}, ((("mug", "query"),), ()),
        0.1, -0.2, ((1.0, 2.0, 3.0, 4.0),), ((1.0, 2.0, 3.0, 4.0),),
    )  # fmt: skip
    numbers = Numbers(0.5, 0.6, 0.4, 0.7)
    audit = Audit("set", "s", "run", (suspect,), numbers, numbers, 100, 7, {"mug": ("a",)}, 3, ("note",))
    assert read_audit(write_audit(tmp_path, audit)) == audit
    assert json.loads((tmp_path / "suspects.json").read_text())["suspects"][0]["key"] == suspect.key
    damages: list[dict[str, object]] = [{"format": 2}, {"suspects": [{}]}, {"suspects": 7}, {"k": "x"}]
    for damage in damages:
        (tmp_path / "suspects.json").write_text(json.dumps({**to_plain(audit), **damage}))
        with pytest.raises(ArtifactError):
            read_audit(tmp_path)
    with pytest.raises(ArtifactError, match="ilion audit"):
        read_audit(tmp_path / "none")


def test_files_that_are_no_decisions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    good = {
        "suspect": {"kind": "unlabelled", "photos": ["p"], "object": "mug", "confidence": 1},
        "answer": "same",
    }
    twice = [good, {**good, "answer": "different"}]
    path.write_text(json.dumps({"format": 1, "dataset": "x", "decisions": twice}))
    found = read_decisions(path, "aki")
    assert [(d.answer, d.who) for d in found.decisions] == [("different", "aki")]
    wrong: list[dict[str, object]] = [
        {"answer": "maybe"},
        {"suspect": 3},
        {"suspect": {}},
        {"when": "yesterday"},
        {"suspect": {"kind": "unlabelled", "photos": [], "object": "mug", "confidence": 1}},
    ]
    texts = [json.dumps({"format": 1, "decisions": [{**good, **one}]}) for one in wrong]
    texts += [json.dumps({"format": 1, "decisions": each}) for each in (5, None, True, "x", {"a": 1})]
    suspect = {"kind": "unlabelled", "photos": ["a"], "object": "mug", "confidence": 10**400}
    texts.append(json.dumps({"format": 1, "decisions": [{**good, "suspect": suspect}]}))
    for text in ("no json", "[]", "{}", json.dumps({"format": 2, "decisions": []}), *texts):
        path.write_text(text)
        with pytest.raises(DatasetError, match=r"d\.json"):
            read_decisions(path)
    assert set(ANSWERS) == {"same", "different", "other", "unsure", "duplicate", "box"}


def test_damaged_tables_of_amendments_are_said(tiny_dataset: Path) -> None:
    folder = tiny_dataset / "amendments"
    folder.mkdir()
    for text in ("file,object\n", "file,object,role\na,b,c\n", 'file,object,role\n"a,b,none\n', "\0"):
        (folder / "0001.csv").write_text(text)
        with pytest.raises(DatasetError, match=r"0001\.csv"):
            open_dataset(tiny_dataset)
