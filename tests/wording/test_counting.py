"""One is one: no sentence of the source says "1 queries"."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.architecture import parse

import ilion
from ilion.wording import counted

PACKAGE = Path(ilion.__file__).parent
THINGS = (
    "answers|boxes|cells|classes|codes|connections|copies|decisions|descriptors|designs|distractors|entries|errors|"
    "features|files|ids|images|instances|keys|labels|layers|lines|matches|members|models|objects|pairs|parts|people|"
    "photos|picks|positives|queries|records|results|reviewers|rows|runs|searches|settings|shards|suspects|tables|"
    "tasks|tensors|values|views|warnings|words"
)
"""What sentences count."""
_COUNTED = re.compile(rf"^ (?:(?:more|further|other|such|wrong|local|labelled|adaptation) )?(?:{THINGS})\b")
NO_NUMBERS = {
    "sizes[row] objects": "the name of a size",
    "clutters[column] photos": "the name of a clutter",
    "name queries": "image or text",
    "what ids": "the name of a partition",
    "labels.shape labels": "a shape",
    "dataset.shape values": "a shape",
    "features.shape[0] rows": "beside a shape",
    "shape.rows descriptors": "beside a shape",
    "len(descriptors[:2]) descriptors": "beside a shape",
    "len(labels) images": "no fewer than a training has",
    "MOST_MEMBERS members": "a limit",
    "size objects": "a limit",
    "len(inner) values": "a form that developers see",
}
"""Values before a plural that cannot be 1 where a user reads them, and why."""


def _plurals() -> Iterator[tuple[str, str]]:
    """Yield module and text of each number before a plural that does not ask whether it is 1."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(parse(path)):
            if not isinstance(node, ast.JoinedStr):
                continue
            for part, after in zip(node.values, node.values[1:], strict=False):
                if (
                    isinstance(part, ast.FormattedValue)
                    and (part.format_spec is None or ast.unparse(part.format_spec) == "f','")
                    and part.conversion == -1
                    and not ast.unparse(part.value).startswith("counted(")
                    and isinstance(after, ast.Constant)
                    and (found := _COUNTED.match(str(after.value)))
                ):
                    yield path.relative_to(PACKAGE).as_posix(), ast.unparse(part.value) + found[0]


def test_numbers_agree_with_what_they_count() -> None:
    wrong = [(module, text) for module, text in _plurals() if text not in NO_NUMBERS]
    assert not wrong, f"use ilion.wording: counted ({wrong})"
    assert {text for _, text in _plurals()} == set(NO_NUMBERS)


_OF = re.compile(r"\0([^\0\1]*)\1 of (?:the )?\0counted\((?!.* (?:is|has)')[^\1]*\1 (?:are|have|were|do)\b")


def test_verbs_agree_with_the_part_that_they_speak_of() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    str(v.value) if isinstance(v, ast.Constant) else f"\0{ast.unparse(v.value)}\1"  # type: ignore[attr-defined]
                    for v in node.values
                ]
                wrong += [(path.name, found[1]) for found in _OF.finditer("".join(parts))]
    assert not wrong, f"use ilion.wording: agree ({wrong})"


@pytest.mark.parametrize("count", [0, 1, 2, 1204])
def test_one_is_one(count: int) -> None:
    said = counted(count, "query has", "queries have")
    assert said.endswith("query has" if count == 1 else "queries have")
    assert said.startswith(f"{count:,} ")
