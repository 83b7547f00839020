"""The sentences that code may say, read from its source, and what is left of English in a translation."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Collection, Iterator

from ilion.wording import load_words

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module


def texts(node: ast.expr | None, function: Function) -> Iterator[str]:
    """Yield the texts that an expression may be, with 7 or 'a' for what is filled in."""
    match node:
        case ast.Constant(value=str(text)):
            yield text.replace("{!r}", "'a'").replace("{}", "7")
        case ast.JoinedStr(values=parts):
            for chosen in itertools.product(*(_filled(part, function) for part in parts)):
                yield "".join(chosen)
        case ast.Call(func=ast.Name(id="agree"), args=[_, *forms]):
            yield from map(ast.literal_eval, forms)
        case ast.Call(func=ast.Name(id="counted"), args=[_, *forms]):
            one, other = [*(ast.literal_eval(form) for form in forms), ""][:2]
            yield from (f"1 {one}", f"1,204 {other or f'{one}s'}")
        case ast.IfExp(body=body, orelse=other):
            yield from texts(body, function)
            yield from texts(other, function)
        case ast.BinOp(left=left, op=ast.Mult()):  # (note,) * (count > 0)
            yield from texts(left, function)
        case ast.Tuple(elts=elements):
            for element in elements:
                yield from texts(element, function)
        case ast.Call(func=ast.Attribute(value=value, attr="format")):
            yield from texts(value, function)
        case ast.Name(id=name):
            assigned = [
                each
                for each in ast.walk(function)
                if isinstance(each, ast.Assign)
                and ast.unparse(each.targets[0]) == name
                and each.lineno < node.lineno
            ]
            for each in sorted(assigned, key=lambda each: -each.lineno):
                yield from texts(each.value, function)
                if each.col_offset <= node.col_offset:  # not one of a branch, which may be passed by
                    break
            for found in ast.walk(function):
                match found:
                    case ast.For(target=ast.Tuple(elts=names), iter=ast.Tuple(elts=rows)):
                        for row in rows:
                            if isinstance(row, ast.Tuple):
                                for one, value in zip(names, row.elts, strict=True):
                                    if isinstance(one, ast.Name) and one.id == name:
                                        yield from texts(value, function)


def _filled(part: ast.expr, function: Function) -> list[str]:
    match part:
        case ast.Constant(value=value):
            return [str(value)]
        case ast.FormattedValue(value=ast.Call(func=ast.Name(id="counted" | "agree")) as call):
            return list(texts(call, function))
        case ast.FormattedValue(value=ast.Name(id=name)) if found := _counts(name, function):
            return found
        case ast.FormattedValue(conversion=conversion) if conversion == ord("r"):
            return ["'a'"]
        case _:
            return ["7"]


def _counts(name: str, function: Function) -> list[str]:
    """Return the forms of a name that stands for a number of things."""
    for node in ast.walk(function):
        match node:
            case ast.Assign(
                targets=[ast.Name(id=given)], value=ast.Call(func=ast.Name(id="counted")) as call
            ) if given == name:
                return list(texts(call, function))
    return []


def raised(module: ast.Module, errors: Collection[str]) -> Iterator[str]:
    """Yield the sentences of the errors that a module makes; of `Refused`, what comes after the status."""
    functions = [n for n in ast.walk(module) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    seen = set[int]()
    for function in [*functions[::-1], module]:  # inner ones first
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and id(node) not in seen:
                name = getattr(node.func, "id", "")
                if name in errors:
                    seen.add(id(node))
                    yield from texts(node.args[name == "Refused"], function)


def left_in_english(said: str, room: str) -> list[str]:
    """Return the words of a Japanese sentence that no entry of the catalogue has; 'a' is a value."""
    known = " ".join(
        form
        for entry in load_words(room, "ja").entries.values()
        for form in ([entry] if isinstance(entry, str) else entry.values())
    )
    words = set(re.findall(r"[A-Za-z]{2,}", re.sub(r"\{\w+\}", " ", known)))
    return [word for word in re.findall(r"[A-Za-z]{2,}", said) if word not in words]
