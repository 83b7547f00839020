"""What a stored run says of its making is looked at before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ilion.opening import find_misfit
from ilion.storage.runs import Provenance


@pytest.mark.parametrize(
    "stored",
    [5, {"environment": 5}, {"environment": {"libraries": [[]]}}, {"environment": {"libraries": {"a": 1}}}],
)
def test_a_provenance_of_another_form_is_seen(stored: Any) -> None:
    assert find_misfit(stored, Provenance)


@pytest.mark.parametrize(
    "stored", [{}, {"data set": {"notes": []}}, {"environment": {"processor": "x", "libraries": {"a": "1"}}}]
)
def test_a_provenance_of_a_run_is_not(stored: Mapping[str, Any]) -> None:
    assert find_misfit(stored, Provenance) == ""
