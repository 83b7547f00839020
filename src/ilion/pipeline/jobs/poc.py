"""A proof of concept from the first question to the decision: plan, look at the photos, run, decide.

    poc.toml, shots.json, shots.csv, shots.html -> photos/, boxes.html -> results/<design>/
        -> decision.json, decision.html

All designs share one folder of artifacts (``results/cache``). Nothing is deleted, and what is done is not
done again.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from typing import Any

from ilion import storage
from ilion.config import ExperimentConfig, check_awake, dump_toml, load_experiment
from ilion.config.poc import FILE, load_poc
from ilion.datasets import check_dataset, new_dataset, open_dataset
from ilion.errors import ArtifactError, ConfigError, DatasetError, IlionError
from ilion.opening import full_path, read_bytes
from ilion.outcome import RunResult
from ilion.pipeline.experiment import Progress
from ilion.pipeline.jobs.forecast import stages_of
from ilion.pipeline.jobs.growth import time_growth
from ilion.pipeline.jobs.lookalikes import lookalikes
from ilion.pipeline.jobs.runs import load_run
from ilion.pipeline.jobs.threshold import measure_searches, set_threshold
from ilion.pipeline.order import Pipeline
from ilion.poc.cells import CellsOfPhotos, measure_cells, sort_photos
from ilion.poc.compare import shares_of
from ilion.poc.coverage import Coverage, cover
from ilion.poc.decide import STOPPED, Tried, cannot_win, decide
from ilion.poc.decision import FORMAT, Decision, to_plain
from ilion.poc.money import DesignCost, monthly_cost_of
from ilion.poc.sample import Spread, prior_spread
from ilion.poc.say import at_equal_risk
from ilion.poc.settings import DESIGNS, MoneyConfig, PocConfig
from ilion.poc.shots import ShotList, list_shots
from ilion.poc.threshold import compare_at_risk
from ilion.report.decision import write_boxes, write_decision, write_shots
from ilion.storage.runs import FILE as RUN_FILE
from ilion.storage.runs import read_threshold
from ilion.types import Where
from ilion.wording import counted

log = logging.getLogger(__name__)

RESULTS = "results"
GROWTH = "growth.json"
CACHE = "cache"
DECISION = "decision.json"
PAGE = "decision.html"
BOXES = "boxes.html"
SHOTS = "shots.json"
PARTS = ("threshold", "lookalikes", "stages")
"""Parts of a decision that other verbs leave in the folder of results."""

_HEAD = """# A proof of concept of Ilion: what each line means stands in docs/poc.md.
# After a change of photos, goal or plan, 'ilion poc new' with the same folder writes the shot list anew.

