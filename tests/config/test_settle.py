"""What ``auto`` stands for."""

from __future__ import annotations

from typing import Any

import pytest

from ilion.config import ExperimentConfig, check_given, from_dict, settle
from ilion.config.settle import global_settings
from ilion.errors import ConfigError


def settled(**sections: Any) -> tuple[str, str]:
    found = settle(from_dict(ExperimentConfig, sections))
    return found.search.method, found.extraction.model


def test_nothing_said_searches_by_local_features() -> None:
    assert settled() == ("local", "default")
    assert settled(extraction={"query_box": "none", "workers": 2}) == ("local", "default")
    assert settled(search={"k": 7, "local": {"budget": 4096}}) == ("local", "default")
    assert settled(rerank={"features": "rootsift"}, reading={"use": "fused"}) == ("local", "default")


@pytest.mark.parametrize(
    "sections",
    [
        {"extraction": {"model": "default"}},
        {"extraction": {"model": "dinov2-b"}},
        {"extraction": {"pooling": "gem"}},
        {"adaptation": {"method": "few-shot"}},
        {"search": {"expansion": "alpha"}},
        {"search": {"database_expansion_top": 3}},
        {"dataset": {"queries": "both"}},
    ],
)
def test_what_asks_for_a_global_descriptor_gets_one(sections: dict[str, Any]) -> None:
    method, model = settled(**sections)
    assert method == "exact"
    assert model == sections.get("extraction", {}).get("model", "default")


def test_what_is_said_stays() -> None:
    for method in ("local", "asmk", "compressed", "exact"):
        assert settled(search={"method": method})[0] == method
    config = from_dict(ExperimentConfig, {"search": {"method": "local"}})
    assert settle(config, descriptors=True).search.method == "local"
    assert settle(ExperimentConfig(), descriptors=True).search.method == "exact"
    assert settle(settle(config)) == settle(config)


def test_every_setting_of_a_global_descriptor_is_refused_beside_the_local_search() -> None:
    config = from_dict(ExperimentConfig, {"search": {"method": "local"}})
    assert {"model", "pooling", "side", "text_tower"} <= set(global_settings())
    for name in global_settings():
        with pytest.raises(ConfigError, match="computes no global descriptor"):
            check_given("run", [f"extraction.{name}=x"], config)
    check_given("run", ["extraction.query_box=none", "search.local.budget=4096"], config)
    exact = from_dict(ExperimentConfig, {"search": {"method": "exact"}})
    with pytest.raises(ConfigError, match="not local"):
        check_given("run", ["search.local.budget=4096"], exact)
