"""What an error says stays readable, however long what it quotes is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ilion.config import load_experiment
from ilion.errors import LONGEST, ConfigError, IlionError, MissingExtraError

NAMED = (
    *("dataset.layout", "extraction.model", "extraction.text_tower", "adaptation.method", "search.method"),
    *("search.asmk.features", "rerank.features", "rerank.codec", "rerank.scorer", "seed"),
)


@pytest.mark.slow
@pytest.mark.parametrize("setting", NAMED)
def test_a_value_of_a_megabyte_is_not_repeated_whole(setting: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_experiment(tmp_path, [f'{setting}="{"x" * 1_000_000}"'])
    assert len(str(refused.value)) <= LONGEST
    assert setting.rpartition(".")[0] in str(refused.value)[:200]


def test_a_long_message_keeps_how_it_begins_and_ends() -> None:
    said = str(IlionError("what was seen: " + "x" * 10_000 + "; do this"))
    assert said.startswith("what was seen: xxx")
    assert said.endswith("x; do this")
    assert "... (6,124 characters) ..." in said
    assert str(IlionError("y" * LONGEST)) == "y" * LONGEST
    assert str(MissingExtraError("x", "torch")).endswith("pip install 'ilion[torch]'")