"""


def new_poc(folder: Where, settings: PocConfig | None = None) -> tuple[ShotList, tuple[Path, ...]]:
    """Make a proof of concept, or the shot list of one anew.

    Args:
        folder: A new or empty folder; or that of a proof of concept, whose shot list is written anew.
        settings: Settings of the proof; None takes what ``poc.toml`` says, or the usual.

    Returns:
        The shot list, and the files that were written.

    Raises:
        ConfigError: There are settings already, and others are given.
        DatasetError: The folder holds something else, or cannot be written.
    """
    home = Path(folder)
    made: list[Path] = []
    chosen = settings or PocConfig(name=full_path(home).name)
    asked = (_HEAD + dump_toml(chosen)).encode()
    there = read_bytes(home / FILE) if (home / FILE).exists() else b""
    if there and settings is not None and there != asked:
        raise ConfigError(
            f"{home / FILE}: is there already; edit it and run 'ilion poc new {home}' without options, "
            "or name a new folder"
        )
    if not there:
        if home.exists() and (not home.is_dir() or any(home.iterdir())):
            raise DatasetError(f"{home}: is not empty; name a new folder, so that nothing gets overwritten")
        home.mkdir(parents=True, exist_ok=True)
        storage.write_bytes(home / FILE, asked)
        made.append(home / FILE)
    config = load_poc(home)
    photos = Path(config.photos.folder)
    if not photos.exists() and not there:
        made += new_dataset(photos, config.language)
    elif there == asked:  # a full disk or a kill left some of it; where photos are, nothing is done
        with suppress(DatasetError):
            new_dataset(photos, config.language)
    shots = list_shots(config, spread_of(config))
    storage.write_json(home / SHOTS, {"format": FORMAT, **_table(shots)})
    storage.write_bytes(home / "shots.csv", _csv(shots))
    write_shots(_table(shots), home / "shots.html")
    return shots, (*made, home / SHOTS, home / "shots.csv", home / "shots.html")


def spread_of(config: PocConfig) -> Spread:
    """Return the spread over objects: that of the pilot that the settings name, else what is assumed.

    Raises:
        ConfigError: The pilot has no decision, or too few objects.
    """
    prior = prior_spread(config.goal.measure)
    if not config.plan.pilot:
        return prior
    file = Path(config.plan.pilot) / DECISION
    if not file.exists():
        raise ConfigError(f"plan.pilot: {file} is not there; run 'ilion poc decide' in that folder first")
    plain = storage.read_json(file)
    spreads = plain.get("spreads") if isinstance(plain, dict) else None
    if not isinstance(spreads, dict) or not isinstance(spreads.get("all"), float):
        raise ConfigError(
            f"plan.pilot: {file} does not say how gains differ between objects (too few objects, or equal "
            "designs); leave plan.pilot out"
        )
    if plain.get("measure") != config.goal.measure:
        raise ConfigError(
            f"plan.pilot: {file} is about {plain.get('measure')}, and goal.measure is {config.goal.measure}; "
            "decide the pilot by the same measure"
        )
    return Spread(float(spreads.get("cell", prior.cell)), float(spreads["all"]), config.plan.pilot)


def _csv(shots: ShotList) -> bytes:
    """Return the shot list as a table that Excel opens as it is."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(
        [
            "cell",
            "size",
            "background",
            "share_from",
            "share_to",
            "things_from",
            "things_to",
            "objects",
            "photos_of_each",
            "photos",
        ]
    )
    for shot in shots.shots:
        things = ["" if value == float("inf") else f"{value:g}" for value in shot.clutter_range]
        sizes = [f"{value:g}" for value in shot.size_range]
        counts = [shot.objects, shot.photos, shot.objects * shot.photos]
        table.writerow([shot.cell, shot.size, shot.clutter, *sizes, *things, *counts])
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def check_poc(folder: Where, progress: Progress | None = None) -> Coverage:
    """Say what the photos of a proof of concept cover, what is missing, and what is wrong with them.

    Photos in the plain form get a page on which boxes can be drawn (``boxes.html``).

    Args:
        folder: Folder of the proof of concept.
        progress: Callback that receives stage, done and total.

    Raises:
        ConfigError: There is no ``poc.toml``, or it cannot be used.
        DatasetError: The folder of the photos does not exist, or is no data set at all.
    """
    config = load_poc(folder)
    photos = Path(config.photos.folder)
    spread = spread_of(config)

    def tell(done: int, total: int) -> None:
        if progress:
            progress("check", done, total)

    checked = check_dataset(photos, progress=tell)
    errors = tuple(
        (problem.kind, problem.file, problem.message, problem.remedy)
        for problem in checked.problems
        if problem.severity == "error"
    )
    warnings = sum(checked.totals["warning"].values())
    shots = list_shots(config, spread)
    if (photos / "objects").is_dir():
        home = Path(folder) if Path(folder).is_dir() else Path(folder).parent
        try:
            write_boxes(photos, home / BOXES, language=config.language, name=config.name)
        except DatasetError as error:
            log.warning("%s was not written: %s", BOXES, error)
    try:
        dataset = open_dataset(photos)
    except DatasetError:
        if not errors:
            raise
        return _uncovered(config, shots, errors, warnings)
    found = cover(
        config,
        shots,
        dataset,
        sort_photos(dataset, config.photos),
        checked.facts.counts.get("distractors", 0),
        spread,
    )
    return replace(found, problems=errors, warnings=warnings)


def _uncovered(
    config: PocConfig, shots: ShotList, errors: tuple[tuple[str, str, str, str], ...], warnings: int
) -> Coverage:
    """Return the coverage of photos that cannot be opened as a data set yet."""
    none = list_shots(replace(config, plan=replace(config.plan, objects=1)), spread_of(config)).planned
    wanted = (shots.objects, shots.distractors)
    return Coverage(config.name, 0, 0, 0, 0, *wanted, (), 0, "unknown", none, False, errors, warnings)


