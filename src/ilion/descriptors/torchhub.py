"""Models of any repository with a hubconf.py: ``torchhub:OWNER/REPO/NAME`` or ``torchhub:FOLDER/NAME``.

torch.hub runs the code of the repository, so a user must say so: weights = "trust-repo" (the weights that the
repository loads itself), "trust-repo:none" (random weights) or "trust-repo:FILE".
"""

from __future__ import annotations

import os
from pathlib import Path

from ilion.descriptors.base import ExtractorOptions
from ilion.descriptors.registry import BACKENDS, ModelInfo
from ilion.descriptors.torch_common import (
    NO_WEIGHTS,
    TorchExtractor,
    Tower,
    announce_download,
    describe_tower,
    library,
    load_state_dict,
    loading,
    seeded,
)
from ilion.errors import ConfigError, ExtractionError

TRUST = "trust-repo"
"""Beginning of the option ``weights`` by which a user allows the repository's code to run."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet on the 0..1 scale; torch.hub has no place where a model could say another one."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Deviation of ImageNet on the 0..1 scale."""


@BACKENDS.register("torchhub", extra="torch")
def build(info: ModelInfo, options: ExtractorOptions) -> TorchExtractor:
    """Build a model whose call returns (B, D), (B, C, H, W) or tokens (B, T, C).

    Raises:
        ConfigError: The user has not allowed the repository's code to run.
        MissingExtraError: torch is not installed.
        ExtractionError: The repository or its weights cannot be loaded.
    """
    torch = library(info, "torch")
    repository, _, name = info.source.rpartition("/")
    trust, _, weights = (options.weights or "").partition(":")
    if not repository:
        raise ConfigError(f"{info.name}: write torchhub:OWNER/REPO/NAME or torchhub:FOLDER/NAME")
    if trust != TRUST:
        raise ConfigError(
            f"{info.name}: torch.hub runs code from {repository}. If you trust it, set weights to {TRUST!r} "
            f"(the repository's own weights), '{TRUST}:{NO_WEIGHTS}' or '{TRUST}:FILE'"
        )
    own = os.path.expanduser(repository)
    place = "local" if os.path.isdir(own) else "github"
    folder = own if place == "local" else repository
    arguments = {"pretrained": False} if weights else {}
    remedy = "Without a network: clone the repository elsewhere and write torchhub:FOLDER/NAME."
    if not weights:
        announce_download(info)
    with loading(info, repository, remedy), seeded(options.seed):
        model = torch.hub.load(folder, name, source=place, trust_repo=True, **arguments)
    if weights not in ("", NO_WEIGHTS):
        load_state_dict(model, Path(weights), info)
    if not isinstance(model, torch.nn.Module):
        raise ExtractionError(f"{info.name}: {name} returned a {type(model).__name__}, not a network")
    patch = getattr(model, "patch_size", 1)
    tower = Tower(
        module=model,
        forward=lambda pixels, pooling: model(pixels),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        multiple=patch if isinstance(patch, int) else 1,
    )
    spec = describe_tower(info, options, tower, side=224, resize="long", pooling="head")
    return TorchExtractor(tower, spec, options)
