from __future__ import annotations

from pathlib import Path

import pytest

from ilion.config import ExperimentConfig, LocalConfig, apply_overrides, dump_toml, from_dict, load_experiment
from ilion.config.plain import load_toml
from ilion.errors import ConfigError


def test_defaults_survive_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text(dump_toml(ExperimentConfig()), encoding="utf-8")
    assert from_dict(ExperimentConfig, load_toml(path)) == ExperimentConfig()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"serach": {}}, "unknown setting 'serach'; did you mean 'search'?"),
        ({"search": {"kk": 1}}, "unknown setting 'search.kk'; did you mean 'search.k'?"),
        ({"budget": 4096}, "did you mean 'search.local.budget' or 'rerank.budget'?"),
        ({"search": {"budget": 4096}}, "did you mean 'search.local.budget'?"),
        ({"search": {"xyzzy": 1}}, "unknown setting 'search.xyzzy'; known are method, k"),
        ({"search": 3}, "'search' must be a table, got 3"),
        ({"search": {"k": "ten"}}, "'search.k' must be int, got 'ten'"),
        ({"search": {"k": True}}, "'search.k' must be int, got True"),
        ({"seed": 1.5}, "'seed' must be int, got 1.5"),
        (
            {"search": {"expansion": "beta"}},
            "'search.expansion' must be one of none, average, alpha, got 'beta'",
        ),
        (
            {"extraction": {"resize": "square_"}},
            r"""'extraction.resize' must be one of "", long, .*, got 'square_'; did you mean 'square'\?""",
        ),
        (
            {"extraction": {"pooling": "max"}},
            "'extraction.pooling' must be one of .* got 'max'; did you mean",
        ),
        ({"report": {"language": "de"}}, "'report.language' must be one of en, ja, got 'de'"),
        ({"extraction": {"scales": 1.0}}, "'extraction.scales' must be a list, got 1.0"),
        ({"extraction": {"rotations": [0, "x"]}}, r"'extraction.rotations\[1\]' must be int, got 'x'"),
        ({"cache": "a\0b"}, "'cache' holds the character U.0000"),
        ({"extraction": {"prompts": ["a\0{}"]}}, r"'extraction.prompts\[0\]' holds the character"),
    ],
)
def test_wrong_settings_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(ExperimentConfig, values)


def test_integers_are_numbers() -> None:
    config = from_dict(ExperimentConfig, {"extraction": {"scales": [1, 0.7]}})
    assert config.extraction.scales == (1.0, 0.7)


def test_overrides_are_toml_or_text() -> None:
    values = apply_overrides({"search": {"k": 5}}, ["search.k=7", "name=my run", "extraction.scales=[1.0]"])
    assert values == {"search": {"k": 7}, "name": "my run", "extraction": {"scales": [1.0]}}
    with pytest.raises(ConfigError, match="write it as section"):
        apply_overrides({}, ["search.k"])
    with pytest.raises(ConfigError, match="'name' is a value, not a section"):
        apply_overrides({"name": "x"}, ["name.k=1"])


def test_a_number_of_a_choice_is_that_number() -> None:
    assert from_dict(LocalConfig, {"words": 65536}).words == 65536
    for wrong, said in (
        (65535, "must be one of 16384, 65536.*65536"),
        (65536.0, "must be one of"),
        ("65536", r"got '65536'; did you mean 65536\?"),
    ):
        with pytest.raises(ConfigError, match=said):
            from_dict(LocalConfig, {"words": wrong})


def test_paths_start_at_the_experiment_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "e.toml"
    path.write_text('output = "out"\n[dataset]\npath = "../photos"\n', encoding="utf-8")
    config = load_experiment(path)
    assert config.dataset.path == str(tmp_path / "photos")
    assert config.output == str(tmp_path / "sub" / "out")
    assert config.dataset.subset == ""


def test_a_folder_is_an_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    config = load_experiment(Path("photos"), ["search.k=3"])
    assert config.name == "photos"
    assert config.dataset.path == str(tmp_path / "photos")
    assert config.output == str(tmp_path / "runs" / "photos")
    assert config.search.k == 3


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_experiment(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = 1", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"not valid TOML.*line 1"):
        load_experiment(tmp_path / "bad.toml")