def run_poc(
    folder: Where, settings: Sequence[str] = (), progress: Progress | None = None
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Run the designs of a proof of concept, cheapest to make first, on one folder of artifacts.

    After each design it is asked whether another one can still win; if not, the rest is not run. A design
    that fails is noted, and the others go on.

    Args:
        folder: Folder of the proof of concept.
        settings: Further settings of all designs, as ``section.key=value``.
        progress: Callback that receives stage, done and total.

    Returns:
        Names of the designs that were run, and name -> reason of the others.

    Raises:
        ConfigError: There is no ``poc.toml``, a setting is unknown, or no design could be run.
        DatasetError: The photos cannot be used.
    """
    config = load_poc(folder)
    home = full_path(folder)
    home = home if home.is_dir() else home.parent
    names = sorted(config.designs.names, key=list(DESIGNS).index)
    names = [config.designs.baseline, *(name for name in names if name != config.designs.baseline)]
    experiments = {name: _experiment(config, home, name, settings) for name in names}
    check_awake("poc run", settings, [each for each in experiments.values() if not isinstance(each, str)])
    open_dataset(Path(config.photos.folder))  # what is wrong with the photos is said once
    tried: list[Tried] = []
    not_run: dict[str, str] = {}
    sorted_photos: CellsOfPhotos | None = None
    for done, name in enumerate(names):
        if progress:
            progress("designs", done, len(names))
        experiment = experiments[name]
        if isinstance(experiment, str):
            not_run[name] = experiment
            continue
        winner = _unbeatable(config, tried, sorted_photos)
        if winner:
            not_run[name] = (
                f"{STOPPED}: no design can gain {100 * config.goal.gain:.0f} points over {winner} in any cell"
            )
            continue
        try:
            result = Pipeline(experiment, progress).evaluate()
        except IlionError as error:
            log.warning("%s: %s", name, error)
            not_run[name] = str(error)
            continue
        growth = {str(images): ms for images, ms in time_growth(experiment.output, progress).items()}
        storage.write_json(home / RESULTS / f"{name}.{GROWTH}", growth)
        sorted_photos = sorted_photos or sort_photos(result.dataset, config.photos)
        tried.append(_measured(name, result, sorted_photos))
        storage.write_json(home / RESULTS / "designs.json", {"format": FORMAT, "not_run": not_run})
    if progress:
        progress("designs", len(names), len(names))
    storage.write_json(home / RESULTS / "designs.json", {"format": FORMAT, "not_run": not_run})
    if not tried:
        name, reason = next(iter(not_run.items()))
        raise ConfigError(f"none of {counted(len(names), 'design')} could be run; {name}: {reason}")
    return tuple(each.name for each in tried), not_run


def _experiment(config: PocConfig, home: Path, name: str, settings: Sequence[str]) -> ExperimentConfig | str:
    """Return the experiment of a design, or why there is none."""
    given = [*DESIGNS[name], *config.designs.settings, *settings]
    if name == "few-shot":
        if not config.designs.labels:
            return "needs designs.labels: labelled photos of other objects (docs/adaptation.md)"
        given.append(f"adaptation.labels={json.dumps(config.designs.labels)}")
    experiment = load_experiment(config.photos.folder, given)
    results = home / RESULTS
    return replace(
        experiment,
        name=f"{config.name}: {name}",
        output=str(results / name),
        cache=str(results / CACHE),
        seed=config.seed,
    )


def _unbeatable(config: PocConfig, tried: Sequence[Tried], sorted_photos: CellsOfPhotos | None) -> str:
    """Return the name of a design that none can beat by what is worth paying for, or ""."""
    if sorted_photos is None:
        return ""
    for each in tried:
        names = tuple(cell.name for cell in sorted_photos.cells)
        wanted = dict(zip(config.photos.cells, config.photos.shares, strict=False))
        shares = shares_of(names, each.outcomes.photos.sum(axis=0), wanted)
        if cannot_win(each.outcomes, shares, config.goal.measure, config.goal.gain):
            return each.name
    return ""


def _growth(results: Path, name: str) -> dict[int, float]:
    """Read how long a search of a design takes among more photos; nothing if it was not timed."""
    path = results / f"{name}.{GROWTH}"
    if not path.exists():
        return {}
    timed: dict[str, float] = storage.read_json(path, dict[str, float])
    if not all(images.isdecimal() and 0 < ms < inf for images, ms in timed.items()):
        raise ArtifactError(f"{path}: holds no times of searches; delete it and run 'ilion poc run' again")
    return {int(images): ms for images, ms in timed.items()}


def _measured(
    name: str, result: RunResult, sorted_photos: CellsOfPhotos, growth: Mapping[int, float] | None = None
) -> Tried:
    """Return what a finished run found and cost."""
    instance = {query.id: query.instance for query in result.dataset.queries}
    objects = [instance[query] for query in result.ground_truth.query_ids]
    outcomes = measure_cells(result.ranking, result.ground_truth, objects, sorted_photos, result.evaluation.k)
    cost = result.cost
    return Tried(
        name,
        outcomes,
        DesignCost(
            cost.bytes_per_image,
            cost.query_ms_per_query + cost.search_ms_per_query,
            cost.extraction_ms_per_image,
            len(result.ranking.database_ids),
            cost.query_ms_per_query,
            tuple((growth or {}).items()),
        ),
    )


def decide_poc(folder: Where, progress: Progress | None = None) -> tuple[Decision, Path]:
    """Decide from finished designs, and write ``decision.json`` and the page ``decision.html``.

    The design that is decided for gets the threshold for "none of these" that keeps the promise asked for
    (`ilion.pipeline.jobs.threshold`), if there are enough objects for one; its look-alikes and the stages to
    a larger database are said too.

    Args:
        folder: Folder of the proof of concept.
        progress: Callback that receives stage, done and total.

    Returns:
        The decision, and the path of its file.

    Raises:
        ConfigError: There is no ``poc.toml``, or nothing was run.
        ArtifactError: A run is damaged.
    """
    config = load_poc(folder)
    home = full_path(folder)
    home = home if home.is_dir() else home.parent
    results = home / RESULTS
    finished = [name for name in config.designs.names if (results / name / RUN_FILE).exists()]
    if not finished:
        raise ConfigError(f"{results}: holds no finished design; run 'ilion poc run {folder}' first")
    runs = {name: load_run(results / name) for name in finished}
    noted = storage.read_json(results / "designs.json") if (results / "designs.json").exists() else {}
    reasons = noted.get("not_run", {}) if isinstance(noted, dict) else {}
    not_run = {
        name: str(reasons.get(name, "has not been run"))
        for name in config.designs.names
        if name not in finished
    }
    first = next(iter(runs.values()))
    sorted_photos = sort_photos(first.dataset, config.photos)
    counts = {
        "queries": len(first.evaluation.query_ids),
        "positives": len({image for images in first.dataset.positives.values() for image in images}),
        "database": len(first.ranking.database_ids),
    }
    parts = {
        name: storage.read_json(results / f"{name}.json")
        for name in PARTS
        if (results / f"{name}.json").exists()
    }
    growth = {name: _growth(results, name) for name in runs}
    tried = [_measured(name, run, sorted_photos, growth[name]) for name, run in runs.items()]
    found = decide(config, sorted_photos, tried, not_run, counts, parts)
    chosen = found.recommendation.values.get("design")
    if chosen and found.threshold is None:
        found = _with_threshold(found, config, results, chosen, progress)
    if chosen and found.lookalikes is None:
        money = config.money
        mistaken = lookalikes(
            runs[chosen],
            searches=money.searches_a_day,
            wrong_pick=money.wrong_pick if money.currency else 0.0,
            currency=money.currency,
        )
        found = replace(found, lookalikes=asdict(mistaken))
    if chosen and found.stages is None:
        found = replace(found, stages=_stages(runs[chosen], config.money, growth[chosen]))
    plain = {"format": FORMAT, **_table(found)}
    storage.write_json(home / DECISION, plain)
    write_decision(plain, home / PAGE, dataset=first.dataset)
    return found, home / DECISION


def _with_threshold(
    found: Decision, config: PocConfig, results: Path, chosen: str, progress: Progress | None
) -> Decision:
    """Set the threshold of the chosen design, and compare it with the baseline at equal risk."""
    goal, baseline = config.goal, config.designs.baseline
    try:
        searches = measure_searches(results / chosen, progress)
        set_threshold(results / chosen, goal.risk, goal.confidence, searches=searches)
        found = replace(found, threshold=read_threshold(results / chosen))
        if chosen == baseline:
            return found
        before = measure_searches(results / baseline, progress)
        at_risk = compare_at_risk(before, searches, goal.risk, goal.confidence, seed=config.seed)
    except IlionError as error:  # a decision without a threshold is still one
        log.warning("no threshold: %s", error)
        return found
    said = at_equal_risk(chosen, baseline, at_risk, goal.risk, len(set(searches.objects)))
    return replace(found, statements=(*found.statements, said))


def _stages(run: RunResult, money: MoneyConfig, growth: Mapping[int, float]) -> Any:
    """Return the plan of the stages to a million photos, each with its price a month if prices are known.

    None where too little was measured to say any.
    """
    try:
        plan = asdict(stages_of(run, growth=growth))
        for stage in plan["stages"]:
            stage["search_ms"] += run.cost.query_ms_per_query  # as everywhere else in a decision
            stage["monthly"] = monthly_cost_of(
                stage["images"], stage["disk_bytes"], stage["search_ms"], money
            )
        return {**plan, "currency": money.currency}
    except IlionError as error:
        log.warning("no stages: %s", error)
        return None


def _table(value: Any) -> dict[str, Any]:
    plain = to_plain(value)
    assert isinstance(plain, dict)
    return plain
