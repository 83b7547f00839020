"""``make benchmarks`` runs every benchmark that needs nothing, and names the others."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import called, text

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "benchmarks").glob("*.py"))
IMPORT_ALL = """
import runpy, sys
path = list(sys.path)
for file in sys.argv[1:]:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "scripts", "photos")]:
        del sys.modules[name]
    sys.path[:] = [file.rpartition("/")[0], *path[1:]]
    runpy.run_path(file, run_name="imported")
"""


def needs_something(path: Path) -> bool:
    """Say whether a script has an argument without which it does not run."""
    for call in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(call, ast.Call) and called(call.func) in ("add_argument", "add_subparsers"):
            given = {word.arg: ast.unparse(word.value) for word in call.keywords}
            option = not call.args or text(call.args[0]).startswith("-")
            if given.get("required") == "True" or (not option and given.get("nargs", "'+'") == "'+'"):
                return True
    return False


def test_make_runs_what_needs_no_argument() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    names = dict(re.findall(r"^(GIVEN|SHARED) := (.*)$", makefile, re.M))
    assert names["GIVEN"].split() == [path.stem for path in FILES if needs_something(path)]
    assert names["SHARED"].split() == [p.stem for p in FILES if "__main__" not in p.read_text("utf-8")]


@pytest.mark.slow
def test_every_benchmark_finds_what_it_imports() -> None:
    """All in one process, each as if it were called by its path."""
    call = [sys.executable, "-c", IMPORT_ALL, *map(str, FILES)]
    done = subprocess.run(call, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
