"""Entries of docstrings name what they describe, as CONTRIBUTING.md asks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "ilion"
BARE = re.compile(r"(It|Its|They|Theirs?|That|Those|This|What|Which|Who|Whom|Whose|Where|How|One of them)")
"""Words that begin an entry which says nothing by itself: a reader must look for what they stand for."""


def entries(doc: str) -> list[str]:
    """Return the first lines of the entries of ``Args``, ``Attributes`` and ``Raises``.

    >>> entries("Do it." + chr(10) + "Args:" + chr(10) + "    path: The file.")
    ['path: The file.']
    """
    found, inside = [], False
    for line in doc.splitlines():
        if re.fullmatch(r"(Args|Attributes|Raises):", line):
            inside = True
        elif line and not line.startswith(" "):
            inside = False
        elif inside and re.match(r" {4}\w+: ", line):
            found.append(line.strip())
    return found


def test_entries_begin_with_a_noun() -> None:
    bare, seen = [], 0
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for entry in entries(ast.get_docstring(node) or ""):
                    seen += 1
                    if BARE.match(entry.partition(": ")[2]):
                        bare.append(f"{path.relative_to(SOURCE)}: {node.name}: {entry}")
    assert seen > 4000
    assert bare == []
