"""AMES against its definition in plain loops, against torch's own modules, and learning."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ilion.errors import ArtifactError, ConfigError, DatasetError, ExtractionError
from ilion.reranking.ames.network import (
    Ames,
    AmesConfig,
    compare,
    initialise,
    parameter_shapes,
    signs,
    tokens,
)
from ilion.reranking.ames.scoring import NO_EVIDENCE, PUBLISHED_FUSION, AmesScorer, Fusion, fuse
from ilion.reranking.ames.training import PairSampler, TrainingOptions, global_teacher, model_teacher, train
from ilion.reranking.ames.weights import load, save
from ilion.types import Float64, Int64, LocalFeatures

torch: Any = pytest.importorskip("torch", reason="the 'torch' extra is not installed")
pytestmark = pytest.mark.extras

SMALL = AmesConfig(local_dim=20, dim=16, heads=2, layers=2, feedforward=24)
SMALL_BINARY = AmesConfig(local_dim=20, dim=16, heads=2, layers=2, feedforward=24, binary=True)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _random(config: AmesConfig, seed: int = 0) -> Ames:
    """Weights among which no bias is 0 and no gain is 1, so that none can be forgotten."""
    rng = np.random.default_rng(seed)
    weights = {
        name: torch.from_numpy(
            (rng.normal(0, 0.3, shape) + (1 if "norm" in name and name.endswith("weight") else 0)).astype("f")
        )
        for name, shape in parameter_shapes(config).items()
    }
    return Ames(config, weights)


def _features(count: int, seed: int, dim: int = 20) -> LocalFeatures:
    rng = np.random.default_rng(seed)
    return LocalFeatures(
        keypoints=rng.random((count, 2), np.float32),
        descriptors=rng.standard_normal((count, dim)).astype(np.float32),
        scores=np.sort(rng.random(count, np.float32))[::-1].copy(),
        image_size=(1, 1),
    )


# --- from the paper, in float64 and loops --------------------------------------------------------------


def _layer_norm(x: Float64, gain: Float64, bias: Float64) -> Float64:
    result: Float64 = (x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).mean() + 1e-5) * gain + bias
    return result


def _attention(
    x: Float64, allowed: NDArray[np.bool_], w: dict[str, Float64], name: str, heads: int
) -> Float64:
    """Every token looks at the tokens it is allowed to, head by head."""
    length, d = x.shape
    width = d // heads
    q, k, v = (
        x @ w[f"{name}.in_proj_weight"][i * d : (i + 1) * d].T
        + w[f"{name}.in_proj_bias"][i * d : (i + 1) * d]
        for i in range(3)
    )
    mixed = np.zeros((length, d))
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(length):
            seen = [j for j in range(length) if allowed[i, j]]
            raw = np.array([q[i, part] @ k[j, part] / np.sqrt(width) for j in seen])
            weights = np.exp(raw - raw.max())
            weights /= weights.sum()
            mixed[i, part] = sum(a * v[j, part] for a, j in zip(weights, seen, strict=True))
    result: Float64 = mixed @ w[f"{name}.out_proj.weight"].T + w[f"{name}.out_proj.bias"]
    return result


def _reference(model: Ames, query: NDArray[Any], database: NDArray[Any]) -> float:
    """The similarity of one pair. Tokens: matching token, query, database image."""
    w = {name: tensor.numpy().astype(np.float64) for name, tensor in model.weights.items()}
    own = [0, *[1] * len(query), *[2] * len(database)]
    local = np.concatenate([query, database]).astype(np.float64)
    local /= np.sqrt((local**2).sum(axis=1, keepdims=True))
    linear, norm = "remap_local.0", "remap_local.1"
    if model.config.binary:
        local = np.sign(local @ w["remap_local.0.W"])
        linear, norm = "remap_local.1", "remap_local.2"
    local = local @ w[f"{linear}.weight"].T + w[f"{linear}.bias"]
    local = np.array([_layer_norm(row, w[f"{norm}.weight"], w[f"{norm}.bias"]) for row in local])
    x = np.concatenate([w["mtc_token"][None], local])
    within = np.array([[0 in (a, b) or a == b for b in own] for a in own])
    # in cross-attention a token of an image sees the other image and the matching token, not itself
    between = np.array([[0 in (a, b) or a != b for b in own] for a in own])
    for layer in range(model.config.layers):
        name = f"decoder.layers.{layer}"

        def norm_rows(values: Float64, number: int, name: str = name) -> Float64:
            gain, bias = w[f"{name}.norm{number}.weight"], w[f"{name}.norm{number}.bias"]
            return np.array([_layer_norm(row, gain, bias) for row in values])

        x = norm_rows(x + _attention(x, within, w, f"{name}.self_attn", model.config.heads), 1)
        x = norm_rows(x + _attention(x, between, w, f"{name}.cross_attn", model.config.heads), 2)
        inner = np.maximum(x @ w[f"{name}.linear1.weight"].T + w[f"{name}.linear1.bias"], 0)
        x = norm_rows(x + inner @ w[f"{name}.linear2.weight"].T + w[f"{name}.linear2.bias"], 3)
    return float((x[0] @ w["classifier.weight"].T + w["classifier.bias"])[0])


@pytest.mark.parametrize("config", [SMALL, SMALL_BINARY, AmesConfig(), AmesConfig(binary=True)])
def test_forward_pass_is_the_papers(config: AmesConfig) -> None:
    model = _random(config)
    pairs = [(_features(7, 1, config.local_dim), _features(5, 2, config.local_dim))]
    pairs.append((_features(1, 3, config.local_dim), _features(3, 4, config.local_dim)))
    scorer = AmesScorer(model, device="cpu")
    found = np.array([scorer.score(q, [d])[0] for q, d in pairs])
    expected = np.array([_reference(model, q.descriptors, d.descriptors) for q, d in pairs])
    assert abs(expected[0] - expected[1]) > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def _torch_modules(config: AmesConfig) -> Any:
    """The network put together from torch's own modules, under the published names."""
    nn = torch.nn

    class Layer(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.self_attn = nn.MultiheadAttention(config.dim, config.heads, batch_first=True)
            self.cross_attn = nn.MultiheadAttention(config.dim, config.heads, batch_first=True)
            self.linear1 = nn.Linear(config.dim, config.feedforward)
            self.linear2 = nn.Linear(config.feedforward, config.dim)
            self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(config.dim) for _ in range(3))

    class Sign(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.W = nn.Parameter(torch.zeros(config.local_dim, config.dim))

        def forward(self, x: Any) -> Any:
            return torch.sign(x @ self.W)

    root = nn.Module()
    root.mtc_token = nn.Parameter(torch.zeros(config.dim))
    first = (
        [Sign(), nn.Linear(config.dim, config.dim)]
        if config.binary
        else [nn.Linear(config.local_dim, config.dim)]
    )
    root.remap_local = nn.Sequential(*first, nn.LayerNorm(config.dim))
    root.decoder = nn.Module()
    root.decoder.layers = nn.ModuleList([Layer() for _ in range(config.layers)])
    root.classifier = nn.Linear(config.dim, 1)
    return root.eval()


def _run_torch_modules(root: Any, query: Any, q_gone: Any, database: Any, d_gone: Any) -> Any:
    """Padded batches with boolean masks, True where attention is forbidden."""
    unit = torch.nn.functional.normalize
    q, t = query.shape[1], database.shape[1]
    local = [root.remap_local(unit(x, dim=-1)) for x in (query, database)]
    x = torch.cat([root.mtc_token.expand(len(query), 1, -1), *local], 1)
    gone = torch.cat([torch.zeros_like(q_gone[:, :1]), q_gone, d_gone], 1)
    group = torch.tensor([0, *[1] * q, *[2] * t])
    both = (group[:, None] > 0) & (group > 0)
    for layer in root.decoder.layers:
        for attention, norm, mask in (
            (layer.self_attn, layer.norm1, both & (group[:, None] != group)),
            (layer.cross_attn, layer.norm2, both & (group[:, None] == group)),
        ):
            x = norm(x + attention(x, x, x, attn_mask=mask, key_padding_mask=gone)[0])
        x = layer.norm3(x + layer.linear2(torch.relu(layer.linear1(x))))
    return root.classifier(x[:, 0])[:, 0]


@pytest.mark.parametrize("config", [AmesConfig(), AmesConfig(binary=True)])
def test_weights_load_into_torchs_modules_which_agree_on_padded_batches(config: AmesConfig) -> None:
    model = _random(config)
    root = _torch_modules(config)
    root.load_state_dict(model.weights, strict=True)
    rng = np.random.default_rng(0)
    query, database = (torch.from_numpy(rng.standard_normal((3, n, 768)).astype("f")) for n in (9, 6))
    q_there = torch.arange(9) < torch.tensor([[9], [4], [1]])
    d_there = torch.arange(6) < torch.tensor([[2], [6], [5]])
    with torch.inference_mode():
        expected = _run_torch_modules(root, query, ~q_there, database, ~d_there)
        found = compare(model, tokens(model, query), q_there, tokens(model, database), d_there)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5, rtol=1e-5)


