from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

from ilion import registry
from ilion.config import ExperimentConfig, check_parts, from_dict, load_experiment, to_dict
from ilion.config.plain import PartOf, PathFrom, map_marked
from ilion.descriptors.registry import BACKENDS
from ilion.errors import ConfigError
from ilion.pipeline import Pipeline
from ilion.registry import Part, Registry, load_code

Area = Callable[[float], float]


@pytest.fixture
def shapes() -> Registry[Area]:
    parts: Registry[Area] = Registry("shapes", None)
    parts.register("square")(square)
    parts.register("regular")(lambda side: side)
    return parts


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Leave no part of a test behind."""
    BACKENDS.parts()  # which loads the built-in ones
    before, modules = dict(BACKENDS._parts), set(sys.modules)
    yield
    BACKENDS._parts.clear()
    BACKENDS._parts.update(before)
    for name in set(sys.modules) - modules:
        if name.startswith(("outside_", "my")):
            del sys.modules[name]


def square(side: float) -> float:
    return side**2


def write(path: Path, code: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
    return path


def test_families_take_what_follows(shapes: Registry[Area]) -> None:
    assert shapes.find("regular:7").name == "regular"
    assert shapes.find("regular").name == "regular"
    assert shapes.get("circle") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sqare", "no shapes are named 'sqare'; did you mean 'square'?"),
        ("reglar:7", r"named 'reglar:7'; did you mean 'regular:7'\?$"),
        (
            "reglar:x",
            r"did you mean 'regular:x'\? if it is code that you trust, .* trust = \[.reglar",
        ),
        ("xyzzy", "known are square, regular"),
        ("own.py:area", r"'own.py:area'; if it is code that you trust, allow it: trust = \[.own.py"),
    ],
)
def test_unknown_names_say_what_could_be_meant(shapes: Registry[Area], name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        shapes.find(name)


def test_a_name_belongs_to_one_part(shapes: Registry[Area]) -> None:
    shapes.register("square")(square)
    with pytest.raises(ConfigError, match=r"'square' is registered already, by .*test_registry"):
        shapes.register("square")(functools.partial(pow, 2))


def test_code_is_imported_only_when_allowed(shapes: Registry[Area], tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.py", "RUNS = []\ndef triple(side): return 3 * side\n")
    other = write(tmp_path / "other.py", "raise AssertionError('must not run')\n")
    with pytest.raises(ConfigError, match="allow it"):
        shapes.admit(f"{other}:area", [str(mine)])
    part = shapes.admit(f"{mine}:triple", [str(mine)])
    assert part.make(2) == 6
    assert part.name == "mine.py:triple"
    assert len(part.digest) == 16
    assert shapes.find(f"{mine}:triple") is part
    with pytest.raises(ConfigError, match=r"has no 'tripel'; did you mean 'triple'\?"):
        shapes.admit(f"{mine}:tripel", [str(mine)])


def test_changed_files_are_other_code(shapes: Registry[Area], tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.py", "def area(side): return 1\n")
    first = shapes.admit(f"{mine}:area", [str(mine)])
    assert shapes.admit(f"{mine}:area", [str(mine)]).make is first.make
    write(mine, "def area(side): return 2\n")
    second = shapes.admit(f"{mine}:area", [str(mine)])
    assert (first.make(0), second.make(0)) == (1, 2)
    assert first.digest != second.digest
    moved = write(tmp_path / "elsewhere" / "mine.py", mine.read_text())
    third = shapes.admit(f"{moved}:area", [str(moved)])
    assert (third.name, third.digest) == (second.name, second.digest)


def test_a_package_is_digested_whole(shapes: Registry[Area], tmp_path: Path) -> None:
    init = write(tmp_path / "mypack" / "__init__.py", "from .inner import area\n")
    inner = write(tmp_path / "mypack" / "inner.py", "def area(side): return 1\n")
    first = shapes.admit(f"{init}:area", [str(init)])
    write(inner, "def area(side): return 2\n")
    second = shapes.admit(f"{init}:area", [str(init)])
    assert first.name == second.name == "mypack:area"
    assert (first.make(0), second.make(0)) == (1, 2)
    assert first.digest != second.digest


def test_modules_inside_an_allowed_one_are_allowed(
    shapes: Registry[Area], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "myshapes" / "__init__.py", "")
    write(tmp_path / "myshapes" / "round.py", "def area(side): return 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert shapes.admit("myshapes.round:area", ["myshapes"]).make(0) == 3
    with pytest.raises(ConfigError, match="allow it"):
        shapes.admit("myshapes_of_others:area", ["myshapes"])
    with pytest.raises(ConfigError, match=r"my_missing cannot be imported: ModuleNotFoundError"):
        shapes.admit("my_missing:area", ["my_missing"])


def test_a_family_goes_before_a_module_of_its_name(shapes: Registry[Area]) -> None:
    assert shapes.admit("regular:seven", ["regular"]).name == "regular"


def test_broken_files_are_named_and_can_be_mended(shapes: Registry[Area], tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.py", "import nothing_of_this_name\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"mine.py cannot be imported: ModuleNotFoundError"):
            shapes.admit(f"{mine}:area", [str(mine)])
    write(mine, "def area(side): return 4\n")
    assert shapes.admit(f"{mine}:area", [str(mine)]).make(0) == 4
    with pytest.raises(ConfigError, match="cannot be imported: FileNotFoundError"):
        load_code(str(tmp_path / "none.py"))


def test_parts_without_a_file_are_never_taken_for_what_they_were(shapes: Registry[Area]) -> None:
    digests = []
    for _ in range(2):
        space: dict[str, object] = {"__name__": "a_notebook", "shapes": shapes}
        exec("@shapes.register('cell')\ndef area(side): return 5\n", space)
        digests.append(shapes.find("cell").digest)
    assert len(set(digests)) == 2


def test_plugins_that_fail_are_named(
    shapes: Registry[Area], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entries = [EntryPoint("broken", "no_such_module_at_all", "ilion")]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    registry.load_plugins.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"the plugin broken \(no_such"):
            shapes.find("circle")
    finally:
        monkeypatch.undo()
        registry.load_plugins.cache_clear()
    assert "broken (no_such_module_at_all) cannot be loaded" in caplog.text


def marked() -> dict[str, tuple[PartOf, str]]:
    found = {}

    def change(setting: str, marker: object, value: str, default: str) -> str:
        if isinstance(marker, PartOf):
            found[setting] = (marker, default)
        return value

    map_marked(ExperimentConfig(), change)
    return found


def test_every_default_is_a_part_or_a_known_word() -> None:
    assert {"extraction.model", "rerank.features", "search.asmk.features"} <= set(marked())
    for setting, (marker, default) in marked().items():
        assert marker.excepts(default) or marker.registry.get(default), setting


@pytest.mark.parametrize("setting", sorted(marked()))
def test_wrong_names_are_said_before_any_folder_is_read(setting: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{setting}: no .* named 'xyzzy'"):
        load_experiment(tmp_path, [f"{setting}=xyzzy"])
    values: dict[str, object] = {}
    *sections, key = setting.split(".")
    table = values
    for section in sections:
        table = table.setdefault(section, {})  # type: ignore[assignment]
    table[key] = "xyzzy"
    values.setdefault("dataset", {})["path"] = "/nowhere"  # type: ignore[index]
    config = from_dict(ExperimentConfig, values)
    with pytest.raises(ConfigError, match=rf"{setting}: no .* named 'xyzzy'"):
        Pipeline(config)
    Pipeline(config, finished=True)


@pytest.mark.slow
def test_code_is_found_from_the_experiment_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "house" / "mine.py", "def model(info, options): ...\n")
    write(tmp_path / "house" / "mypack" / "__init__.py", "def model(info, options): ...\n")
    toml = write(
        tmp_path / "house" / "e.toml",
        'trust = ["mine.py", "mypack"]\n[extraction]\nmodel = "mypack:model"\n',
    )
    monkeypatch.chdir("/")
    before = list(sys.path)
    config = load_experiment(toml)
    assert sys.path == before
    file, package = tmp_path / "house" / "mine.py", tmp_path / "house" / "mypack" / "__init__.py"
    assert config.trust == (str(file), str(package))
    assert config.extraction.model == f"{package}:model"
    assert load_experiment(toml, ["extraction.model=mine.py:model"]).extraction.model == f"{file}:model"
    with pytest.raises(ConfigError, match=r"extraction.model: no model is named"):
        load_experiment(toml, ["extraction.model=mine:model"])
    # another process has the settings as JSON and nothing else
    code = (
        "import json, sys; from ilion.config import ExperimentConfig, check_parts, from_dict\n"
        "from ilion.descriptors.registry import BACKENDS\n"
        "config = from_dict(ExperimentConfig, json.loads(sys.argv[1])); check_parts(config)\n"
        "print(BACKENDS.find(config.extraction.model).digest)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(to_dict(config))], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == BACKENDS.find(config.extraction.model).digest != ""


def test_an_allowed_file_may_register_names(tmp_path: Path) -> None:
    write(
        tmp_path / "mine.py",
        "from ilion.descriptors.registry import BACKENDS\n"
        "@BACKENDS.register('mine')\ndef model(info, options): ...\n",
    )
    toml = write(tmp_path / "e.toml", '[extraction]\nmodel = "mine"\n')
    with pytest.raises(ConfigError, match="no model is named 'mine'"):
        load_experiment(toml)
    for _ in range(2):
        load_experiment(toml, ['trust=["mine.py"]'])
    assert BACKENDS.find("mine").digest


def test_a_finished_run_is_looked_at_without_its_code(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.py", "raise AssertionError('must not run')\n")
    config = from_dict(
        ExperimentConfig,
        {"trust": [str(mine)], "dataset": {"path": "x"}, "extraction": {"model": f"{mine}:model"}},
    )
    Pipeline(config, finished=True)
    with pytest.raises(ConfigError, match="must not run"):
        check_parts(config)


def test_markers_stand_on_texts() -> None:
    for section in (ExperimentConfig, *(type(v) for v in vars(ExperimentConfig()).values())):
        if hasattr(section, "__dataclass_fields__"):
            for hint in get_type_hints(section, include_extras=True).values():
                if get_origin(hint) is Annotated and isinstance(get_args(hint)[1], PartOf | PathFrom):
                    assert get_args(hint)[0] in (str, tuple[str, ...])
    assert Part("a", SimpleNamespace()).digest == ""
