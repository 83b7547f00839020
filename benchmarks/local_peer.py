"""The default search beside OpenCV and FAISS, on the same photos and the same features, one after the other.

    python benchmarks/local_peer.py RUN [--photos 60]

RUN is the folder of a finished run of the default, whose data set is still there. "OpenCV" decodes a photo,
brings it to the same size and finds its SIFT features, which is what any search by local features must do.
"FAISS" is an inverted file with product quantisation (`IndexIVFPQ`, 16 bytes a feature and its id) over the
features that the run has stored, as Ilion projects them; every feature of a query is looked up at its largest
size and votes for the photos of its 50 nearest neighbours. All on one thread; times are of the processor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import faiss
import numpy as np
from photos import postings_of, queries_of

from ilion.api.arrays import evaluate
from ilion.extraction.photos import PhotoDescription
from ilion.searching import local
from ilion.searching.local.encode import LocalQuery
from ilion.searching.local.records import unpack_codes
from ilion.searching.local.search import rank_photos
from ilion.types import Float32, Int64, Ranking

LISTS, PROBES, NEIGHBOURS = 4096, 8, 50
RESULTS = 1000


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the milliseconds of the processor that a call takes, and what it returns."""
    started = time.process_time()
    found = function()
    return 1e3 * (time.process_time() - started), found


def said(own: list[float], peer: list[float]) -> str:
    ratio = np.median(np.array(own) / np.array(peer))
    return f"Ilion {np.median(own):.1f} ms, peer {np.median(peer):.1f} ms (medians); ratio {ratio:.2f}"


def opencv(data: bytes, side: int, count: int) -> None:
    """Decode, resize and find features."""
    library: Any = cv2
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    scale = side / max(image.shape)
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    library.SIFT_create(count, contrastThreshold=0.02).detectAndCompute(image, None)


class Faiss:
    """An inverted file over the stored features of a database."""

    def __init__(self, database: local.Postings, model: local.LocalModel) -> None:
        photos = database.photos(np.arange(len(database)))
        self.owners: Int64 = np.repeat(np.arange(len(photos)), [len(photo) for photo in photos])
        vectors = np.concatenate([model.decode(p.words, unpack_codes(p.records)) for p in photos])
        self.count = len(photos)
        quantiser = faiss.IndexFlatL2(vectors.shape[1])
        self.index = faiss.IndexIVFPQ(quantiser, vectors.shape[1], LISTS, 16, 8)
        self.index.cp.niter = 8
        sample = np.random.default_rng(0).permutation(len(vectors))[: 40 * LISTS]
        self.index.train(vectors[sample])
        self.index.add(vectors)
        self.index.nprobe = PROBES

    def rank(self, query: LocalQuery) -> tuple[Int64, Float32]:
        """Return photos and votes."""
        distances, found = self.index.search(query.vectors[query.levels == 0], NEIGHBOURS)
        near = np.maximum(0.18 - distances, 0) * (found >= 0)
        votes = np.bincount(self.owners[found.ravel()], near.ravel(), self.count)
        rows = np.argsort(-votes, kind="stable")[:RESULTS]
        return rows, votes[rows].astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--photos", type=int, default=60)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    faiss.omp_set_num_threads(1)
    run = postings_of(options.run)
    database, settings, dataset = run.database, run.settings, run.dataset
    model = local.shipped_model(settings.words)

    records = list(dataset.records())
    chosen = records[:: max(1, len(records) // options.photos)][: options.photos]
    description = PhotoDescription(model, settings)
    description.load(chosen[0], "crop")  # compiles
    own, peer = [], []
    for record in chosen:
        data = record.source.read()
        own.append(timed(partial(description.load, record, "crop"))[0])
        peer.append(timed(partial(opencv, data, settings.side, settings.pool))[0])
    print(f"describing {len(chosen)} photos: {said(own, peer)} (OpenCV: decode, resize, SIFT)")

    beside = Faiss(database, model)
    spots = queries_of(options.run)
    names = list(spots)
    queries = [local.look_up(spots[name], model, settings) for name in names]
    rank_photos(queries[0], database, model, settings, RESULTS)  # compiles
    own, peer = [], []
    ours, theirs = [], []
    for query in queries:
        milliseconds, answer = timed(partial(rank_photos, query, database, model, settings, RESULTS))
        own.append(milliseconds)
        ours.append((answer.rows, answer.similarities))
        milliseconds, votes = timed(partial(beside.rank, query))
        peer.append(milliseconds)
        theirs.append(votes)
    print(f"searching {len(database):,} photos {len(queries)} times: {said(own, peer)} (FAISS, votes only)")
    truth = {name: dataset.positives[name] for name in names}
    for name, found in (("Ilion", ours), ("FAISS", theirs)):
        rows, values = (np.array(part) for part in zip(*found, strict=True))
        kept = np.full(len(names), rows.shape[1])
        ranking = Ranking(tuple(names), database.ids, rows, values, kept)
        print(f"{name}: mAP@{RESULTS} {evaluate(ranking, truth, bootstrap=1).mean:.3f}")


if __name__ == "__main__":
    main()
