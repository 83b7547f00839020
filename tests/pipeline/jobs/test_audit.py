"""An audit from a folder to its page, with a planted copy and a planted wrong label."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps
from typer.testing import CliRunner

from ilion import api, storage
from ilion.audit.suspects import Audit, read_audit
from ilion.cli import app
from ilion.config import ExperimentConfig, ReadingConfig, from_dict
from ilion.datasets import open_dataset
from ilion.errors import ConfigError, DatasetError
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.jobs.audit import examine
from ilion.pipeline.order import Pipeline
from ilion.reading.index import TextIndex
from ilion.reading.store import ReadImage
from ilion.storage.runs import read_run
from ilion.synthetic import synthesize
from ilion.types import Box, TextLine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn set: among its distractors a mirrored, a resized query and a bad file, one positive moved."""
    folder = tmp_path_factory.mktemp("audit") / "set"
    synthesize(
        folder, instances=4, positives=4, distractors=6, distractor_format="folder", image_side=256, workers=1
    )
    objects = sorted((folder / "ilias_core").iterdir())
    query = Image.open(min((objects[0] / "query").glob("*.jpg")))
    ImageOps.mirror(query).save(folder / "distractors" / "mirror.jpg")
    query.resize((query.width // 2, query.height // 2)).save(folder / "distractors" / "small.jpg", quality=60)
    (folder / "distractors" / "bad.jpg").write_bytes(b"bad")
    shutil.rmtree(folder / "image_ids")
    photo = min((objects[1] / "pos").glob("*.jpg"))
    photo.rename(objects[2] / "pos" / f"moved_{photo.name}")
    photo.with_name(f"{photo.stem}_bbox.txt").rename(objects[2] / "pos" / f"moved_{photo.stem}_bbox.txt")
    return folder


@pytest.fixture(scope="session")
def found(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Audit, Path]:
    output = tmp_path_factory.mktemp("audits") / "audit"
    return api.audit(planted, output, descriptors=False, on_bad_image="skip")


def described(planted: Path, page: Path, folder: Path) -> Path:
    """Return an experiment on the drawn set that describes no photo again, as the audit of ``page`` did."""
    values = f'cache = "{page.parent / "run" / "artifacts"}"\n[dataset]\npath = "{planted}"\n'
    experiment = folder / "experiment.toml"
    experiment.write_text(f'output = "run"\n{values}[extraction]\non_bad_image = "skip"\n')
    return experiment


def test_planted_copies_and_labels_are_suspects(found: tuple[Audit, Path], planted: Path) -> None:
    audit, page = found
    copies = {s.relation: s for s in audit.suspects if s.kind == "duplicate"}
    assert "distractors/mirror.jpg" in copies["mirrored"].photos
    assert "distractors/small.jpg" in copies["resized"].photos
    moved = [s for s in audit.suspects if s.kind == "wrong-label" and "moved_" in s.photos[0]]
    assert moved
    others = [s for s in audit.suspects if s.kind == "wrong-label" and s.confidence > moved[0].confidence]
    assert len(others) <= 2
    assert audit.precision is not None
    assert audit.precision.low <= audit.precision.as_is <= audit.precision.high
    assert read_audit(page.parent) == audit
    assert audit.unreadable == ("distractors/bad.jpg",)
    said = "not looked at: 1 photo that could not be read, such as distractors/bad.jpg"
    assert said in audit.notes
    assert said in page.read_text("utf-8")
    with pytest.raises(ConfigError, match="is a finished run; --on-bad-image"):
        api.audit(page.parent / "run", page.parent, on_bad_image="skip")
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert audit.queries.keys() == {q.instance for q in open_dataset(planted).queries}
    drawn = [s for s in audit.suspects if s.matches]
    assert all(len(line) == 4 for s in drawn for line in s.matches)


def test_an_audit_of_its_run_goes_on_from_what_is_stored(
    found: tuple[Audit, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit, page = found
    monkeypatch.setattr("ilion.pipeline.stages.evidence.gather", None)
    again, page = api.audit(page.parent / "run", tmp_path, descriptors=False, language="ja")
    assert [s.key for s in again.suspects] == [s.key for s in audit.suspects]
    assert again.unreadable == audit.unreadable
    assert "読み込めない写真1枚は調べていません（例：distractors/bad.jpg）" in page.read_text("utf-8")


def test_the_verbs_apply_remember_and_undo(found: tuple[Audit, Path], planted: Path, tmp_path: Path) -> None:
    audit, page = found
    plain = json.loads((page.parent / "suspects.json").read_text())
    suspects = [s for s in plain["suspects"] if s["kind"] in ("duplicate", "wrong-label")][:3]
    answers = [
        {"suspect": s, "answer": "duplicate" if s["kind"] == "duplicate" else "different", "who": "aki"}
        for s in suspects
    ]
    file = tmp_path / "decisions.json"
    file.write_text(json.dumps({"format": 1, "dataset": audit.dataset, "decisions": answers}))
    verbs = CliRunner()
    done = verbs.invoke(app, ["audit", "apply", str(file)])
    assert done.exit_code == 0, done.output
    assert f"{len(answers)} decisions" in done.output
    assert "amendments" in " ".join(open_dataset(planted).notes)
    again, _ = api.audit(described(planted, page, tmp_path), tmp_path / "again", descriptors=False)
    # a photo whose label went is no suspect any more; the copies are, and were settled
    assert again.settled == sum(answer["answer"] == "duplicate" for answer in answers) > 0
    assert not {s["key"] for s in suspects} & {s.key for s in again.suspects}
    done = verbs.invoke(app, ["audit", "undo", str(planted)])
    assert done.exit_code == 0, done.output
    assert not (planted / "amendments").exists()


def test_words_that_were_read_speak_against_a_label(
    found: tuple[Audit, Path], planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every photo bears a word of what it truly shows; only one label is not what its photo says."""
    audit, page = found
    config = from_dict(ExperimentConfig, read_run(page.parent / "run")["provenance"]["config"])
    reading = replace(config, reading=ReadingConfig(use="fused"))
    pipeline = Pipeline(reading, finished=True)
    quad = np.array([[0, 0], [256, 0], [256, 256], [0, 256]], np.float32) - 1e4

    def lines(photo: str, middle: tuple[float, float]) -> tuple[TextLine, ...]:
        # what was moved kept its number, and its word
        number = Path(photo).stem.removeprefix("moved_")[1:4]
        word = {"000": "banana", "001": "mocha", "002": "brake", "003": "lime"}.get(number)
        return (TextLine(word, 1.0, quad - quad.mean(axis=0) + middle),) if word else ()

    def read(experiment: Experiment) -> object:
        records = {r.id: r for r in experiment.dataset.records()}
        ids = [photo for photo in records if photo != "distractors/bad.jpg"]
        said = {}
        for photo in ids:
            box = next(iter(records[photo].boxes), Box(0, 0, 256, 256))
            there = lines(photo, (box.x + box.width / 2, box.y + box.height / 2))
            # a word beside the box is none of the object's
            aside = (TextLine("banana", 1.0, quad),) if records[photo].boxes else ()
            said[photo] = (*there, *aside)
        row = {photo: n for n, photo in enumerate(ids)}
        texts = SimpleNamespace(
            rows_of=lambda asked: np.array([row.get(photo, -1) for photo in asked]),
            read=lambda n: ReadImage(said[ids[n]], (256, 256)),
        )
        return SimpleNamespace(
            texts=texts,
            index=TextIndex.build([said[photo] for photo in ids]),
            photos={
                q.id: ReadImage(lines(q.image.id, (9, 9)), (256, 256)) for q in experiment.queries if q.image
            },
            rows_in=lambda asked: np.array([list(asked).index(photo) for photo in ids]),
        )

    monkeypatch.setattr("ilion.pipeline.jobs.audit_evidence.read", read)
    ranking = storage.read_ranking(page.parent / "run" / "ranking")
    heard = examine(pipeline, ranking, descriptors=False)
    [moved] = [s for s in heard.suspects if s.kind == "wrong-label" and "moved_" in s.photos[0]]
    assert moved.evidence["words"] == 0
    assert moved.words["against"] == ("brake",)
    assert moved.words["agree"] == ()
    assert moved.confidence == max(s.confidence for s in heard.suspects if s.kind == "wrong-label")
    before = next(s for s in audit.suspects if s.key == moved.key)
    assert not before.words
    assert "words" not in before.evidence
    right = [s for s in heard.suspects if s.kind == "wrong-label" and s.photos[0].startswith("noriven")]
    assert all(s.words["agree"] == ("banana",) for s in right)


def test_leaks_from_training_photos_are_suspects(
    found: tuple[Audit, Path], planted: Path, tmp_path: Path
) -> None:
    photo = min((planted / "distractors").rglob("0*.jpg"))
    shutil.copy(photo, tmp_path / "leaked.jpg")
    (tmp_path / "labels.csv").write_text("path,class\nleaked.jpg,a\n")
    again = described(planted, found[1], tmp_path)
    audit, _ = api.audit(again, tmp_path / "audit", training=tmp_path / "labels.csv", descriptors=False)
    [leak] = [s for s in audit.suspects if s.kind == "leak"]
    assert leak.photos == (photo.relative_to(planted).as_posix(), "training/leaked.jpg")
    assert leak.relation == "exact"


def test_what_cannot_be_audited_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        api.audit(tmp_path, tmp_path / "audit")


def test_a_pile_of_photos_is_labelled_from_nothing(planted: Path, tmp_path: Path) -> None:
    """Objects with a query photo and a pile: refused by a run, labelled in the page, then measured."""
    pile, shows = tmp_path / "pile", dict[str, str]()
    (pile / "distractors").mkdir(parents=True)
    for folder in sorted((planted / "ilias_core").iterdir()):
        (pile / "objects" / folder.name / "query").mkdir(parents=True)
        shutil.copy(min((folder / "query").glob("*.jpg")), pile / "objects" / folder.name / "query")
        for photo in sorted((folder / "pos").glob("*.jpg")):
            if not photo.name.startswith("moved_"):
                shutil.copy(photo, pile / "distractors" / photo.name)
                shows[f"distractors/{photo.name}"] = folder.name
    with pytest.raises(DatasetError, match=r"has no positive; .*let 'ilion audit' propose some"):
        open_dataset(pile)
    experiment = tmp_path / "experiment.toml"
    experiment.write_text('output = "run"\ncache = "cache"\n[dataset]\npath = "pile"\n')
    audit, page = api.audit(experiment, tmp_path / "audit", descriptors=False)
    assert audit.precision is None
    assert audit.first is None
    assert audit.run == ""
    assert read_audit(page.parent) == audit
    html = page.read_text("utf-8")
    assert "No photo is labelled yet" in html
    plain = json.loads(html.split('id="data">')[1].split("</script>")[0])["plain"].values()
    proposed = [s for s in plain if s["kind"] == "unlabelled"]
    right = [s for s in proposed if shows.get(s["photos"][0]) == s["object"]]
    assert len(right) >= 8
    assert all(s in right for s in sorted(proposed, key=lambda s: -s["confidence"])[:6])
    last = right[-1]["object"]
    answers = [{"suspect": s, "answer": "same" if s["object"] != last else "unsure"} for s in right]
    file = tmp_path / "decisions.json"
    file.write_text(json.dumps({"format": 1, "dataset": audit.dataset, "decisions": answers}))
    api.apply_audit(file)
    labelled = {s["object"] for s in right} - {last}
    assert {q.instance for q in open_dataset(pile).queries} == labelled, "only these can be judged"
    assert last in {q.instance for q in open_dataset(pile, unlabelled=True).queries}
    assert any("were proposed by a search" in note for note in open_dataset(pile).notes)
    assert api.run(experiment)[0].evaluation.mean > 0.8
    again, _ = api.audit(experiment, tmp_path / "again", descriptors=False)
    assert again.precision is not None, "of the objects that have labels"
    settled = {(s["photos"][0], s["object"]) for s in right}
    assert not settled & {(s.photos[0], s.object) for s in again.suspects if s.kind == "unlabelled"}
    file.write_text(json.dumps({"format": 1, "decisions": [a | {"answer": "different"} for a in answers]}))
    api.apply_audit(file, pile)
    with pytest.raises(DatasetError, match="no photo is said to show an object"):
        open_dataset(pile)
