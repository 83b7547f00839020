"""A model of your own: an object with a spec and a method that turns images into rows of length one.

In an experiment, the same file is allowed and named: trust = ["own_model.py"], and in [extraction]
model = "own_model.py:build"; see docs/extending.md.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import ilion
from ilion.descriptors.base import ExtractorSpec
from ilion.synthetic import synthesize
from ilion.types import RGB, Float32


class Colours:
    """Colours of a picture: the root of the histogram of 4 x 4 x 4 bins in each of 2 x 2 quarters."""

    spec = ExtractorSpec(
        name="colours",
        weights="none",
        revision="1",
        dim=256,
        resize="square",
        side=64,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        pooling="histogram",
        licence="MIT",
    )

    def extract(self, images: Sequence[RGB]) -> Float32:
        rows = np.zeros((len(images), self.spec.dim), np.float32)
        for row, image in zip(rows, images, strict=True):
            bins = (image // 64).astype(np.int64) @ np.array([16, 4, 1])
            quarters = np.kron(np.array([[0, 1], [2, 3]]), np.ones((32, 32), np.int64))
            row += np.bincount((64 * quarters + bins).ravel(), minlength=self.spec.dim)
        return np.sqrt(rows / rows.sum(axis=1, keepdims=True))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        synthesize(Path(folder), instances=4, positives=3, distractors=12, image_side=256, workers=1)
        dataset = ilion.open_dataset(folder)
        model = ilion.load_model(Colours())
        queries = {query.id: query.image for query in dataset.queries if query.image}
        ranking = ilion.search(model.describe(queries, box_use="crop"), model.describe(dataset))
        result = ilion.evaluate(ranking, dataset)
        print(f"mAP@1000 {result.mean:.3f} over {len(queries)} queries")
