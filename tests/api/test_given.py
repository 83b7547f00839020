"""Every verb carries out every setting that it was given, or refuses it."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
from tests.networks import tiny_network

from ilion import api, cli
from ilion.config import ExperimentConfig, check_given, from_dict, load_experiment
from ilion.config.given import HEEDED, is_heeded
from ilion.config.plain import apply_overrides
from ilion.errors import ConfigError
from ilion.storage import read_json

GIVEN = {
    "dataset": "dataset.shard_size=9",
    "extraction": "extraction.side=32",
    "adaptation": "adaptation.method=pca",
    "search": "search.k=7",
    "reading": "reading.use=fused",
    "rerank": "rerank.features=rootsift",
    "ask": "ask.endpoint=http://127.0.0.1:9/v1",
    "evaluation": "evaluation.k=7",
    "compute": "compute.retries=1",
    "report": "report.gallery=3",
    "price": "price.hour=2",
}
TAKING_SETTINGS = {
    "import results": ("import", "results", "x.json"),
    "export truth": ("export", "truth", "-o", "out"),
    "export features": ("export", "features", "-o", "out"),
    "adapt": ("adapt", "--layer", "x.npz"),
    "sweep": ("sweep", "--over", "search.k=1,2"),
}


def settings_of(value: object, prefix: str = "") -> set[str]:
    names: set[str] = set()
    for f in fields(value):  # type: ignore[arg-type]
        inner = getattr(value, f.name)
        name = f"{prefix}{f.name}"
        names |= settings_of(inner, f"{name}.") if is_dataclass(inner) else {name}
    return names


def command(*arguments: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> tuple[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["ilion", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    out, err = capsys.readouterr()
    assert (stopped.value.code or 0) == code, (out, err)
    return out, err


def test_the_table_knows_all_sections_and_all_verbs_that_take_settings() -> None:
    sections = {f.name for f in fields(ExperimentConfig)} - {"name", "output", "cache", "seed", "trust"}
    assert sections == set(GIVEN)
    assert {part.partition(".")[0] for heeded in HEEDED.values() for part in heeded} == sections
    single = {part for heeded in HEEDED.values() for part in heeded if "." in part}
    assert single <= settings_of(ExperimentConfig())

    def takes(verb: object) -> bool:
        return "settings" in inspect.signature(verb).parameters  # type: ignore[arg-type]

    # the settings of a download and of a plan are their own, and tests of their own look at them

    verbs = {c.callback.__name__: c.callback for c in cli.app.registered_commands if c.callback}
    verbs |= {
        f"{group.name} {c.name}": c.callback
        for group in cli.app.registered_groups
        for c in (group.typer_instance.registered_commands if group.typer_instance else ())
        if c.callback
    }
    assert {name for name, verb in verbs.items() if takes(verb)} - {"download", "poc new"} == set(HEEDED)


@pytest.mark.parametrize("verb", HEEDED)
@pytest.mark.parametrize("section", GIVEN)
def test_a_verb_refuses_what_it_does_not_heed(
    verb: str, section: str, tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if is_heeded(verb, GIVEN[section].partition("=")[0]):
        re_ranks = from_dict(ExperimentConfig, {"rerank": {"features": "orb"}})
        check_given(verb, [GIVEN[section]], re_ranks)
        return
    words = TAKING_SETTINGS.get(verb, (verb,))
    _, err = command(*words, str(tiny_dataset), "--set", GIVEN[section], capsys=capsys, code=1)
    assert f"does not carry out '{GIVEN[section].partition('=')[0]}'" in " ".join(err.split())


@pytest.mark.parametrize(
    ("verb", "setting", "heeded"),
    [
        ("extract", "search.method=asmk", True),
        ("extract", "search.local.budget=4096", True),
        ("extract", "search.asmk.words=64", True),
        ("extract", "search.asmk.alpha=1", False),
        ("extract", "search.local.shortlist=9", False),
        ("extract", "search.threads=1", False),
        ("import results", "search.k=7", True),
        ("import results", "search.method=asmk", False),
        ("import results", "search.expansion=alpha", False),
    ],
)
def test_a_verb_refuses_single_settings_too(verb: str, setting: str, heeded: bool) -> None:
    assert is_heeded(verb, setting.partition("=")[0]) == heeded
    if not heeded:
        with pytest.raises(ConfigError, match=f"'ilion {verb}' does not carry out"):
            check_given(verb, [setting], ExperimentConfig())


@pytest.mark.parametrize(
    "setting",
    ["rerank.budget=4000", "reading.weight=0.1", "search.asmk.words=64", "search.code=sq8",
     "search.shortlist=9", "search.expansion_top=3", "search.expansion_alpha=2", "adaptation.shrinkage=0.1",
     "adaptation.seen=keep", "compute.gpus=1"],
)  # fmt: skip
def test_a_setting_without_its_switch_is_refused(
    setting: str, tiny_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = command("run", str(tiny_dataset), "--set", setting, capsys=capsys, code=1)
    assert "would change nothing" in " ".join(err.split())


@pytest.mark.parametrize(
    ("verb", "given", "asleep"),
    [
        ("run", ["adaptation.method=pca", "adaptation.dim=8"], "alpha"),
        ("run", ["adaptation.method=linear", "adaptation.epochs=8"], "patience margin_kind shrinkage"),
        ("run", ["adaptation.layer=x.npz", "adaptation.seen=keep"], "labels dim folds"),
        ("adapt", ["adaptation.folds=3"], "dim epochs"),
        ("rank", ["search.k=3"], "evaluation.k"),
        ("rank", ["rerank.features=orb", "evaluation.k=3", "rerank.fusion=rank"], "rerank.weight"),
        ("run", ["reading.use=only", "reading.side=320"], "reading.weight reading.fusion"),
        ("run", ["search.method=asmk", "search.asmk.words=64"], "search.device"),
        ("run", ["search.expansion=average", "search.expansion_top=2"], "search.expansion_alpha"),
    ],
)
def test_a_setting_beside_one_that_makes_it_idle_is_refused(verb: str, given: list[str], asleep: str) -> None:
    config = from_dict(ExperimentConfig, apply_overrides({}, given))
    check_given(verb, given, config)
    for name in asleep.split():
        key = name if "." in name else f"adaptation.{name}"
        with pytest.raises(ConfigError, match=f"'{key}' would change nothing"):
            check_given(verb, [*given, f"{key}=1"], config)


@pytest.fixture
def experiment(tiny_dataset: Path, tmp_path: Path) -> ExperimentConfig:
    model = tiny_network(tmp_path / "tiny.onnx")
    config = load_experiment(tiny_dataset, [f"extraction.model=onnx:{model}", "evaluation.bootstrap=20"])
    return replace(config, output=str(tmp_path / "out"))


@pytest.mark.slow
def test_rank_re_ranks_as_a_run_does(experiment: ExperimentConfig) -> None:
    local = replace(experiment.rerank, features="orb", shortlist=6, keypoints=200, fusion="rank")
    reranked = replace(experiment, rerank=local)
    ranking = api.rank(reranked).ranking
    expected = api.evaluate(reranked).ranking
    assert ranking.indices.tolist() == expected.indices.tolist()
    assert ranking.similarities.tolist() == expected.similarities.tolist()
    assert ranking.similarities.tolist() != api.rank(experiment).ranking.similarities.tolist()
    assert api.rank(reranked).reused


@pytest.mark.parametrize("setting", [("reading", "use", "fused"), ("search", "method", "asmk")])
def test_a_forecast_of_another_design_is_refused(
    experiment: ExperimentConfig, setting: tuple[str, str, str]
) -> None:
    section, name, value = setting
    other = replace(experiment, **{section: replace(getattr(experiment, section), **{name: value})})
    with pytest.raises(ConfigError, match=rf"{section}\.{name} = {value}"):
        api.forecast(other)


@pytest.mark.slow
def test_a_forecast_of_places_is_refused(experiment: ExperimentConfig) -> None:
    reranked = replace(experiment.rerank, features="orb", fusion="rank")
    with pytest.raises(ConfigError, match=r"rerank\.fusion = rank"):
        api.forecast(replace(experiment, rerank=reranked))


def test_a_forecast_of_finished_runs_takes_no_settings(
    experiment: ExperimentConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    api.evaluate(experiment)
    arguments = ("forecast", experiment.output, "--set", "search.k=5")
    _, err = command(*arguments, capsys=capsys, code=1)
    assert "finished runs are as they are" in " ".join(err.split())


@pytest.mark.slow
def test_an_old_report_does_not_stay_beside_new_numbers(
    experiment: ExperimentConfig, caplog: pytest.LogCaptureFixture
) -> None:
    _, page = api.run(experiment)
    api.evaluate(experiment)
    assert page.exists()
    api.evaluate(replace(experiment, evaluation=replace(experiment.evaluation, definition="trec")))
    assert read_json(Path(experiment.output) / "run.json")["evaluation"]["definition"] == "trec"
    assert not page.exists()
    assert "deleted report.html" in caplog.text
