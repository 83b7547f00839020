"""Photos that are made of stored features, to measure a search among more photos than there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ilion.searching.local.encode import Encoded
from ilion.storage import read_json, write_head


class FeaturePool:
    """Features of stored photos, from which others are made.

    Words are as crowded as in the photos, and queries match as much by chance; places are drawn, too, so no
    object is shown.

    Args:
        photos: At least one, all of one budget.
    """

    def __init__(self, photos: Sequence[Encoded]) -> None:
        self.photos = photos
        self.words = np.concatenate([photo.words for photo in photos])
        self.records = np.concatenate([photo.records for photo in photos])

    def draw(self, names: Sequence[str], rng: np.random.Generator) -> Iterator[tuple[str, Encoded]]:
        """Make photos of features drawn at random, each as many as one stored photo has.

        Args:
            names: Ids.
            rng: Source of what is drawn.
        """
        for name in names:
            like = self.photos[int(rng.integers(len(self.photos)))]
            chosen = rng.integers(0, max(len(self.words), 1), len(like))
            chosen = chosen[np.argsort(self.words[chosen], kind="stable")]
            yield name, Encoded(self.words[chosen], self.records[chosen], like.tones, like.size)


def repeat_shard(
    folder: Path,
    key: str,
    other: str,
    names: Sequence[str],
    place: Callable[[Path, Path], object] = os.link,
) -> None:
    """Store a shard under another key, with other ids.

    Args:
        folder: Folder of the postings.
        key: Key of the shard.
        other: Key of the new one.
        names: As many ids as the shard has photos.
        place: Function that puts a file in another place. Linked files are held in memory once for all their
            names; copies (`shutil.copyfile`) take as much disk and memory as other photos would.
    """
    files = []
    for path in sorted(folder.glob(f"{key}.*.npy")):
        files.append(path.with_name(path.name.replace(key, other)))
        place(path, files[-1])
    place(folder / f"{key}.stats.json", folder / f"{other}.stats.json")
    head = read_json(folder / f"{key}.ids.json")
    own = {"ids": list(names), "segments": head["segments"], "postings": head["postings"]}
    write_head(folder / f"{other}.ids.json", own, files)
