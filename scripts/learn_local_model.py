"""Learn what the local search comes with: words and codes (``model-*.npz``) and the score (``score.json``).

    python -m scripts.learn_local_model --pictures FOLDER --scenes FOLDER --output FOLDER

FOLDER holds the unpacked packages of scripts/README.md: the photos that pictures.txt names, and clip art as
cut-outs; none of them shows what a data set that judges the search shows. The same pictures and seed give the
same bytes, by the same versions of OpenCV and numpy; digests are printed.

Words are learnt from the photos, from composites of them and from Ilion's own drawn scenes. The score is
learnt from pairs of queries and photos: cut-outs, and their look-alikes, pasted into photos, where the
objects, and the photos they are cut from, stand in no background.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ilion import storage
from ilion.images import decode, resize
from ilion.runtime.clusters import find_nearest
from ilion.runtime.machine import machine
from ilion.searching.local import (
    Encoded,
    LocalModel,
    LocalQuery,
    LocalSettings,
    Postings,
    describe_query,
    encode,
    look_up,
    pack_model,
    read_model,
    write_shard,
)
from ilion.searching.local.encode import find_spots, fit
from ilion.searching.local.records import CENTROIDS, PARTS
from ilion.searching.local.score import LEAST, pair_numbers
from ilion.searching.local.search import look_closer
from ilion.synthetic import synthesize
from ilion.types import RGB, Float32, Float64
from scripts.compose import compose, crop_of, cut_out, find_pictures, on_white, read_picture
from scripts.words import assign_words, learn_codes, learn_projection, learn_words

FEATURES = 2000
"""Features of an image that take part."""
PIECES = 1500
"""Clip art that is pasted into the photos that words are learnt from."""
LEAST_SPOTS = 60
"""Features without which a picture is no object to be found."""
HELD_OUT = 0.15
"""Share of the descriptors that learns the codes and no words, which leave too little of their own."""
RIDGE = 50.0
"""Penalty of the score's weights; strong ones carry over better to real photos."""
SHORTLIST = 300
COMPOSED = ((2002, 130, 4, 450), (4004, 80, 5, 400))
"""Seed, objects, photos that show each, and others, of the composed sets that the score is learnt from; each
takes its cut-outs from a share of its own."""
LOOK_ALIKES, ALIKE = 3, 0.6
"""Look-alikes of each object, and share of the other composed photos that show one."""


def views(photo: NDArray[np.uint8], rng: np.random.Generator) -> Iterator[RGB]:
    """Yield a photo at 512 pixels, and parts of a large one."""
    rgb = np.ascontiguousarray(photo[:, :, :3])
    yield resize(rgb, "long", 512)
    if max(rgb.shape[:2]) >= 760:
        for _ in range(6):
            yield resize(np.ascontiguousarray(crop_of(photo, rng, 0.35, 0.6)[:, :, :3]), "long", 512)


def composites(
    photos: Sequence[NDArray[np.uint8]], pieces: Sequence[NDArray[np.uint8]], count: int, seed: int
) -> Iterator[RGB]:
    """Yield photos with 3 to 17 pieces pasted in."""
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        around = [pieces[i] for i in rng.integers(0, len(pieces), int(rng.integers(3, 18))).tolist()]
        yield compose(photos[int(rng.integers(len(photos)))], around, rng).image


def learn_model(images: Iterator[RGB], side: int, seed: int) -> dict[str, NDArray[np.generic]]:
    """Learn projection, ``side`` x ``side`` words and codes from the features of images."""
    roots = np.concatenate([find_spots(image, FEATURES).descriptors for image in images])
    apart = np.random.default_rng(seed).random(len(roots)) < HELD_OUT
    mean, projection = learn_projection(roots)
    points: Float32 = ((roots - mean) @ projection.T).astype(np.float32)
    del roots
    coarse, fine = learn_words(points[~apart], side, side, seed)
    held = points[apart]
    left = held - fine.reshape(-1, fine.shape[2])[assign_words(held, coarse, fine)]
    rotation, book = learn_codes(left, PARTS, CENTROIDS, seed)
    coded = (left @ rotation.T).reshape(len(left), PARTS, -1)
    off = sum(
        np.square(coded[:, p] - book[p][find_nearest(np.ascontiguousarray(coded[:, p]), book[p], workers=1)])
        .sum(axis=1)
        .mean()
        for p in range(PARTS)
    )
    print(f"{len(points):,} descriptors; words leave {np.square(left).sum(1).mean():.3f}, codes {off:.3f}")
    # distances stay as they are when everything is turned
    return pack_model(mean, rotation @ projection, coarse @ rotation.T, fine @ rotation.T, book)