# --- names and shapes of the published checkpoints ------------------------------------------------------

LAYER = {
    "self_attn.in_proj_weight": (384, 128),
    "self_attn.in_proj_bias": (384,),
    "self_attn.out_proj.weight": (128, 128),
    "self_attn.out_proj.bias": (128,),
    "cross_attn.in_proj_weight": (384, 128),
    "cross_attn.in_proj_bias": (384,),
    "cross_attn.out_proj.weight": (128, 128),
    "cross_attn.out_proj.bias": (128,),
    "linear1.weight": (1024, 128),
    "linear1.bias": (1024,),
    "linear2.weight": (128, 1024),
    "linear2.bias": (128,),
    "norm1.weight": (128,),
    "norm1.bias": (128,),
    "norm2.weight": (128,),
    "norm2.bias": (128,),
    "norm3.weight": (128,),
    "norm3.bias": (128,),
}
FULL = {
    "remap_local.0.weight": (128, 768),
    "remap_local.0.bias": (128,),
    "remap_local.1.weight": (128,),
    "remap_local.1.bias": (128,),
}
BINARY = {
    "remap_local.0.W": (768, 128),
    "remap_local.1.weight": (128, 128),
    "remap_local.1.bias": (128,),
    "remap_local.2.weight": (128,),
    "remap_local.2.bias": (128,),
}


