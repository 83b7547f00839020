"""Search and evaluation on arrays alone: descriptors and ground truth of your own, nothing on disk."""

import numpy as np

import ilion

rng = np.random.default_rng(0)
objects = rng.standard_normal((20, 64))
photos = np.repeat(objects, 5, axis=0) + 1.5 * rng.standard_normal((100, 64))
noise = rng.standard_normal((1000, 64))
database = np.concatenate([photos, noise]).astype(np.float32)
queries = (objects + rng.standard_normal(objects.shape)).astype(np.float32)
database /= np.linalg.norm(database, axis=1, keepdims=True)
queries /= np.linalg.norm(queries, axis=1, keepdims=True)

ranking = ilion.search(queries, database, k=100)  # ids are "0", "1", ...
truth = {str(q): [str(5 * q + view) for view in range(5)] for q in range(20)}
exact = ilion.evaluate(ranking, truth, k=100)

signs = ilion.evaluate(ilion.search(np.sign(queries), np.sign(database), k=100), truth, k=100)
change = ilion.compare(exact, signs)
print(f"mAP@100 {exact.mean:.3f} [{exact.ci95.low:.3f} to {exact.ci95.high:.3f}]")
print(f"signs alone: {change.difference:+.3f} [{change.ci95.low:+.3f} to {change.ci95.high:+.3f}]")
