"""Every number in the settings has a range, and is held to it wherever it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest

from ilion.config import ExperimentConfig, apply_overrides, check_parts, from_dict, load_experiment, to_dict
from ilion.errors import ConfigError
from ilion.forecast.cost import Prices
from ilion.types import Between

NUMBERS = {int, float, tuple[int, ...], tuple[float, ...]}


def settings_of(kind: type[Any], where: str = "") -> Iterator[tuple[str, Any, list[Between]]]:
    """Yield name, plain type and ranges of every setting below a config."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        plain, *markers = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        if dataclasses.is_dataclass(plain):
            yield from settings_of(plain, f"{where}{name}.")  # type: ignore[arg-type]
        else:
            yield f"{where}{name}", plain, [marker for marker in markers if isinstance(marker, Between)]


ALL = [(name, plain, ranges) for name, plain, ranges in settings_of(ExperimentConfig) if plain in NUMBERS]


def with_value(name: str, value: object) -> ExperimentConfig:
    """Return the defaults with one setting of another value, without any check on the way."""
    *sections, last = name.split(".")
    config: Any = ExperimentConfig()
    path = [config]
    for section in sections:
        path.append(getattr(path[-1], section))
    changed = dataclasses.replace(path.pop(), **{last: value})
    for section in reversed(sections):
        changed = dataclasses.replace(path.pop(), **{section: changed})
    return changed  # type: ignore[no-any-return]


def test_every_number_has_a_range_that_holds_its_default() -> None:
    assert len(ALL) > 50
    check_parts(ExperimentConfig())
    assert from_dict(ExperimentConfig, to_dict(ExperimentConfig())) == ExperimentConfig()
    for name, _, ranges in ALL:
        assert len(ranges) == 1, name
        assert ranges[0].high < float("inf"), name


@pytest.mark.parametrize(("name", "plain", "ranges"), ALL, ids=[name for name, _, _ in ALL])
def test_numbers_out_of_range_are_refused_with_their_name(
    name: str, plain: Any, ranges: list[Between]
) -> None:
    [limit] = ranges
    bad: list[object] = [int(limit.low) - 1, int(limit.high) + 1, 10**12, -(10**12)]
    if plain in (float, tuple[float, ...]):
        bad += [float("nan"), float("inf"), float("-inf")]
    for value in bad:
        given = [value] if get_origin(plain) is tuple else value
        with pytest.raises(ConfigError, match=f"'{name}' must be from"):
            from_dict(ExperimentConfig, apply_overrides({}, [f"{name}={given}"]))
        try:
            config = with_value(name, (value,) if isinstance(given, list) else value)
        except ConfigError:  # prices and metrics are checked when they are made
            continue
        with pytest.raises(ConfigError, match=f"'{name}' must be from"):
            check_parts(config)


@pytest.mark.parametrize(
    "setting",
    ["compute.processes=-1", "seed=-1", "search.k=1000000000000", "search.block_size=-5", "price.hour=nan",
     "price.hour=inf", "extraction.scales=[0]", "evaluation.bootstrap=0"],
)  # fmt: skip
def test_a_run_does_not_begin_with_them(setting: str, tiny_dataset: Path) -> None:
    with pytest.raises(ConfigError, match=f"'{setting.partition('=')[0]}' must be from .* got"):
        load_experiment(tiny_dataset, [setting])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_prices_are_numbers(value: float) -> None:
    with pytest.raises(ConfigError, match="must be numbers"):
        Prices(hour=value)