@pytest.mark.parametrize(("binary", "remap"), [(False, FULL), (True, BINARY)])
def test_names_and_shapes_are_the_published_ones(binary: bool, remap: dict[str, tuple[int, ...]]) -> None:
    layers = {f"decoder.layers.{i}.{name}": shape for i in range(5) for name, shape in LAYER.items()}
    ends = {"mtc_token": (128,), "classifier.weight": (1, 128), "classifier.bias": (1,)}
    assert parameter_shapes(AmesConfig(binary=binary)) == {**ends, **remap, **layers}


def test_cvnet_descriptors_have_1024_dimensions() -> None:
    assert parameter_shapes(AmesConfig(local_dim=1024))["remap_local.0.weight"] == (128, 1024)


# --- properties of the scores --------------------------------------------------------------------------


@pytest.mark.parametrize("config", [SMALL, SMALL_BINARY])
def test_neither_batch_nor_order_nor_role_changes_a_score(config: AmesConfig) -> None:
    model = _random(config)
    query = _features(6, 0)
    database = [_features(count, 10 + count) for count in (3, 0, 9, 1, 8, 4)]
    whole = AmesScorer(model, device="cpu").score(query, database)
    assert whole[1] == NO_EVIDENCE
    assert len(set(whole.tolist())) == len(database)
    for batch_tokens in (1, 25, 40):
        small = AmesScorer(model, device="cpu", batch_tokens=batch_tokens)
        np.testing.assert_allclose(small.score(query, database), whole, atol=1e-5)
    alone = AmesScorer(model, device="cpu")
    np.testing.assert_allclose([alone.score(query, [image])[0] for image in database], whole, atol=1e-5)
    # the network is symmetric, and sets have no order
    np.testing.assert_allclose([alone.score(image, [query])[0] for image in database], whole, atol=1e-5)
    rng = np.random.default_rng(5)
    shuffled = [_reordered(image, rng.permutation(len(image.scores))) for image in (query, *database)]
    np.testing.assert_allclose(alone.score(shuffled[0], shuffled[1:]), whole, atol=1e-5)


def _reordered(features: LocalFeatures, order: Int64) -> LocalFeatures:
    return LocalFeatures(
        features.keypoints[order], features.descriptors[order], features.scores[order], features.image_size
    )


def test_an_empty_side_is_no_match() -> None:
    scorer = AmesScorer(_random(SMALL), device="cpu")
    assert scorer.score(_features(0, 0), [_features(3, 1)]).tolist() == [NO_EVIDENCE]
    assert scorer.score(_features(3, 0), []).shape == (0,)


def test_only_the_first_features_count() -> None:
    model = _random(SMALL)
    query, image = _features(9, 0), _features(9, 1)
    few = AmesScorer(model, device="cpu", query_features=4, database_features=2).score(query, [image])
    cut = [_reordered(f, np.arange(n)) for f, n in ((query, 4), (image, 2))]
    np.testing.assert_allclose(few, AmesScorer(model, device="cpu").score(cut[0], [cut[1]]), atol=1e-6)


