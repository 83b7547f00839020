"""Every string of the report and its like is shown somewhere, and everything shown has a string."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.architecture import parse

import ilion
from ilion.opening import parse_toml
from ilion.wording import load_words, rooms
from ilion.wording.catalogue import placeholders

PACKAGE = Path(ilion.__file__).parent


def _files(room: str, *patterns: str) -> list[Path]:
    """Return the files of a room, but of no room inside it."""
    inner = [PACKAGE / other for other in rooms() if other.startswith(f"{room}/")]
    found = [path for pattern in patterns for path in (PACKAGE / room).rglob(pattern)]
    return [path for path in found if not any(path.is_relative_to(other) for other in inner)]


def _keys_in_python(room: str) -> Iterator[str]:
    """Yield every string of the room as a pattern: the variable parts of f-strings match anything."""
    for path in _files(room, "*.py"):
        nodes = list(ast.walk(parse(path)))
        parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in nodes:
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "reword":
                section = ast.literal_eval(node.args[1])
                yield from (rf"{part}\.[\w-]+" for part in _said_within(section, room))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
                yield re.escape(node.value)
            elif isinstance(node, ast.JoinedStr):
                yield "".join(
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"[\w-]+"
                    for part in node.values
                )


def _said_within(section: str, room: str) -> set[str]:
    """Return a section of which any entry may be said, with those that its entries name by a placeholder."""
    known, found = load_words(room, "en"), set[str]()
    open_sections = [section]
    while open_sections:
        one = open_sections.pop()
        if one not in found and known.section(one):
            found.add(one)
            open_sections += [name for entry in known.section(one).values() for name in placeholders(entry)]
    return found or {section}


def _keys_in_templates(room: str) -> Iterator[str]:
    for file in _files(room, "*.j2"):
        text = file.read_text("utf-8")
        for call in re.findall(r"""\bt(?:\.rich)?\(((?:"[^"]*"|'[^']*'| ~ [\w.]+(?: ~ )?)+)""", text):
            key = call.replace('"', "").replace("'", "").replace(".", r"\.")
            yield re.sub(r" ~ [\w.\\]+(?: ~ )?", r"[\\w-]+", key)


@pytest.mark.slow
@pytest.mark.parametrize("room", [room for room in rooms() if room.startswith("report")])
def test_every_string_is_used_and_every_use_has_a_string(room: str) -> None:
    known = load_words(room, "en").entries
    in_templates = set(_keys_in_templates(room))
    assert len(in_templates) > 15
    for pattern in in_templates:
        assert any(re.fullmatch(pattern, key) for key in known), f"no string for {pattern}"
    in_python = set(_keys_in_python(room))
    sections = {key.partition(".")[0] for key in known}
    for pattern in in_python:
        section, dot, rest = pattern.partition(r"\.")
        if dot and section in sections and re.fullmatch(r"[\w\\+@-]+", rest):
            assert any(re.fullmatch(pattern, key) for key in known), f"no string for {pattern}"
    # The helper `say` of the caveats puts the section in front.
    caveats = {rf"caveat\.{pattern}" for pattern in in_python}
    used = in_templates | in_python | caveats
    literal = {pattern.replace("\\", "") for pattern in used if "[" not in pattern}
    wild = [pattern for pattern in used if "[" in pattern]
    own = parse_toml((PACKAGE / room / "strings" / "en.toml").read_text("utf-8"))
    keys = [f"{section}.{name}" for section, names in own.items() for name in names]
    unused = [key for key in keys if key not in literal and not any(re.fullmatch(w, key) for w in wild)]
    assert unused == []


def test_every_string_of_the_terminal_is_printed_and_every_use_has_a_string() -> None:
    own = parse_toml((PACKAGE / "cli" / "strings" / "en.toml").read_text("utf-8"))
    keys = {f"{section}.{name}" for section, names in own.items() for name in names}
    used = {
        pattern
        for path in (
            PACKAGE / "cli" / "common.py",
            PACKAGE / "cli" / "poc.py",
            PACKAGE / "cli" / "poc_text.py",
            PACKAGE / "cli" / "threshold.py",
        )
        for pattern in _keys_said(path)
    }
    known = load_words("cli", "en").entries
    assert [pattern for pattern in used if not any(re.fullmatch(pattern, key) for key in known)] == []
    assert [key for key in keys if not any(re.fullmatch(pattern, key) for pattern in used)] == []


def _keys_said(path: Path) -> Iterator[str]:
    """Yield the first argument of every call of a catalogue (``words(...)``) as a pattern."""
    for node in ast.walk(parse(path)):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in {"words", "self.words", "text.words"}
            and node.args
        ):
            yield "".join(
                re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"[\w-]+"
                for part in (getattr(node.args[0], "values", None) or [node.args[0]])
            )
