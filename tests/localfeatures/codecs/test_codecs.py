from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilion.errors import ArtifactError, ConfigError, ExtractionError
from ilion.localfeatures.codecs import Codec, CodecSettings, fit_codec, raw_codec, rebuild, settings_for
from ilion.localfeatures.codecs.layout import HEADER, Layout
from ilion.localfeatures.codecs.learnt import BinaryCode
from ilion.localfeatures.codecs.plain import RawCode
from ilion.localfeatures.store import INDEX
from ilion.types import Float32, LocalFeatures, Metric


def rootsift_like(rng: np.random.Generator, number: int, dim: int = 32) -> Float32:
    """Non-negative unit vectors around a few centres."""
    centres = np.random.default_rng(99).gamma(0.3, size=(40, dim))
    values = centres[rng.integers(0, 40, number)] + 0.1 * rng.gamma(0.3, size=(number, dim))
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def features(
    number: int, seed: int = 0, size: tuple[int, int] = (640, 480), dim: int = 32, shape: bool = True
) -> LocalFeatures:
    rng = np.random.default_rng(seed)
    return LocalFeatures(
        keypoints=(rng.uniform(0, 1, (number, 2)) * size - 0.5).astype(np.float32),
        descriptors=rootsift_like(rng, number, dim),
        scores=np.sort(rng.uniform(0.01, 0.1, number))[::-1].astype(np.float32),
        image_size=size,
        scales=rng.uniform(2, 100, number).astype(np.float32) if shape else None,
        angles=rng.uniform(0, 2 * np.pi, number).astype(np.float32) if shape else None,
    )


SAMPLE = [features(200, seed) for seed in range(10)]
SIZES = {"raw": 0, "uint8": 0, "pca": 8, "pq": 8, "binary": 4}
KINDS = tuple(SIZES)


@pytest.fixture(scope="module")
def codecs() -> dict[str, Codec]:
    return {
        kind: fit_codec(CodecSettings(kind, SIZES[kind], position=8, shape=8, score=0), "cosine", SAMPLE, 0)
        for kind in KINDS
    }


def numbers(found: LocalFeatures) -> Float32:
    return np.asarray(found.descriptors, np.float32)


def cosines(query: LocalFeatures, database: LocalFeatures) -> Float32:
    a, b = numbers(query), numbers(database)
    return np.asarray(
        np.einsum("md,md->m", a, b) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)), np.float32
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [0, 1, 7])
def test_a_record_has_the_promised_length_and_decodes_to_as_many(
    codecs: dict[str, Codec], kind: str, number: int
) -> None:
    codec = codecs[kind]
    record = codec.encode(features(number, seed=50))
    assert len(record) == HEADER + number * codec.bytes_per_feature
    decoded = codec.decode(record)
    assert decoded.keypoints.shape == (number, 2)
    assert len(decoded.descriptors) == number
    assert decoded.image_size == (640, 480)
    assert codec.query(features(3)).descriptors.shape[1] == decoded.descriptors.shape[1]


@pytest.mark.parametrize("kind", KINDS)
def test_position_scale_and_angle_come_back_within_half_a_step(codecs: dict[str, Codec], kind: str) -> None:
    given_features = features(100, seed=51)
    decoded = codecs[kind].decode(codecs[kind].encode(given_features))
    assert (np.abs(decoded.keypoints - given_features.keypoints) <= np.array([640, 480]) / 512 + 1e-3).all()
    assert decoded.scales is not None
    assert decoded.angles is not None
    assert given_features.scales is not None
    assert given_features.angles is not None
    low, high = codecs[kind].layout.scales
    inside = (np.log2(given_features.scales / 640) > low) & (np.log2(given_features.scales / 640) < high)
    assert inside.mean() > 0.95
    octaves = np.abs(np.log2(decoded.scales / given_features.scales))[inside]
    assert (octaves <= (high - low) / 512 + 1e-4).all()
    turned = np.abs(np.angle(np.exp(1j * (decoded.angles - given_features.angles))))
    assert (turned <= np.pi / 256 + 1e-4).all()