def test_scale_and_type_of_descriptors_do_not_matter() -> None:
    scorer = AmesScorer(_random(SMALL), device="cpu")
    query, image = _features(5, 0), _features(5, 1)
    stored = LocalFeatures(image.keypoints, (image.descriptors * 3).astype(np.float64), image.scores, (1, 1))
    np.testing.assert_allclose(scorer.score(query, [stored]), scorer.score(query, [image]), atol=1e-5)


def test_stored_bits_give_the_scores_of_the_descriptors() -> None:
    scorer = AmesScorer(_random(SMALL_BINARY), device="cpu", database_features=7)
    query, database = _features(6, 0), [_features(count, 20 + count) for count in (9, 4, 0)]
    stored = [scorer.compress(image) for image in database]
    assert [image.descriptors.shape for image in stored] == [(7, 2), (4, 2), (0, 2)]
    assert stored[0].descriptors.dtype == np.uint8
    np.testing.assert_allclose(scorer.score(query, stored), scorer.score(query, database), atol=1e-6)
    np.testing.assert_allclose(
        scorer.score(scorer.compress(query), database), scorer.score(query, database), atol=1e-6
    )
    with pytest.raises(ArtifactError, match="compress all or none"):
        scorer.score(query, [stored[0], database[1]])
    with pytest.raises(ConfigError, match="only a binary"):
        AmesScorer(_random(SMALL), device="cpu").compress(query)


def test_published_descriptors_take_16_bytes() -> None:
    scorer = AmesScorer(_random(AmesConfig(binary=True)), device="cpu", database_features=50)
    assert scorer.compress(_features(60, 0, 768)).descriptors.nbytes == 800


def test_wrong_descriptors_are_named() -> None:
    scorer = AmesScorer(_random(SMALL), device="cpu")
    with pytest.raises(ArtifactError, match=r"the query have shape \(3, 21\), but the network takes 20"):
        scorer.score(_features(3, 0, 21), [_features(3, 1)])
    with pytest.raises(ArtifactError, match="database images 1 to 1"):
        scorer.score(_features(3, 0), [_features(0, 1), _features(3, 1, 7)])


def test_smooth_signs_approach_signs() -> None:
    model = _random(SMALL_BINARY)
    values = torch.from_numpy(_features(50, 0).descriptors)
    hard, smooth = signs(model.weights, values), signs(model.weights, values, 1e-12)
    np.testing.assert_allclose(smooth.numpy(), hard.numpy(), atol=1e-6)
    assert set(hard.unique().tolist()) == {-1.0, 1.0}


def test_fusion_is_the_papers() -> None:
    similarity, score = np.array([0.3, 0.9], np.float32), np.array([4.0, -2.5], np.float32)
    expected = 0.35 * similarity + 0.65 / (1 + np.exp(-0.1 * score.astype(np.float64)))
    np.testing.assert_allclose(
        fuse(similarity, score, PUBLISHED_FUSION["dinov2-binary"]), expected, rtol=1e-6
    )
    assert PUBLISHED_FUSION["dinov2"] == Fusion(0.55, 0.30)
    extreme = np.array([-1e30], np.float32)
    assert fuse(np.array([0.5], np.float32), extreme, Fusion(0.5, 1.0)).tolist() == [0.25]


# --- files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [SMALL, SMALL_BINARY])
def test_published_checkpoints_and_our_files_load(config: AmesConfig, tmp_path: Path) -> None:
    model = _random(config)
    torch.save({"epoch": 3, "state": dict(model.weights)}, tmp_path / "published.pt")
    torch.save(dict(model.weights), tmp_path / "plain.pt")
    save(model, tmp_path / "own.pt")
    for name in ("published.pt", "plain.pt", "own.pt"):
        found = load(tmp_path / name)
        assert found.config == config
        assert all(torch.equal(found.weights[n], tensor) for n, tensor in model.weights.items())
    three = AmesConfig(20, 18, 3, 1, 8)
    save(_random(three), tmp_path / "own.pt")
    assert load(tmp_path / "own.pt").config.heads == 3


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with pytest.raises(ConfigError, match="there is no file"):
        load(path)
    path.write_bytes(pickle.dumps({"state": logging.getLogger}))
    with pytest.raises(ExtractionError, match="not a torch file of tensors"):
        load(path)
    torch.save({"state": {"conv.weight": torch.zeros(3)}}, path)
    with pytest.raises(ExtractionError, match=r"not an AMES network; its tensors are conv\.weight"):
        load(path)
    torch.save({"state": [1, 2]}, path)
    with pytest.raises(ExtractionError, match="expected tensors by name"):
        load(path)
    weights = dict(_random(SMALL).weights)
    torch.save({**weights, "surplus": torch.zeros(2)}, path)
    with pytest.raises(ExtractionError, match=r"surplus is \(2,\), not known"):
        load(path)
    del weights["decoder.layers.1.norm2.bias"]
    torch.save(weights, path)
    with pytest.raises(ExtractionError, match=r"1 tensor does not fit.*norm2.bias is missing, not \(16,\)"):
        load(path)


