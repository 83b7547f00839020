"""`extraction.like = "ilias"` beside the steps of the benchmark's own scripts, on the photos of a data set.

Networks have fixed random weights, so nothing is downloaded. The steps of the extraction script are written
out here (Pillow, longer side to N with the other cut off, ImageNet statistics, centred padding to whole
patches, pooling, float16), and those of its search and evaluator: float32 inner products of the float16
descriptors, the first 1,000, AP@k = average precision times hits / min(k, positives).

Run: python benchmarks/official_extraction.py DATASET [--photos 200] [--side 224]      (extra: torch)
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

import ilion
from ilion.config import ExtractionConfig
from ilion.datasets import open_dataset
from ilion.extraction.images import describe_images, describe_queries
from ilion.pipeline.stages.model import extractor_of
from ilion.types import Float32, ImageRecord, TarSource

K = 1000
NETWORKS = {"resnet18": "gem", "vit_tiny_patch16_224": "cls"}


def prepare(record: ImageRecord, side: int, multiple: int, mean: Float32, std: Float32) -> Any:
    """Return a picture (1, 3, H, W) as the script gives it to a network."""
    import torch

    image: Image.Image = Image.open(io.BytesIO(record.source.read()))
    if not isinstance(record.source, TarSource):
        image = ImageOps.exif_transpose(image)
    image = image.convert("RGB")
    aspect = float(image.height) / float(image.width)
    height = int(side * aspect) if aspect <= 1 else side
    width = int(side / aspect) if aspect > 1 else side
    pixels = np.asarray(image.resize((max(1, width), max(1, height))), np.float32) / 255
    found = torch.from_numpy((pixels - mean) / std).permute(2, 0, 1)
    pads = [part for size in (found.shape[2], found.shape[1]) for part in split(-size % multiple)]
    return torch.nn.functional.pad(found, pads)[None]


def split(lack: int) -> tuple[int, int]:
    """Share padding out to both sides."""
    return lack // 2, lack - lack // 2


def pool(network: Any, pixels: Any, pooling: str) -> Float32:
    """Return the descriptor of a picture, of length one."""
    features = network.forward_features(pixels)
    if pooling == "gem":
        value = features.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)[0]
    else:
        value = features[0, 0]
    return np.asarray((value / value.norm()).numpy(), np.float32)


def official_ap(query: Float32, photos: Float32, ids: Sequence[str], right: set[str]) -> float:
    """Search for one query and judge it, as the benchmark's scripts do."""
    similarities = photos @ query
    order = np.argsort(-similarities, kind="stable")[:K]
    hits = [place for place, row in enumerate(order, start=1) if ids[row] in right]
    precision = np.mean([(number + 1) / place for number, place in enumerate(hits)]) if hits else 0.0
    return float(precision * len(hits) / min(K, len(right)))


def compare(
    name: str,
    side: int,
    queries: Sequence[Any],
    photos: Sequence[ImageRecord],
    positives: Mapping[str, set[str]],
    say: Callable[[str], None],
) -> None:
    """Print how the two ways agree with one network."""
    import torch

    settings = ExtractionConfig(
        model=f"timm:{name}", weights="none", like="ilias", side=side, device="cpu", threads=1,
        pooling="gem" if NETWORKS[name] == "gem" else "cls",
    )  # fmt: skip
    model = extractor_of(settings, 0)
    asked, _ = describe_queries(queries, model, box_use=settings.global_box, workers=1)
    found, _ = describe_images(photos, model, workers=1)
    scale = 255.0 if max(model.spec.mean) > 1 else 1.0
    mean, std = (np.asarray(v, np.float32) / scale for v in (model.spec.mean, model.spec.std))
    network = model.tower.module  # type: ignore[attr-defined]
    with torch.inference_mode():
        theirs = [
            np.stack([
                pool(network, prepare(r, side, 16 if "vit" in name else 1, mean, std), NETWORKS[name])
                for r in records
            ]).astype(np.float16).astype(np.float32)
            for records in ([query.image for query in queries], photos)
        ]  # fmt: skip
    ours = [np.asarray(v.values, np.float16).astype(np.float32) for v in (asked, found)]
    centre = theirs[1].mean(axis=0)
    least = []
    for a, b in zip(ours, theirs, strict=True):
        a, b = a - centre, b - centre
        cosines = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        least.append(float(cosines.min()))
    ids = [record.id for record in photos]
    ap = [
        official_ap(q, theirs[1], ids, positives[query.id])
        for q, query in zip(theirs[0], queries, strict=True)
    ]
    by_id = ilion.Descriptors(asked.ids, ours[0]), ilion.Descriptors(tuple(ids), ours[1])
    judged = ilion.evaluate(ilion.search(*by_id, k=K), {q.id: sorted(positives[q.id]) for q in queries}, k=K)
    apart = np.abs(judged.per_query - np.array(ap)).max()
    say(
        f"{name}: least centred cosine {least[1]:.7f} ({len(photos)} photos), {least[0]:.7f} ({len(queries)} "
        f"queries); mAP@1k official {np.mean(ap):.6f}, Ilion {judged.mean:.6f}, largest AP apart {apart:.1e}"
    )


def main() -> None:
    """Choose photos, half of them from tars where there are any, and compare with each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--side", type=int, default=224)
    given = parser.parse_args()
    dataset = open_dataset(given.dataset)
    queries = [query for query in dataset.queries if query.image is not None]
    wanted = {image for query in queries for image in dataset.positives[query.id][:3]}
    records = list(dataset.records())
    chosen = [record for record in records if record.id in wanted][: given.photos]
    others = [
        record for record in records if record.id not in wanted and isinstance(record.source, TarSource)
    ]
    chosen += others[: given.photos - len(chosen)]
    there = {record.id for record in chosen}
    positives = {q.id: set(dataset.positives[q.id]) & there for q in queries}
    queries = [query for query in queries if positives[query.id]]
    for name in NETWORKS:
        compare(name, given.side, queries, chosen, positives, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