def pairs_of(
    queries: Sequence[tuple[LocalQuery, set[str]]], photos: Iterator[tuple[str, Encoded]], model: LocalModel
) -> tuple[list[str], Float64, NDArray[np.bool_]]:
    """Search photos and describe the verified pairs by numbers.

    Args:
        queries: Each query and the ids that show its object.
        photos: Ids and what is stored of them.
        model: Words and codes.

    Returns:
        Names of the numbers (F,), the numbers (pairs, F), and which pairs are right.
    """
    names: list[str] = []
    numbers, right = [], []
    with tempfile.TemporaryDirectory() as folder:
        artifact = storage.open_artifact(Path(folder), "postings", {"for": "the score"})
        write_shard(artifact, "all", photos, model.words, _stats)
        database = Postings(artifact, ["all"], model.words)
        for query, positives in queries:
            found = look_closer(query, database.matches(query, model), len(database), SHORTLIST, SHORTLIST)[1]
            if not len(found.rows):
                continue
            described = pair_numbers(query, found, len(database), database.looks(found.rows))
            owners = np.repeat(np.arange(len(found.rows)), np.diff(found.starts))
            seen = np.bincount(owners[found.supports], minlength=len(found.rows)) >= LEAST
            names = list(described)
            numbers.append(np.column_stack(list(described.values()))[seen])
            right.append(np.array([database.ids[row] in positives for row in found.rows], np.bool_)[seen])
    return names, np.concatenate(numbers), np.concatenate(right)


def _stats(images: int) -> storage.ShardStats:
    return storage.ShardStats(images, 0.0, 0, machine())


def fit_logistic(numbers: Float64, right: NDArray[np.bool_], ridge: float = RIDGE) -> tuple[Float64, float]:
    """Fit a logistic model by Newton's method.

    Args:
        numbers: (n, F).
        right: (n,) the outcome.
        ridge: Penalty of the squared weights of numbers of unit variance; the bias is free.

    Returns:
        (F,) weights of the numbers as they are, and the bias.
    """
    mean, deviation = numbers.mean(axis=0), np.maximum(numbers.std(axis=0), 1e-9)
    design = np.column_stack([(numbers - mean) / deviation, np.ones(len(numbers))])
    penalty = np.append(np.full(numbers.shape[1], ridge), 1e-9)
    weights = np.zeros(design.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -40, 40)))
        gradient = design.T @ (chance - right) + penalty * weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if abs(step).max() < 1e-9:
            break
    plain = weights[:-1] / deviation
    return plain, float(weights[-1] - plain @ mean)