@pytest.mark.parametrize("wrong", [{"dim": 15}, {"layers": 0}, {"dim": 12, "binary": True, "heads": 1}])
def test_impossible_sizes_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        AmesConfig(**wrong)


# --- training -------------------------------------------------------------------------------------------


def _instances(count: int, images: int, seed: int) -> tuple[list[LocalFeatures], list[str]]:
    """Images that show 6 of the 8 spots of their instance, in any order, under noise."""
    rng = np.random.default_rng(seed)
    features, labels = [], []
    for instance in range(count):
        spots = rng.standard_normal((8, 16))
        for _ in range(images):
            seen = spots[rng.permutation(8)[:6]] + 0.2 * rng.standard_normal((6, 16))
            zeros = np.zeros((6, 2), np.float32)
            features.append(LocalFeatures(zeros, seen.astype(np.float32), zeros[:, 0], (1, 1)))
            labels.append(f"instance {instance}")
    return features, labels


def _separation(model: Ames, features: Sequence[LocalFeatures], labels: Sequence[str]) -> float:
    """How often a matching pair scores higher than another pair (area under the ROC curve)."""
    scorer = AmesScorer(model, device="cpu")
    scores = np.array([scorer.score(query, features) for query in features])
    same = np.array(labels)[:, None] == np.array(labels)
    matching = scores[same & ~np.eye(len(labels), dtype=bool)]
    return float((matching[:, None] > scores[~same]).mean())


QUICK = TrainingOptions(steps=220, pairs=32, learning_rate=3e-3, fewest=6, most=6, device="cpu")


@pytest.mark.parametrize("binary", [False, True])
def test_learns_to_tell_instances_apart_that_it_never_saw(binary: bool) -> None:
    features, labels = _instances(300, 4, 0)
    unseen = _instances(20, 3, 1)
    config = AmesConfig(local_dim=16, dim=32, heads=2, layers=2, feedforward=64, binary=binary)
    assert abs(_separation(initialise(config), *unseen) - 0.5) < 0.25
    model = train(features, labels, config, QUICK)
    assert _separation(model, *unseen) > 0.8


TINY = AmesConfig(local_dim=16, dim=8, heads=1, layers=1, feedforward=8)


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    features, labels = _instances(5, 3, 0)
    options = TrainingOptions(steps=8, pairs=4, fewest=2, most=6, checkpoint_every=3, device="cpu")
    seen: list[tuple[int, int]] = []
    whole = train(features, labels, TINY, options, progress=lambda *step: seen.append(step))
    assert seen == [(i, 8) for i in range(1, 9)]

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    file = tmp_path / "training.pt"
    with pytest.raises(KeyboardInterrupt):
        train(features, labels, TINY, options, checkpoint=file, progress=stop)
    seen.clear()
    again = train(features, labels, TINY, options, checkpoint=file, progress=lambda *s: seen.append(s))
    assert seen[0] == (4, 8)
    for name, tensor in whole.weights.items():
        assert torch.equal(again.weights[name], tensor), name
    # a finished one is read, not repeated, and can be loaded like any other file
    finished = train(features, labels, TINY, options, checkpoint=file, progress=lambda *s: pytest.fail("ran"))
    assert torch.equal(finished.weights["mtc_token"], whole.weights["mtc_token"])
    assert load(file).config == TINY
    with pytest.raises(ArtifactError, match="belongs to a training with other settings"):
        train(features, labels[::-1], TINY, options, checkpoint=file)


def test_the_seed_decides() -> None:
    features, labels = _instances(5, 3, 0)
    first, second, third = (
        train(features, labels, TINY, TrainingOptions(steps=2, pairs=4, seed=seed, device="cpu"))
        for seed in (1, 1, 2)
    )
    name = "classifier.weight"
    assert torch.equal(first.weights[name], second.weights[name])
    assert not torch.equal(first.weights[name], third.weights[name])