def test_sixteen_bits_keep_everything_nearly_as_it_was() -> None:
    given_features = features(50, size=(4000, 3000))
    decoded = raw_codec(32, "cosine", has_shape=True).decode(
        raw_codec(32, "cosine", has_shape=True).encode(given_features)
    )
    np.testing.assert_allclose(decoded.keypoints, given_features.keypoints, atol=4000 / 2**17 + 1e-3)
    np.testing.assert_allclose(numbers(decoded), numbers(given_features), rtol=2**-10, atol=1e-7)
    np.testing.assert_allclose(decoded.scores, given_features.scores, rtol=2**-10)
    assert decoded.scales is not None
    assert given_features.scales is not None
    np.testing.assert_allclose(decoded.scales, given_features.scales, rtol=1e-3)


def test_four_bits_hold_scale_and_angle_in_one_byte() -> None:
    settings = CodecSettings("uint8", position=8, shape=4, score=0)
    codec = fit_codec(settings, "cosine", SAMPLE, 0)
    assert codec.bytes_per_feature == 2 + 1 + 32
    given_features = features(100, seed=52)
    decoded = codec.decode(codec.encode(given_features))
    assert decoded.angles is not None
    assert given_features.angles is not None
    turned = np.abs(np.angle(np.exp(1j * (decoded.angles - given_features.angles))))
    assert (turned <= np.pi / 16 + 1e-4).all()
    assert turned.max() > np.pi / 32


def test_without_scores_the_order_is_kept(codecs: dict[str, Codec]) -> None:
    decoded = codecs["uint8"].decode(codecs["uint8"].encode(features(5)))
    assert decoded.scores.tolist() == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])


def test_the_first_features_are_kept() -> None:
    codec = fit_codec(CodecSettings("uint8", features=3), "cosine", SAMPLE, 0)
    given_features = features(10)
    decoded = codec.decode(codec.encode(given_features))
    np.testing.assert_allclose(decoded.keypoints, given_features.keypoints[:3], atol=0.01)
    assert len(codec.decode(codec.encode(features(2))).scores) == 2


def test_a_byte_is_off_by_half_a_step_at_most(codecs: dict[str, Codec]) -> None:
    given_features = SAMPLE[3]
    decoded = codecs["uint8"].decode(codecs["uint8"].encode(given_features))
    everything = np.concatenate([f.descriptors for f in SAMPLE])
    step = float(np.ptp(everything)) / 255
    off = np.abs(decoded.descriptors.astype(np.float64) - given_features.descriptors.astype(np.float64))
    assert off.max() <= step / 2 + 1e-6


@pytest.mark.parametrize(("kind", "least"), [("raw", 0.999), ("uint8", 0.999), ("pca", 0.95), ("pq", 0.9)])
def test_decoded_descriptors_point_where_the_query_points(
    codecs: dict[str, Codec], kind: str, least: float
) -> None:
    fresh = features(200, seed=53)
    found = cosines(codecs[kind].query(fresh), codecs[kind].decode(codecs[kind].encode(fresh)))
    assert found.mean() > least
    others = features(200, seed=54)
    assert cosines(codecs[kind].query(others), codecs[kind].decode(codecs[kind].encode(fresh))).mean() < 0.8


def test_bits_agree_with_those_of_the_query_and_with_its_components(codecs: dict[str, Codec]) -> None:
    codec = codecs["binary"]
    fresh = features(20, seed=55)
    assert codec.metric == "hamming"
    packed = codec.decode(codec.encode(fresh))
    np.testing.assert_array_equal(packed.descriptors, codec.query(fresh).descriptors)
    assert isinstance(codec.code, BinaryCode)
    real = replace(codec, code=replace(codec.code, asymmetric=True))
    assert real.metric == "cosine"
    assert real.digest == codec.digest
    assert real.encode(fresh) == codec.encode(fresh)
    signs = real.decode(real.encode(fresh)).descriptors
    assert set(np.unique(signs)) == {-1.0, 1.0}
    np.testing.assert_array_equal(signs.astype(int) > 0, numbers(real.query(fresh)) > 0)


