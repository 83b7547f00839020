"""Numbers that no float can hold are refused where JSON and TOML are read, and not where they are used."""

from __future__ import annotations

from typing import Any

import pytest

from ilion.opening import parse_json, parse_toml

LARGE = "1" + 400 * "0"


@pytest.mark.parametrize("text", [LARGE, f"[-{LARGE}]", f'{{"a": [{{"b": {LARGE}}}]}}'])
def test_large_numbers_in_json(text: str) -> None:
    with pytest.raises(ValueError, match="a number of more than 308 digits"):
        parse_json(text)


@pytest.mark.parametrize("number", [LARGE, f"0x{LARGE}", "1_" + 400 * "0", f"[[{LARGE}]]"])
def test_large_numbers_in_toml(number: str) -> None:
    with pytest.raises(ValueError, match="a number of more than 308 digits"):
        parse_toml(f"a = {number}")


@pytest.mark.parametrize("value", [LARGE, [10**300], {"a": LARGE}])
def test_digits_that_a_text_holds_and_numbers_that_floats_hold_are_read(value: Any) -> None:
    import json

    assert parse_json(json.dumps(value)) == value
