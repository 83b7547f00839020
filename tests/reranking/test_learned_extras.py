"""Learned local features and AMES where torch is missing: importable, and the remedy is said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ilion.errors import ConfigError, MissingExtraError
from ilion.localfeatures import build
from ilion.reranking.ames import AmesConfig, TrainingOptions, initialise, load, train
from ilion.reranking.lightglue import LightGlue
from ilion.types import LocalFeatures

NONE = LocalFeatures(np.zeros((0, 2), "f"), np.zeros((0, 4), "f"), np.zeros(0, "f"), (1, 1))


@pytest.mark.parametrize(
    "call",
    [
        lambda: build("disk"),
        lambda: build("tokens:dinov2-s"),
        lambda: build("tokens:timm:vit_tiny_patch16_224"),
        lambda: LightGlue("rootsift"),
        lambda: initialise(AmesConfig()),
        lambda: load(Path("ames.pt")),
        lambda: train([NONE] * 4, list("aabb"), AmesConfig(), TrainingOptions()),
    ],
)
def test_the_install_line_is_said(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ilion\[torch\]'"):
        call()


def test_mistakes_are_said_before_anything_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match="write tokens:MODEL"):
        build("tokens")
    with pytest.raises(ConfigError, match="'n8' is not one of n16"):
        build("aliked:n8")
    with pytest.raises(ConfigError, match="'akaze' is not one of"):
        LightGlue("akaze")
