"""The house keeps its shape: one direction, no cycles, everything public documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import ilion

ROOT = Path(ilion.__file__).parent

STAGES = {
    "download",
    "datasets",
    "extraction",
    "extractors",
    "adapt",
    "localfeatures",
    "local_extraction",
    "search",
    "asmk",
    "expand",
    "reading",
    "rerank",
    "ames",
    "evaluate",
    "compare",
    "report",
}
"""A stage imports the core and pure helpers, never another stage; ``pipeline`` alone knows the order."""

ALLOWED = {
    # drives any extractor through its protocol; the protocol and the spec live in extractors.base
    ("extraction", "extractors"),
    ("local_extraction", "localfeatures"),
    # tokens of a network are local features; the network is built as a global extractor
    ("localfeatures", "extractors"),
    # the report shows where positives rank, which evaluation computes
    ("report", "evaluate"),
}
TOP = {"pipeline", "sweep", "verbs", "cli"}
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
]


@cache
def modules() -> dict[str, Path]:
    """Dotted name below ilion -> file."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(path: Path, *, top_level_only: bool = False) -> tuple[str, ...]:
    """Names below ilion that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tuple(named(tree.body if top_level_only else ast.walk(tree)))


def named(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "ilion":
            module = node.module.partition(".")[2]
            for alias in node.names:
                inside = f"{module}.{alias.name}".lstrip(".")
                yield inside if inside in modules() else module
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("ilion."):
                    yield alias.name.partition(".")[2]


def room(module: str) -> str:
    return module.partition(".")[0]


def test_stages_do_not_import_each_other() -> None:
    wrong = []
    for module, path in modules().items():
        if room(module) not in STAGES:
            continue
        for other in imports(path):
            pair = (room(module), room(other))
            if pair[1] in (STAGES | TOP) - {pair[0]} and pair not in ALLOWED:
                wrong.append(f"{module} imports {other}")
    assert not wrong, wrong


def test_nothing_below_imports_the_top() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, path in modules().items()
        if module not in ("", "__main__") and room(module) not in TOP
        for other in imports(path)
        if room(other) in TOP
    ]
    assert not wrong, wrong


def test_no_two_modules_import_each_other() -> None:
    graph = {m: {o for o in imports(p, top_level_only=True) if o and o != m} for m, p in modules().items()}
    seen: dict[str, int] = {}

    def visit(module: str, trail: list[str]) -> None:
        if seen.get(module) == 2:
            return
        assert seen.get(module) != 1, f"import cycle: {' -> '.join([*trail[trail.index(module) :], module])}"
        seen[module] = 1
        for other in sorted(graph.get(module, ())):
            # a package that collects the names of its own files is no cycle
            if not other.startswith(f"{module}.") and not module.startswith(f"{other}."):
                visit(other, [*trail, module])
        seen[module] = 2

    for module in graph:
        visit(module, [])


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