def test_pairs_match_as_labelled_and_hard_ones_are_neighbours() -> None:
    labels = [str(i // 3) for i in range(30)]
    neighbours = np.array([[(i + 3) % 30, i ^ 1] for i in range(30)])
    sampler = PairSampler(labels, TrainingOptions(pairs=40, hard=1.0), neighbours)
    first, second, match = sampler.draw(7)
    assert match.tolist() == [1.0] * 20 + [0.0] * 20
    assert [labels[a] == labels[b] for a, b in zip(first, second, strict=True)] == [True] * 20 + [False] * 20
    assert all(b in neighbours[a] for a, b in zip(first[20:], second[20:], strict=True))
    assert (first != second).all()
    assert not np.array_equal(sampler.draw(8)[0], first)
    easy = PairSampler(labels, TrainingOptions(pairs=4000), None).draw(0)
    assert len(np.unique(easy[1][2000:])) == 30


@pytest.mark.parametrize("labels", [["a", "a"], ["a", "b", "c"], []])
def test_labels_without_pairs_are_refused(labels: list[str]) -> None:
    with pytest.raises(DatasetError, match="two instances and one with two images"):
        PairSampler(labels, TrainingOptions(), None)


def test_the_global_teacher_is_a_calibrated_probability() -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, 8))
    values = np.repeat(centres, 5, axis=0) + 0.8 * rng.standard_normal((200, 8))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    labels = [str(i // 5) for i in range(200)]
    teach = global_teacher(values.astype(np.float32), labels)
    first, second, match = PairSampler(labels, TrainingOptions(pairs=4000, seed=9), None).draw(0)
    taught = teach(first, second)
    low, high = taught < 0.5, taught >= 0.5
    assert match[low].mean() == pytest.approx(taught[low].mean(), abs=0.06)
    assert match[high].mean() == pytest.approx(taught[high].mean(), abs=0.06)
    assert match[high].mean() > match[low].mean() + 0.3


def test_a_student_takes_over_what_only_its_teacher_knows() -> None:
    features, labels = _instances(60, 4, 0)
    asked: list[int] = []

    def contrary(first: Int64, second: Int64) -> Float64:
        asked.append(len(first))
        return np.array([labels[a] != labels[b] for a, b in zip(first, second, strict=True)], np.float64)

    options = TrainingOptions(
        steps=120, pairs=32, learning_rate=3e-3, fewest=6, most=6, distillation=1.0, device="cpu"
    )
    config = AmesConfig(local_dim=16, dim=32, heads=2, layers=2, feedforward=64)
    model = train(features, labels, config, options, teacher=contrary)
    assert asked == [32] * 120
    assert _separation(model, features[:60], labels[:60]) < 0.2


def test_a_network_teaches_its_own_probabilities() -> None:
    model = _random(SMALL)
    features = [_features(4, seed) for seed in range(4)]
    taught = model_teacher(model, features)(np.array([0, 1]), np.array([2, 3]))
    scorer = AmesScorer(model, device="cpu")
    scores = [scorer.score(features[a], [features[b]])[0] for a, b in ((0, 2), (1, 3))]
    np.testing.assert_allclose(taught, 1 / (1 + np.exp(-np.array(scores, np.float64))), atol=1e-6)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"pairs": 1}, {"most": 3}, {"hard": 2.0}, {"sigma": 0.0}])
def test_impossible_training_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        TrainingOptions(**wrong)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_activation_is_that_of_torchs_decoder(activation: str, tmp_path: Path) -> None:
    model = Ames(replace(SMALL, activation=activation), _random(SMALL).weights)
    torch.save({f"module.{name}": value for name, value in model.weights.items()}, tmp_path / "a.pt")
    loaded = load(tmp_path / "a.pt", activation=activation)
    assert loaded.config == model.config
    scores = [AmesScorer(each).score(_features(5, 0), [_features(7, 1)]) for each in (model, loaded)]
    np.testing.assert_array_equal(scores[0], scores[1])
    other = replace(SMALL, activation="gelu" if activation == "relu" else "relu")
    assert (
        abs(AmesScorer(Ames(other, model.weights)).score(_features(5, 0), [_features(7, 1)]) - scores[0])
        > 1e-6
    )
    save(model, tmp_path / "b.pt")
    assert load(tmp_path / "b.pt").config.activation == activation