def test_packed_bits_are_stored_as_they_are() -> None:
    rng = np.random.default_rng(0)
    packed = replace(features(9), descriptors=rng.integers(0, 256, (9, 32), np.uint8))
    codec = fit_codec(CodecSettings("raw", position=8, shape=0, score=0), "hamming", [packed], 0)
    assert codec.bytes_per_feature == 34
    decoded = codec.decode(codec.encode(packed))
    np.testing.assert_array_equal(decoded.descriptors, packed.descriptors)
    assert decoded.scales is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_codec_survives_settings_and_arrays(codecs: dict[str, Codec], kind: str) -> None:
    codec = codecs[kind]
    again = rebuild(codec.settings(), codec.code.state())
    assert again.digest == codec.digest
    fresh = features(30, seed=56)
    assert again.encode(fresh) == codec.encode(fresh)
    np.testing.assert_array_equal(
        again.decode(codec.encode(fresh)).descriptors, codec.decode(codec.encode(fresh)).descriptors
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pq", "binary"])
def test_the_same_sample_and_seed_give_the_same_codec(codecs: dict[str, Codec], kind: str) -> None:
    settings = CodecSettings(kind, SIZES[kind], position=8, shape=8, score=0)
    assert fit_codec(settings, "cosine", SAMPLE, 0).digest == codecs[kind].digest
    assert fit_codec(settings, "cosine", SAMPLE, 1).digest != codecs[kind].digest


def test_every_setting_changes_the_digest() -> None:
    base = Codec(RawCode(32), Layout(8, 8, 0))
    others = [
        replace(base, features=5),
        replace(base, layout=Layout(16, 8, 0)),
        replace(base, layout=Layout(8, 8, 0, scales=(-5.0, 0.0))),
        replace(base, code=RawCode(33)),
        replace(base, code=RawCode(32, "hamming")),
    ]
    assert len({base.digest, *(codec.digest for codec in others)}) == 6


def test_features_without_scale_make_a_layout_without_it() -> None:
    tokens = [features(100, seed, shape=False) for seed in range(3)]
    codec = fit_codec(CodecSettings("uint8", position=8, shape=8, score=0), "cosine", tokens, 0)
    assert codec.layout.shape == 0
    assert codec.decode(codec.encode(tokens[0])).scales is None


@pytest.mark.parametrize("size", [(1, 1), (65536, 3), (3, 1 << 23)])
def test_images_of_any_size(size: tuple[int, int]) -> None:
    codec = raw_codec(32, "cosine", has_shape=True)
    decoded = codec.decode(codec.encode(features(4, size=size)))
    assert decoded.image_size == size
    np.testing.assert_allclose(decoded.keypoints, features(4, size=size).keypoints, atol=max(size) / 2**16)


def test_what_cannot_be_stored_is_refused() -> None:
    codec = raw_codec(32, "cosine", has_shape=True)
    with pytest.raises(ArtifactError, match="takes descriptors of 32, not"):
        codec.encode(features(4, dim=16))
    with pytest.raises(ArtifactError, match="no scale and angle"):
        codec.encode(features(4, shape=False))
    with pytest.raises(ArtifactError, match="16777216 x 5 pixels"):
        codec.encode(features(4, size=(1 << 24, 5)))


@given(st.binary(max_size=200))
def test_a_record_of_a_wrong_length_is_refused_and_any_other_is_decoded(record: bytes) -> None:
    codec = Codec(RawCode(4), Layout(8, 4, 0))
    if len(record) >= HEADER and (len(record) - HEADER) % codec.bytes_per_feature == 0:
        decoded = codec.decode(record)
        assert len(decoded.scores) == (len(record) - HEADER) // codec.bytes_per_feature
    else:
        with pytest.raises(ArtifactError, match="are no 6 and a multiple of 11"):
            codec.decode(record)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "pq"}, "codec 'pq' needs the size of a descriptor in bytes; size is 0"),
        ({"kind": "uint8", "size": 4}, "codec 'uint8' has its own size; size is 4"),
        ({"features": -1}, "features \\(-1\\) must not be negative"),
        ({"kind": "pca", "size": 4, "whitening": 2.0}, "whitening \\(2.0\\) lies in 0..1"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CodecSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", ["cosine", "hamming"])
@pytest.mark.parametrize("dim", [32, 61, 128, 768])
@pytest.mark.parametrize("budget", [3000, 4096, 10_000, 60_000, 400_000])
def test_a_budget_is_used_and_kept(budget: int, dim: int, metric: Metric) -> None:
    if metric == "hamming" and dim == 768:
        with pytest.raises(ConfigError, match="budget of 3000 bytes an image holds 3 features of 768 bytes"):
            settings_for(3000, 500, dim, metric)
        return
    settings = settings_for(budget, 500, dim, metric)
    code = settings.size or dim
    stored = HEADER + INDEX.itemsize + settings.features * (code + 3)
    assert stored <= budget
    assert settings.features == 500 or stored > budget - (code + 3)


def test_a_larger_budget_never_buys_less() -> None:
    choices = [settings_for(b, 500, 128, "cosine") for b in range(250, 80_000, 500)]
    bits = [(c.size or 128) * c.features for c in choices]
    assert [c.kind for c in choices] == sorted(c.kind for c in choices)
    assert choices[-1].kind == "uint8"
    assert choices[-1].features == 500
    assert bits == sorted(bits)
    assert settings_for(0, 500, 128, "cosine") == CodecSettings()


def test_a_budget_too_small_says_what_it_takes() -> None:
    with pytest.raises(ConfigError, match="holds 9 features of 6 bytes; give it at least 198"):
        settings_for(100, 500, 128, "cosine")
    assert settings_for(198, 500, 128, "cosine").features == 20


@pytest.mark.parametrize(("kind", "size"), [("pca", 33), ("pq", 33), ("binary", 5)])
def test_more_bytes_than_the_descriptor_gives(kind: str, size: int) -> None:
    with pytest.raises(ConfigError, match="bytes are more than descriptors of 32 dimensions give"):
        fit_codec(CodecSettings(kind, size), "cosine", SAMPLE, 0)


def test_bits_are_not_learnt_on() -> None:
    packed = [replace(features(300), descriptors=np.zeros((300, 32), np.uint8))]
    with pytest.raises(ConfigError, match="descriptors that are bits; use 'raw'"):
        fit_codec(CodecSettings("pq", 4), "hamming", packed, 0)


def test_a_poor_sample_says_so() -> None:
    with pytest.raises(ExtractionError, match="no local features at all"):
        fit_codec(CodecSettings("pq", 4), "cosine", [features(0)], 0)
    with pytest.raises(ExtractionError, match="only 100 local features"):
        fit_codec(CodecSettings("pq", 4), "cosine", [features(100)], 0)


@pytest.mark.slow
def test_equal_descriptors_make_a_usable_codec() -> None:
    flat = [replace(features(600), descriptors=np.full((600, 32), 0.25, np.float32))]
    for kind in KINDS:
        codec = fit_codec(CodecSettings(kind, SIZES[kind]), "cosine", flat, 0)
        assert np.isfinite(codec.decode(codec.encode(flat[0])).descriptors.astype(np.float32)).all()


@pytest.mark.parametrize("damage", ["kind", "layout", "array"])
def test_damaged_codecs_are_named(codecs: dict[str, Codec], damage: str) -> None:
    settings, state = codecs["pq"].settings(), codecs["pq"].code.state()
    if damage == "kind":
        settings["kind"] = "zip"
    elif damage == "layout":
        settings["layout"] = {"position": 8}
    else:
        del state["centroids"]
    message = {"kind": "'zip' is unknown", "layout": "no settings of a codec", "array": "lacks 'centroids'"}
    with pytest.raises(ArtifactError, match=message[damage]):
        rebuild(settings, state)
