from __future__ import annotations

from pathlib import Path

import pytest

from ilion.config import dump_toml
from ilion.config.poc import load_poc
from ilion.errors import ConfigError
from ilion.poc.sample import prior_spread
from ilion.poc.settings import DesignsConfig, GoalConfig, PhotosConfig, PlanConfig, PocConfig, range_of
from ilion.poc.shots import list_shots


def test_settings_survive_their_file(tmp_path: Path) -> None:
    config = PocConfig(name="部品", language="ja", photos=PhotosConfig(shares=(1, 2, 3, 4, 5, 6)))
    (tmp_path / "poc.toml").write_text(dump_toml(config), "utf-8")
    loaded = load_poc(tmp_path)
    assert loaded.photos.folder == str(tmp_path / "photos")
    assert (loaded.name, loaded.photos.shares, loaded.goal) == ("部品", config.photos.shares, config.goal)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[goal]\ngian = 0.1", "did you mean 'goal.gain'"),
        ("[goal]\ngain = 0.3\nhoped = 0.2", "must be above"),
        ("[photos]\nsizes = ['a', 'b']", "write 1"),
        ("[photos]\nsize_edges = [0.1, 0.03]", "must ascend"),
        ("[photos]\nsizes = ['a', 'a', 'b']", "different names"),
        ("[photos]\nshares = [1.0]", "6 cells"),
        ("[designs]\nnames = ['global', 'lokal-1k']", "did you mean 'local-1k'"),
        ("[designs]\nnames = ['local-1k', 'local-4k']", "must be among"),
        ("[money]\nfind = -1.0", "must be from 0"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "poc.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=message):
        load_poc(tmp_path)


def test_cells_follow_sizes_and_backgrounds() -> None:
    config = PhotosConfig(sizes=("s", "l"), size_edges=(0.1,), backgrounds=(), clutter_edges=())
    assert config.cells == ("s", "l")
    assert PhotosConfig(sizes=(), size_edges=()).cells == ("plain", "crowded")
    assert range_of("l", ("s", "l"), (0.1,), 1.0) == (0.1, 1.0)


def test_a_shot_list_counts_all_photos() -> None:
    config = PocConfig(plan=PlanConfig(objects=20, photos=3, queries=2))
    shots = list_shots(config, prior_spread("AP"))
    assert shots.photos == 20 * (2 + 6 * 3)
    assert sum(shot.share for shot in shots.shots) == pytest.approx(1)
    assert shots.planned.objects == 20
    assert {each.objects for each in shots.ladder} >= {20, shots.needed}
    widths = [each.width for each in shots.ladder]
    assert widths == sorted(widths, reverse=True)
    assert all(each.cell_width >= each.width for each in shots.ladder)


def test_what_is_needed_reaches_what_is_wanted() -> None:
    config = PocConfig(goal=GoalConfig(width=0.05), designs=DesignsConfig())
    shots = list_shots(config, prior_spread("AP"))
    assert shots.objects == shots.needed
    assert shots.planned.width <= 0.05
    assert shots.planned.detects <= config.goal.hoped
