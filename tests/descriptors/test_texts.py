"""Texts as queries: prompts, long texts, and texts among photos, with a text tower that counts letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.networks import read_texts, tiny_network

from ilion import api, storage
from ilion.config import ExperimentConfig, from_dict
from ilion.datasets import open_dataset
from ilion.descriptors.base import ExtractorSpec
from ilion.descriptors.texts import TextOptions, describe_texts, split_text
from ilion.errors import ConfigError, ExtractionError
from ilion.extraction.images import extract_queries
from ilion.types import RGB, Float32, Query

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def counted(texts: Sequence[str]) -> Float32:
    """Count letters, L2-normalised."""
    counts = np.array([[text.lower().count(c) for c in LETTERS] for text in texts], np.float32) + 1e-3
    return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True), np.float32)


def words(text: str) -> int:
    return len(text.split()) + 2


class Blind:
    """Describes photos by their mean colour; knows no texts."""

    spec = ExtractorSpec("blind", "none", "1", 26, "long", 64, (0.0,) * 3, (1.0,) * 3, "head", "MIT")

    def extract(self, images: Sequence[RGB]) -> Float32:
        values = np.zeros((len(images), 26), np.float32)
        values[:, :3] = [image.reshape(-1, 3).mean(axis=0) + 1 for image in images]
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


class Reading(Blind):
    """The same with a text tower."""

    def extract_text(self, texts: Sequence[str]) -> Float32:
        return counted(texts)


def stored(queries: Sequence[Query], extractor: Blind, folder: Path, **settings: object) -> Float32:
    artifact = storage.open_artifact(
        folder, "queries", {"settings": str(settings), "model": str(type(extractor))}
    )
    key, _ = extract_queries(queries, extractor, artifact, workers=1, **settings)  # type: ignore[arg-type]
    found = storage.read_descriptors(artifact, key)
    assert found.ids == tuple(q.id for q in queries)
    return np.asarray(found.values, np.float32)


def test_texts_and_photos_keep_their_places(tiny_dataset: Path, tmp_path: Path) -> None:
    queries = open_dataset(tiny_dataset).queries
    found = stored(queries, Reading(), tmp_path)
    for row, query in enumerate(queries):
        alone = stored([query], Reading(), tmp_path / query.instance / str(row))
        np.testing.assert_allclose(found[row], alone[0], atol=1e-6)
        assert (query.text is None) == (found[row, 3:].max() == 0)


def test_a_text_is_added_to_its_photo(tiny_dataset: Path, tmp_path: Path) -> None:
    photos = [q for q in open_dataset(tiny_dataset).queries if q.image is not None]
    asked = {photos[0].id: "a blue zebra"}
    plain = stored(photos, Reading(), tmp_path / "plain")
    for weight in (0.0, 0.25, 1.0):
        found = stored(photos, Reading(), tmp_path / str(weight), companions=asked, text_weight=weight)
        expected = (1 - weight) * plain[0] + weight * counted(["a blue zebra"])[0]
        np.testing.assert_allclose(found[0], expected / np.linalg.norm(expected), atol=1e-6)
        np.testing.assert_array_equal(found[1:], plain[1:])


def test_texts_that_a_model_cannot_describe_are_an_error_or_nothing(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    queries = open_dataset(tiny_dataset).queries
    with pytest.raises(ExtractionError, match="blind has no text tower"):
        stored(queries, Blind(), tmp_path)
    found = stored(queries, Blind(), tmp_path, blind=True)
    for row, query in enumerate(queries):
        assert found[row].any() == (query.image is not None)


def test_prompts_are_averaged() -> None:
    options = TextOptions(("{}", "zzzz {}"))
    found, long = describe_texts(["mug", "cup"], options, counted, words, 100)
    sums = counted(["mug", "cup"]) + counted(["zzzz mug", "zzzz cup"])
    np.testing.assert_allclose(found, sums / np.linalg.norm(sums, axis=1, keepdims=True), atol=1e-6)
    assert long == 0


def test_long_texts_are_cut_by_the_model_or_read_in_pieces() -> None:
    text = "one two three four five six seven"
    cut, long = describe_texts([text, "mug"], TextOptions(), counted, words, 5)
    np.testing.assert_array_equal(cut, counted([text, "mug"]))  # whole: the model itself drops the end
    assert long == 1
    averaged, long = describe_texts([text, "mug"], TextOptions(long="average"), counted, words, 5)
    sums = counted(["one two three"]) + counted(["four five six"]) + counted(["seven"])
    np.testing.assert_allclose(averaged[:1], sums / np.linalg.norm(sums), atol=1e-6)
    np.testing.assert_allclose(averaged[1:], counted(["mug"]), atol=1e-6)
    assert long == 1


def test_the_words_of_a_prompt_count_against_the_limit() -> None:
    asked: list[str] = []

    def encode(texts: Sequence[str]) -> Float32:
        asked.extend(texts)
        return counted(texts)

    describe_texts(["one two three four"], TextOptions(("a photo of {}",), "average"), encode, words, 7)
    assert asked == ["a photo of one two", "a photo of three four"]


@pytest.mark.slow
@pytest.mark.parametrize("long", ["cut", "average"])
@pytest.mark.parametrize("queries", ["text", "both", "image+text"])
def test_the_report_says_how_many_texts_exceed_the_limit(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: str, queries: str
) -> None:
    for number, path in enumerate(sorted(tiny_dataset.rglob("T*.txt"))):
        path.write_text("word " * (3 + number), encoding="utf-8")  # 3, 4 and 5 words
    read_texts(monkeypatch, longest=3)
    values = {
        "output": str(tmp_path / "run"),
        "dataset": {"path": str(tiny_dataset), "queries": queries},
        "extraction": {
            "model": f"onnx:{tiny_network(tmp_path / 'tiny.onnx')}",
            "threads": 1,
            "long_texts": long,
        },
        "evaluation": {"bootstrap": 50},
    }
    config = from_dict(ExperimentConfig, values)
    said = "2 texts are longer than the model reads and " + {"cut": "lost", "average": "were read in"}[long]
    for _ in range(2):  # the second time the queries are not described again
        result, page = api.run(config)
        assert result.provenance["long texts"] == {"count": 2, "read": long}
        told = page.read_text("utf-8").count(said)
        assert told == (2 if queries == "both" else 1)
    read_texts(monkeypatch, longest=5)
    again, page = api.run(replace(config, output=str(tmp_path / "other")))
    assert "long texts" not in again.provenance
    assert "longer than the model reads" not in page.read_text("utf-8")


@given(st.lists(st.text(alphabet=LETTERS, min_size=1, max_size=9), min_size=1), st.integers(4, 12))
def test_pieces_hold_every_word_and_fit(parts: list[str], most: int) -> None:
    def length(text: str) -> int:
        return 2 + sum((len(word) + 3) // 4 for word in text.split())

    found = split_text(" ".join(parts), length, most)
    assert " ".join(found).split() == parts
    for number, piece in enumerate(found):
        assert length(piece) <= most or len(piece.split()) == 1
        if number:  # nothing more would have fitted before
            assert length(f"{found[number - 1]} {piece.split()[0]}") > most


@pytest.mark.parametrize("prompts", [("a photo",), ("{} and {}",), ()])
def test_prompts_without_a_place_are_refused(prompts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="prompt"):
        TextOptions(prompts)


def test_prompts_are_settings() -> None:
    config = from_dict(
        ExperimentConfig, {"extraction": {"prompts": ["{}", "a photo of {}"], "long_texts": "average"}}
    )
    assert config.extraction.prompts == ("{}", "a photo of {}")
    with pytest.raises(ConfigError, match="long_texts"):
        from_dict(ExperimentConfig, {"extraction": {"long_texts": "drop"}})