def composed_pairs(
    photos: Sequence[NDArray[np.uint8]],
    clips: Sequence[Path],
    model: LocalModel,
    seed: int,
    objects: int,
    shown: int,
    others: int,
) -> tuple[list[str], Float64, NDArray[np.bool_]]:
    """Describe pairs of cut-outs and photos into which they, or their look-alikes, are pasted."""
    rng = np.random.default_rng((seed, 0))
    order, deck = rng.permutation(len(photos)), rng.permutation(len(clips))
    sources = [photos[i] for i in order[: len(photos) // 3].tolist()]
    grounds = [photos[i] for i in order[len(photos) // 3 :].tolist()]
    wanted: list[NDArray[np.uint8]] = []
    for path in (clips[i] for i in deck[: len(clips) // 2].tolist()):
        if len(wanted) == objects:
            break
        found = (
            cut_out(path)
            if rng.random() < 0.6
            else crop_of(sources[int(rng.integers(len(sources)))], rng, 0.25, 0.6)
        )
        if (
            found is not None
            and len(find_spots(fit(on_white(found), 512), LEAST_SPOTS).scores) >= LEAST_SPOTS
        ):
            wanted.append(found)
    pieces = loose_pieces([clips[i] for i in deck[len(clips) // 2 :][:420].tolist()], grounds, rng)
    alike = [look_alike(part, pieces, rng) for part in wanted for _ in range(LOOK_ALIKES)]
    settings = LocalSettings()

    def picture(key: tuple[int, ...], part: NDArray[np.uint8] | None, least: float) -> Encoded:
        chance = np.random.default_rng((seed, *key))
        size = float(np.exp(chance.uniform(np.log(least), np.log(330))))
        around = [pieces[i] for i in chance.integers(0, len(pieces), int(chance.integers(3, 18))).tolist()]
        image = compose(grounds[int(chance.integers(len(grounds)))], around, chance, part, size).image
        return encode(image, (image.shape[1], image.shape[0]), model, settings)

    def stream() -> Iterator[tuple[str, Encoded]]:
        for i, part in enumerate(wanted):
            for k in range(shown):
                yield f"{i} {k}", picture((1, i, k), part, 45)
        for k in range(others):
            pasted = alike[int(rng.integers(len(alike)))] if rng.random() < ALIKE else None
            yield f"other {k}", picture((2, k), pasted, 60)

    asked = [
        (
            look_up(describe_query(on_white(part), model, settings), model, settings),
            {f"{i} {k}" for k in range(shown)},
        )
        for i, part in enumerate(wanted)
    ]
    return pairs_of(asked, stream(), model)


def loose_pieces(
    clips: Sequence[Path], photos: Sequence[NDArray[np.uint8]], rng: np.random.Generator
) -> list[NDArray[np.uint8]]:
    """Return small pictures to be pasted: cut-outs, and a third as many parts of photos."""
    parts = [part for part in map(cut_out, clips) if part is not None]
    parts += [crop_of(photos[int(rng.integers(len(photos)))], rng) for _ in range(len(parts) // 3)]
    small = []
    for part in parts:
        zoom = min(1.0, 320 / max(part.shape[:2]))
        small.append(cv2.resize(part, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA).astype(np.uint8))
    return small


def look_alike(
    part: NDArray[np.uint8], others: Sequence[NDArray[np.uint8]], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return an object of the same line: other colours, or another picture on a part of it, or both."""
    changed = part.copy()
    kind = int(rng.integers(3))
    if kind != 1:
        tones = cv2.cvtColor(np.ascontiguousarray(changed[:, :, :3]), cv2.COLOR_RGB2HSV)
        tones[:, :, 0] = (tones[:, :, 0].astype(np.int64) + int(rng.integers(25, 150))) % 180
        changed[:, :, :3] = cv2.cvtColor(tones, cv2.COLOR_HSV2RGB)
    if kind != 0:
        height, width = (max(2, int(side * rng.uniform(0.45, 0.8))) for side in changed.shape[:2])
        other = cv2.resize(
            others[int(rng.integers(len(others)))], (width, height), interpolation=cv2.INTER_AREA
        )
        y, x = (
            int(rng.integers(0, a - b + 1)) for a, b in zip(changed.shape[:2], (height, width), strict=True)
        )
        area = changed[y : y + height, x : x + width]
        opacity = (other[:, :, 3:] / 255.0) * (area[:, :, 3:] > 60)
        area[:, :, :3] = (area[:, :, :3] * (1 - opacity) + other[:, :, :3] * opacity).astype(np.uint8)
    return changed


def main() -> None:
    """Learn and write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=Path, required=True, help="folder of the unpacked packages")
    parser.add_argument("--output", type=Path, required=True, help="folder of the files")
    parser.add_argument(
        "--scenes", type=Path, required=True, help="folder of the drawn set, made if it is new"
    )
    parser.add_argument("--model", type=Path, help="words and codes to keep; only the score is learnt")
    parser.add_argument("--side", type=int, default=128, help="cells, and words of each of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--composites", type=int, default=1200, help="composed photos that words are learnt from"
    )
    asked = parser.parse_args()
    cv2.setNumThreads(1)  # threads that wait for each other are slower on a busy machine
    listed = (Path(__file__).parent / "pictures.txt").read_text(encoding="utf-8").split()
    photos = [p for p in (read_picture(asked.pictures / name) for name in listed) if p is not None]
    if len(photos) < len(listed):
        parser.error(f"{asked.pictures} lacks some of the {len(listed)} pictures of scripts/pictures.txt")
    clips = find_pictures([asked.pictures / "usr/share/openclipart"])
    rng = np.random.default_rng(asked.seed)
    large = [photo for photo in photos if min(photo.shape[:2]) >= 256]

    def images() -> Iterator[RGB]:
        for photo in photos:
            yield from views(photo, rng)
        pieces = loose_pieces([clips[i] for i in rng.permutation(len(clips))[:PIECES].tolist()], large, rng)
        yield from composites(large, pieces, asked.composites, 11 + asked.seed)
        synthesize(asked.scenes, instances=80, positives=5, distractors=0, seed=101 + asked.seed)
        for path in find_pictures([asked.scenes / "ilias_core"])[:300]:
            yield resize(decode(path.read_bytes(), where=str(path)).image, "long", 512)

    asked.output.mkdir(parents=True, exist_ok=True)
    learnt = asked.model or asked.output / f"model-{asked.side**2}.npz"
    if asked.model is None:
        storage.write_arrays(learnt, learn_model(images(), asked.side, asked.seed))
    model = read_model(learnt)
    print(f"model {model.digest}")
    deck = np.random.default_rng(5 + asked.seed).permutation(len(clips))
    found = [
        composed_pairs(
            large, [clips[i] for i in deck[n :: len(COMPOSED)].tolist()], model, seed + asked.seed, *counts
        )
        for n, (seed, *counts) in enumerate(COMPOSED)
    ]
    names, right = found[0][0], np.concatenate([pairs[2] for pairs in found])
    weights, bias = fit_logistic(np.concatenate([pairs[1] for pairs in found]), right)
    score = {
        "bias": round(bias, 5),
        "weights": {n: float(f"{w:.5g}") for n, w in zip(names, weights, strict=True)},
    }
    (asked.output / "score.json").write_text(json.dumps(score, indent=1) + "\n", encoding="utf-8")
    print(f"score of {len(right):,} pairs, {int(right.sum()):,} of them right")


if __name__ == "__main__":
    main()
