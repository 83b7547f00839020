"""The shape of the house, measured from its imports: ``python -m tests.architecture [FOLDER OF A PACKAGE]``.

A room is a folder or a file directly below the package. An arrow from A to B says that a file of A imports
one of B, wherever the import stands: at the top, inside a function, under TYPE_CHECKING, or by name through
importlib. A room's floor is one above the highest room it imports; rooms that import each other in a loop are
a circle.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Graph = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class House:
    """What was measured.

    Args:
        modules: Dotted name below the package ("" for its own ``__init__``) -> file.
        imports: Module -> modules that it imports, wherever the import stands.
    """

    modules: Mapping[str, Path]
    imports: Graph

    @property
    def rooms(self) -> Graph:
        """Room -> rooms that it imports."""
        graph: dict[str, set[str]] = {}
        for module, others in self.imports.items():
            graph.setdefault(room(module), set()).update(room(o) for o in others)
        return {name: frozenset(others - {name, ""}) for name, others in graph.items()}

    @property
    def root_files(self) -> list[str]:
        """Names of the files that lie directly in the package."""
        folders = {path.parent for path in self.modules.values()}
        root = min(folders, key=lambda folder: len(folder.parts))
        return sorted(path.name for path in self.modules.values() if path.parent == root)


def room(module: str) -> str:
    """Return the folder or file directly below the package that a module belongs to."""
    return module.partition(".")[0]


def measure(root: Path) -> House:
    """Read the imports of every module of a package.

    Args:
        root: Folder of the package.
    """
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return House(
        modules,
        {
            module: frozenset(imported(nodes(path), root.name, modules)) - {module}
            for module, path in modules.items()
        },
    )


@cache
def parse(path: Path) -> ast.Module:
    """Parse a file, once for all who ask."""
    return ast.parse(path.read_text("utf-8"))


@cache
def nodes(path: Path) -> list[ast.Import | ast.ImportFrom | ast.Call | ast.Attribute]:
    """List the nodes of a file that rules about the code look at, once for all who ask."""
    kinds = (ast.Import, ast.ImportFrom, ast.Call, ast.Attribute)
    return [node for node in ast.walk(parse(path)) if isinstance(node, kinds)]


def imported(found: Iterable[ast.AST], package: str, modules: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules of a package that nodes of a file name in an import of any kind."""
    for node in found:
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module.partition(".")[0] == package and not node.level:
                for alias in node.names:
                    yield within(f"{module}.{alias.name}", package, modules)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == package:
                    yield within(alias.name, package, modules)
        elif isinstance(node, ast.Call) and called(node.func) in ("import_module", "__import__", "Lazy"):
            for argument in node.args[:1]:
                if (name := text(argument)).partition(".")[0] == package:
                    yield within(name.partition(":")[0], package, modules)


def called(function: ast.expr) -> str:
    """Return the last name of what is called."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def text(node: ast.expr) -> str:
    """Return a string as far as it is written down: all of a constant, an f-string up to its first value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr) and node.values:
        return text(node.values[0])
    return ""


def within(name: str, package: str, modules: Mapping[str, Path]) -> str:
    """Return the longest beginning of a dotted name that is a module, without the package's own name."""
    inside = name.removeprefix(package).strip(".")
    while inside and inside not in modules:
        inside = inside.rpartition(".")[0]
    return inside


def circles(graph: Graph) -> list[list[str]]:
    """Return every group of nodes that reach each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def floors(graph: Graph) -> dict[str, int]:
    """Return the floor of every room of a graph without circles."""
    known: dict[str, int] = {}

    def floor(node: str) -> int:
        if node not in known:
            known[node] = 1 + max((floor(other) for other in graph.get(node, ())), default=0)
        return known[node]

    return {node: floor(node) for node in graph}


def main() -> None:
    """Print rooms by floor, and the counts."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "src" / "ilion")
    house = measure(root)
    graph = house.rooms
    loops = circles(graph) + circles(house.imports)
    if not circles(graph):
        levels = floors(graph)
        for level in range(max(levels.values()), 0, -1):
            print(
                f"floor {level:2}  {'  '.join(sorted(n or '__init__' for n in graph if levels[n] == level))}"
            )
        print(f"floors {max(levels.values())}")
    print(f"rooms {len(graph)}, arrows {sum(map(len, graph.values()))}, circles {len(loops)}")
    print(f"files on the root {len(house.root_files)}: {' '.join(house.root_files)}")
    for loop in loops:
        print(f"circle: {' '.join(loop)}")


if __name__ == "__main__":
    main()
