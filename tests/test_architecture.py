"""The house keeps its shape: one direction, no cycles, everything public documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ilion
from tests.architecture import House, called, circles, measure, nodes, room, text

ROOT = Path(ilion.__file__).parent

ORDER = (
    # the ground: what everything may use
    *(
        "_version",
        "errors",
        "opening",
        "wording",
        "types",
        "registry",
        "tasks",
        "outcome",
        "images",
        "kernels",
        "storage",
    ),
    "runtime",
    # the pipeline, in the order in which data flows
    *("evaluation", "datasets", "synthetic", "interop", "descriptors", "searching", "localfeatures"),
    *("reading", "adapt", "reranking", "extraction", "forecast", "poc", "audit", "report"),
    # what puts it together
    *("config", "download", "pipeline", "serve", "api", "", "cli", "__main__"),
)
"""Every room, and "" for the package itself. A room imports only rooms before it."""
ROOT_FILES = ["__init__.py", "__main__.py", "_version.py", "errors.py", "outcome.py", "registry.py"]
HEAVY = [
    "torch",
    "torchvision",
    "timm",
    "open_clip",
    "transformers",
    "kornia",
    "numba",
    "ray",
    "h5py",
    "faiss",
    "onnx",
    "onnxruntime",
    "rapidfuzz",
    "rapidocr",
    "fastapi",
    "starlette",
    "uvicorn",
    "pymilvus",
]


@pytest.fixture(scope="module")
def house() -> House:
    return measure(ROOT)


def test_every_room_imports_only_rooms_before_it(house: House) -> None:
    place = {name: number for number, name in enumerate(ORDER)}
    wrong = [
        f"{module or 'ilion'} imports {other or 'ilion'}"
        for module, others in house.imports.items()
        for other in sorted(others)
        if room(other) != room(module) and not place[room(other)] < place[room(module)]
    ]
    assert not wrong, wrong


def test_every_room_has_its_place(house: House) -> None:
    assert set(ORDER) == {room(module) for module in house.modules}


OPENS_BY_ITSELF = {
    "opening.regular": "the one place that opens what others wrote",
    "storage.files": "writes",
    "runtime.machine": "reads /proc",
    "tasks.notes": "reads /proc",
    "download.partial": "opens its own file to write it",
    "download.archives": "opens members of an archive, and writes",
    "synthetic.writer": "writes tars, and reads its own table",
    "storage.ids": "copies its own list",
    "report.build": "reads a resource of the package",
    "report.audit.page": "reads resources of the package",
    "report.decision.names": "reads resources of the package",
    "datasets.skeleton": "reads a resource of the package",
    "download.recipes": "reads resources of the package",
    "serve.service": "reads resources of the package",
    "wording.catalogue": "reads resources of the package",
    "wording.glossary": "reads a resource of the package",
}
"""Modules that open files without `ilion.opening`, and why no pipe comes in there."""


def test_files_are_opened_in_one_place(house: House) -> None:
    doors = {
        module
        for module, path in house.modules.items()
        for node in nodes(path)
        if isinstance(node, ast.Call) and _opens(node)
    }
    assert doors <= set(OPENS_BY_ITSELF), "use ilion.opening: open_regular, read_bytes, read_text"


def _opens(call: ast.Call) -> bool:
    name = called(call.func)
    if isinstance(call.func, ast.Name):
        return name == "open"
    told = [text(a) for a in [*call.args, *(k.value for k in call.keywords)]]
    own = bool(call.args) and not text(call.args[0])  # read_text(path) of `ilion.opening` as an attribute
    if name in ("read_text", "read_bytes"):
        return not own
    return name == "open" and any(t in ("r", "rb", "rt", "utf-8", "utf-8-sig") for t in told)


def test_json_and_toml_are_parsed_in_one_place(house: House) -> None:
    """So depth, encodings and errors are looked after wherever a person gives some."""
    parsers = {
        module
        for module, path in house.modules.items()
        for node in nodes(path)
        if isinstance(node, ast.Attribute)
        and node.attr in ("load", "loads")
        and called(node.value) in ("json", "tomllib")
    }
    assert parsers == {"opening.markup"}, "use ilion.opening: parse_json, parse_toml"


def test_no_circle_of_rooms_or_files(house: House) -> None:
    assert circles(house.rooms) == circles(house.imports) == []


def test_few_files_lie_on_the_root(house: House) -> None:
    assert house.root_files == ROOT_FILES
    assert len(ROOT_FILES) <= 7


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    files = {
        "__init__.py": "",
        "a.py": "def f():\n    from house import b\n",
        "b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import house.c.d\n",
        "c/__init__.py": "",
        "c/d.py": "from importlib import *\nimport_module(f'house.{1}')\nimport_module('house.e')\n",
        "e.py": "from house.a import anything\n",
    }
    for name, code in files.items():
        (tmp_path / "house" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "house" / name).write_text(code)
    found = measure(tmp_path / "house")
    assert found.imports == {"": {*()}, "a": {"b"}, "b": {"c.d"}, "c": {*()}, "c.d": {"", "e"}, "e": {"a"}}
    assert circles(found.rooms) == [["a", "b", "c", "e"]]


def test_importing_ilion_is_light() -> None:
    code = f"import sys, ilion, ilion.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout
    assert done.stderr == ""


def public_objects() -> Iterator[tuple[str, object]]:
    for info in pkgutil.walk_packages(ilion.__path__, "ilion."):
        module = importlib.import_module(info.name)
        yield info.name, module
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != info.name:
                continue
            if inspect.isfunction(value) or inspect.isclass(value):
                yield f"{info.name}.{name}", value
                if inspect.isclass(value):
                    for method, inner in vars(value).items():
                        if not method.startswith("_") and inspect.isfunction(inner):
                            yield f"{info.name}.{name}.{method}", inner


def test_everything_public_is_documented() -> None:
    missing = [name for name, value in public_objects() if not (getattr(value, "__doc__", "") or "").strip()]
    assert not missing, missing


def test_the_public_names_exist_and_are_documented() -> None:
    for name in ilion.__all__:
        value = getattr(ilion, name)
        assert name == "__version__" or (value.__doc__ or "").strip(), name
    assert set(ilion.__all__) <= set(dir(ilion))
    with pytest.raises(AttributeError):
        _ = ilion.no_such_name


@pytest.mark.parametrize("word", ["gallery_image", "distance(", "corpus"])
def test_one_word_for_one_thing(word: str) -> None:
    found = [str(path) for path in ROOT.rglob("*.py") if word in path.read_text(encoding="utf-8").lower()]
    assert not found, f"{word!r} in {found}: see the words in docs/architecture.md"
