"""EfficientNet-Lite as Ilion writes it, against timm's network with the same weights."""

from __future__ import annotations

import numpy as np
import pytest

from ilion.descriptors.base import ExtractorOptions
from ilion.descriptors.efficientnet import INPUT_MEAN, INPUT_STD, _package_weights
from ilion.descriptors.registry import build
from ilion.storage.statedict import read_state_dict

pytestmark = pytest.mark.extras


@pytest.mark.parametrize("variant", ["lite0", "lite2"])
def test_the_map_and_its_pooling_equal_timm(variant: str) -> None:
    import timm
    import torch

    weights = read_state_dict(_package_weights(variant))
    reference = torch.load(_package_weights(variant), weights_only=True)
    assert set(weights) == set(reference)
    for name, array in weights.items():
        np.testing.assert_array_equal(array, reference[name].numpy())

    network = timm.create_model(f"tf_efficientnet_{variant}", pretrained=False).eval()
    ours = list(weights.values())
    own = network.state_dict()
    assert len(own) == len(ours)  # both list their tensors in the order of the layers
    for (name, value), array in zip(own.items(), ours, strict=True):
        assert value.shape == array.shape, name
    network.load_state_dict({name: torch.tensor(a) for name, a in zip(own, ours, strict=True)})

    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((384, 288, 3), (384, 384, 3))]
    found = build(f"efficientnet-{variant}", ExtractorOptions(threads=1)).extract(images)
    for image, descriptor in zip(images, found, strict=True):
        x = torch.tensor(((image.astype(np.float32) - INPUT_MEAN) / INPUT_STD).transpose(2, 0, 1)[None])
        with torch.inference_mode():
            features = network.forward_features(x)
        pooled = features.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)[0].numpy()
        np.testing.assert_allclose(descriptor, pooled / np.linalg.norm(pooled), atol=1e-5)
