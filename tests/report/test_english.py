"""What runs and data sets say in English is said in Japanese on Japanese pages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.architecture import parse
from tests.sentences import left_in_english, raised, texts

import ilion
from ilion.errors import MissingExtraError
from ilion.report.english import failure_text, note_text, unreadable_text
from ilion.wording import load_words, reword

PACKAGE = Path(ilion.__file__).parent
JAPANESE = load_words("report", "ja")
NOTED = ("datasets", "interop", "pipeline/stages", "pipeline/explain")


def _functions(*folders: str) -> Iterator[ast.FunctionDef]:
    for folder in folders:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            yield from (node for node in ast.walk(parse(path)) if isinstance(node, ast.FunctionDef))


def _warnings() -> list[tuple[str, str]]:
    """Return what is seen and what to do of every warning about a data set."""
    found = []
    for function in _functions("datasets"):
        for call in ast.walk(function):
            match call:
                case ast.Call(func=ast.Attribute(attr="warn"), args=[_, _, seen, remedy]):
                    pass
                case ast.Call(func=ast.Name(id="note"), args=[_, _, seen, remedy]):
                    pass
                case _:
                    continue
            said, advised = list(texts(seen, function)), list(texts(remedy, function))
            assert said, ast.unparse(call)
            assert advised, ast.unparse(call)
            found += [(one, other) for one in said for other in advised]
    return found


def _notes() -> Iterator[str]:
    """Yield the notes that stages, imports and layouts write."""
    for function in _functions(*NOTED):
        for node in ast.walk(function):
            match node:
                case ast.Call(func=ast.Attribute(attr="append", value=ast.Name(id="notes")), args=values):
                    pass
                case ast.Call(
                    func=ast.Attribute(attr="append", value=ast.Attribute(attr="notes")), args=values
                ):
                    pass
                case ast.Call(func=ast.Attribute(attr="note"), args=values):
                    pass
                case ast.keyword(arg="notes", value=value):
                    values = [value]
                case ast.Yield(value=ast.expr() as value) if function.name.endswith(("_notes", "_warnings")):
                    values = [value]
                case _:
                    continue
            for each in values:
                yield from (text for text in texts(each, function) if " " in text)


def test_every_warning_about_a_data_set_is_said_in_japanese() -> None:
    warnings = _warnings()
    assert len(warnings) > 20
    for seen, remedy in warnings:
        assert reword(remedy, "remedy", JAPANESE, "report") != remedy, f"no string for {remedy!r}"
        said = note_text(f"a/b: {seen}; {remedy}", JAPANESE)
        assert said.startswith("a/b："), f"no string for {seen!r}"
        assert remedy not in said, f"no string for {seen!r}"


def test_every_note_is_said_in_japanese() -> None:
    notes = sorted(set(_notes()))
    assert len(notes) > 25
    assert [note for note in notes if note_text(note, JAPANESE) == note] == []


def test_every_reason_why_a_photo_cannot_be_read_is_said_in_japanese() -> None:
    found = set[str]()
    for path in sorted((PACKAGE / "images").glob("*.py")):
        module = parse(path)
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ImageError":
                found.update(texts(node.args[0], module))
            elif isinstance(node, ast.FunctionDef) and node.name == "_not_an_image":
                returned = (each.value for each in ast.walk(node) if isinstance(each, ast.Return))
                found.update(text for value in returned for text in texts(value, node))
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_OTHERS":
                found.update(message for _, message in ast.literal_eval(node.value))
    found -= {"7: 7"}  # the place before another reason
    assert len(found) > 35
    assert [t for t in sorted(found) if unreadable_text(f"a/b.jpg: {t}", JAPANESE) == f"a/b.jpg: {t}"] == []


@pytest.mark.parametrize(
    "place",
    [
        *("pipeline/stages", "pipeline/order.py", "extraction/images.py", "extraction/describe.py"),
        *("extraction/local.py", "localfeatures/codecs/settings.py", "searching/engines.py"),
        *("opening/whole.py", "descriptors/torch_common.py:run", "descriptors/torch_common.py:loading"),
        *("descriptors/onnx_network.py:open_session", "descriptors/onnx_network.py:run_outputs"),
        *("descriptors/onnx_network.py:_weights_file", "localfeatures/kornia.py:_find"),
    ],
)
def test_every_reason_why_a_design_failed_is_said_in_japanese(place: str) -> None:
    kinds = (
        *("ConfigError", "ExtractionError", "DatasetError", "ArtifactError", "UnwritableError", "TaskError"),
    )
    file, _, function = place.partition(":")
    path = PACKAGE / file
    modules = [parse(each) for each in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    parts = [node for module in modules for node in ast.walk(module) if getattr(node, "name", "") == function]
    whole = [ast.Module([part], []) for part in parts if isinstance(part, ast.stmt)] if function else modules
    found = {text for module in whole for text in raised(module, kinds)}
    assert found
    other = JAPANESE("failure.other", reason="")
    for text in sorted(found):
        said = failure_text(text, JAPANESE)
        assert not said.startswith(other), f"no string for {text!r}"
        assert left_in_english(said, "report") == [], f"{text!r}: {said}"
        assert failure_text(text, load_words("report", "en")) == text


def test_a_failure_that_nobody_foresaw_is_told_as_one() -> None:
    assert (
        failure_text("the moon is full", JAPANESE) == "実行できませんでした。記録（英語）：the moon is full"
    )


def test_code_from_outside_that_fails_a_design_is_told_in_japanese() -> None:
    said = failure_text("a.py:3, in extract: ValueError: no; mend it there, or leave the part out", JAPANESE)
    assert said.startswith("独自のコードで失敗しました（a.py:3のextract：ValueError: no）")


def test_a_design_that_lacks_an_extra_says_so_in_japanese() -> None:
    text = str(MissingExtraError("reading.use = 'words'", "reading"))
    said = reword(text, "reason", load_words("report/decision", "ja"), "report/decision")
    assert (
        said
        == "reading.use = 'words'には追加機能「reading」が必要（pip install 'ilion[reading]' でインストール）"
    )


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (
            "a: differs from b only in upper and lower case and spaces; rename one; on other systems the two "
            "are one file",
            "a：bとは大文字と小文字、空白だけが違います。どちらかの名前を変えてください。ほかのシステムでは1つのファイルとして"
            "扱われます",
        ),
        (
            "d.tar: holds 3 members without an image of that name (a, b) and 1 link to no file before "
            "(c), which are not read; give images an ending such as .jpg, and pack files in place of links",
            "d.tar：同じ名前の画像がない項目3件（a, b）と、参照先のファイルが前にないリンク1件（c）は"
            "読み込んでいません。"
            "画像には「.jpg」などの拡張子を付け、リンクではなくファイルそのものを入れてください",
        ),
        ("what nobody knows", "what nobody knows"),
    ],
)
def test_parts_of_a_note_are_in_the_language_too(note: str, said: str) -> None:
    assert note_text(note, JAPANESE).replace("\u2060", "") == said
    assert note_text(note, load_words("report", "en")) == note
