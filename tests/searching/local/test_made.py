"""Photos that are made of stored ones, to measure a search among more photos than there are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.searching.local.small import draw_frames, draw_vectors, photo_of
from tests.searching.local.test_local import stored

from ilion.searching.local import Encoded, Postings
from ilion.searching.local.made import FeaturePool, repeat_shard
from ilion.storage import load_artifact


@pytest.fixture(scope="module")
def photos() -> list[Encoded]:
    return [photo_of(draw_vectors(s, 30 + s), draw_frames(s, 30 + s)) for s in range(5)]


@pytest.mark.parametrize(("place", "names"), [(os.link, 2), (shutil.copyfile, 1)])
def test_a_repeated_shard_is_the_same_photos_under_other_names(
    tmp_path: Path, photos: list[Encoded], place: Callable[[Path, Path], object], names: int
) -> None:
    """Linked, a file has two names; copied, each has its own bytes on the disk and in memory."""
    one = stored(tmp_path, [photos])
    [(key, count)] = one.shards
    other = key.replace(key[0], "z", 1)
    repeat_shard(one.folder, key, other, [f"again/{row}" for row in range(count)], place)
    both = Postings(load_artifact(one.folder), [key, other], one.words)
    assert (len(both), both.count) == (2 * count, 2 * one.count)
    for row in (0, count - 1):
        for a, b in zip(vars(both.photo(row)).values(), vars(both.photo(count + row)).values(), strict=True):
            np.testing.assert_array_equal(a, b)
    records = sorted(one.folder.glob("*.records.npy"))
    assert [path.stat().st_nlink for path in records] == [names] * 2


def test_made_photos_are_as_rich_as_stored_ones(photos: list[Encoded]) -> None:
    pool = FeaturePool(photos)
    made = dict(pool.draw(["a", "b", "c"], np.random.default_rng(0)))
    there = set(zip(pool.words.tolist(), pool.records.tolist(), strict=True))
    for photo in made.values():
        assert len(photo) in set(map(len, photos))
        assert (np.diff(photo.words.astype(int)) >= 0).all()
        assert set(zip(photo.words.tolist(), photo.records.tolist(), strict=True)) <= there
