"""Weights of AMES as files hold them; arrays stand for tensors, so torch is not needed."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from ilion.errors import ConfigError, ExtractionError
from ilion.reranking.ames.network import AmesConfig, parameter_shapes
from ilion.reranking.ames.weights import parse

SIZES = {"local_dim": 20, "dim": 16, "heads": 2, "layers": 2, "feedforward": 24, "binary": False}
SMALL = AmesConfig(20, 16, 2, 2, 24)
STATE = {name: np.ones(shape, np.float32) for name, shape in parameter_shapes(SMALL).items()}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("below", ["", "state", "state_dict", "model"])
def test_prefixes_of_wrappers_are_taken_off(prefix: str, below: str) -> None:
    state = {prefix + name: value for name, value in STATE.items()}
    found, config = parse({below: state, "epoch": 3} if below else state, np.ndarray, "a.pt")
    assert set(found) == set(STATE)
    assert config == SMALL


def test_tensors_that_are_there_twice_are_refused() -> None:
    state = STATE | {"module.mtc_token": STATE["mtc_token"]}
    with pytest.raises(ExtractionError, match="there twice"):
        parse(state, np.ndarray, "a.pt")


def test_an_assumed_activation_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert parse(STATE, np.ndarray, "a.pt")[1].activation == "relu"
    assert "a.pt does not say its activation; relu is assumed" in caplog.text


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_given_activation_is_taken(activation: str, caplog: pytest.LogCaptureFixture) -> None:
    assert parse(STATE, np.ndarray, "a.pt", activation=activation)[1].activation == activation
    assert not caplog.records


def test_what_a_file_says_holds(caplog: pytest.LogCaptureFixture) -> None:
    content = {"config": SIZES | {"activation": "gelu"}, "state": STATE}
    assert parse(content, np.ndarray, "a.pt")[1].activation == "gelu"
    assert parse({"config": SIZES, "state": STATE}, np.ndarray, "a.pt")[1].activation == "relu"
    with pytest.raises(ConfigError, match=r"was trained with gelu; rerank\.activation = 'relu'"):
        parse(content, np.ndarray, "a.pt", activation="relu")
    assert not caplog.records


def test_unknown_activations_and_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="'silu' is not one of relu, gelu"):
        parse(STATE, np.ndarray, "a.pt", activation="silu")
    with pytest.raises(ExtractionError, match="'config' has width; expected local_dim"):
        parse({"config": {"width": 3}, "state": STATE}, np.ndarray, "a.pt")
    with pytest.raises(ExtractionError, match="expected tensors by name"):
        parse({"state": [1, 2]}, np.ndarray, "a.pt")
