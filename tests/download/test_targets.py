"""Published figures as targets: what is said of them follows from known sizes, and nothing is invented."""

from __future__ import annotations

import itertools
import json
import shlex
from pathlib import Path

import pytest
import typer

from ilion import cli
from ilion.config import ExperimentConfig, from_dict
from ilion.download.recipes import load_recipes
from ilion.download.targets import list_targets, plan_target
from ilion.errors import ConfigError
from ilion.forecast.cost import Prices

DOCS = Path(__file__).parents[2] / "docs" / "reproduce.md"


def test_the_documented_figures_are_those_of_the_table() -> None:
    text = DOCS.read_text("utf-8")
    for model, setting, figure in list_targets():
        assert f"| `{model}` | {setting} | {100 * figure:.1f} |" in text, (model, setting)


def test_a_target_from_photos() -> None:
    target = plan_target("dinov3-l", "100M", images_per_second=250, megabits_per_second=1000)
    assert target.figure == 0.265
    assert target.fetched == pytest.approx(6.3e12)
    images = 100_000_000 + 4_715 + 1_232
    assert target.stored == pytest.approx(6.3e12 + images * 2048)
    assert target.hours == pytest.approx(6.3e12 * 8 / 1e9 / 3600 + images / 250 / 3600)
    assert target.price is None
    rates = Prices(2.0, 0.02, 3)
    priced = plan_target("dinov3-l", "100M", images_per_second=250, megabits_per_second=1000, prices=rates)
    assert priced.price == pytest.approx(2 * priced.hours + 0.02 * 3 * priced.stored / 1e9)  # type: ignore[operator]
    assert any("DINOv3" in note for note in target.notes)


def test_unknown_speeds_give_no_hours_and_no_price() -> None:
    target = plan_target("resnet50", prices=Prices(hour=1.0))
    assert (target.hours, target.price) == (None, None)
    assert sum("give --" in note for note in target.notes) == 2


def test_descriptors_are_much_less() -> None:
    target = plan_target("resnet50", descriptors=True, megabits_per_second=100)
    assert target.fetched == pytest.approx((100_000_000 + 5_947) * 4096)
    assert any("import features" in step.command for step in target.steps)
    assert "--model imported:" in target.steps[-1].command


@pytest.mark.parametrize(("model", "setting"), [(m, s) for m, s, _ in list_targets()])
@pytest.mark.parametrize("descriptors", [False, True])
def test_the_commands_are_commands(model: str, setting: str, descriptors: bool) -> None:
    app = typer.main.get_command(cli.app)
    for step in plan_target(model, setting, descriptors=descriptors).steps:
        name, *words = shlex.split(step.command)
        assert name == "ilion"
        command = app
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
        plain: dict[str, dict[str, str]] = {}
        for word, given in itertools.pairwise(words):
            if word == "--set":
                path, _, value = given.partition("=")
                plain.setdefault(path.partition(".")[0], {})[path.partition(".")[2]] = value
        if "side" in plain.get("extraction", {}):
            plain["extraction"]["side"] = int(plain["extraction"]["side"])  # type: ignore[assignment]
        from_dict(ExperimentConfig, {"output": "run", **plain})
        if words[:1] == ["ilias"] and "--shards" in words:
            assert "ilias" in load_recipes()


def test_photos_are_described_as_the_benchmark_did() -> None:
    """Side, pooling and name of each model as in feature_extraction/scripts/models.sh of its repository."""

    def commands(model: str, setting: str = "5M", descriptors: bool = False) -> list[str]:
        return [step.command for step in plan_target(model, setting, descriptors=descriptors).steps]

    like = "--set extraction.like=ilias --set extraction.side"
    assert f"{like}=384 --set extraction.pooling=head" in commands("resnet50")[-1]
    assert f"--model alexnet {like}=384 --set evaluation" in commands("alexnet")[-1]
    assert f"{like}=512" in commands("siglip-l-384")[-1]
    assert f"{like}=724" in commands("siglip2-l-512", "5M text")[-1]
    assert "like=ilias" not in commands("openclip-l-224")[-1]
    adapted = commands("dinov2-l", "5M adapted", descriptors=True)
    assert "--features dinov2_vitl14 --shards all" in adapted[1]
    assert "--layers dinov2_vitl14" in adapted[3]
    assert adapted[-1].endswith("adaptation.layer=ilias/lin_adapt_layers/dinov2_vitl14.pth")
    assert "extraction" not in adapted[-1]  # descriptors are there already
    core = plan_target("resnet50").steps[0]
    assert core.fetched is None  # not published, so not zero either


def test_what_has_no_figure_is_said() -> None:
    with pytest.raises(ConfigError, match="no figure of 'dinov2-s' in the setting '5M' is known"):
        plan_target("dinov2-s")


def test_the_command_lists_and_prints_and_never_begins(capsys: pytest.CaptureFixture[str]) -> None:
    from ilion.cli.reproduce import reproduce

    reproduce()
    assert "siglip2-l-512   5M text      24.7" in capsys.readouterr().out
    reproduce("vgg16", setting="100M", dry_run=True)
    out = capsys.readouterr().out
    assert "vgg16, 100M: mAP@1k 1.6 as published" in out
    assert "6,300.0 GB fetched" in out
    assert "fetches a size that is not published" in out
    reproduce("vgg16", dry_run=True, as_json=True)
    assert json.loads(capsys.readouterr().out)["hours"] is None
    with pytest.raises(ConfigError, match="--dry-run"):
        reproduce("vgg16")
