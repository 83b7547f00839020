"""The verbs: what the command line and a Python program call, with the same names and defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ilion import store
from ilion.compare import Comparison
from ilion.compare import compare as compare_evaluations
from ilion.config import (
    AdaptationConfig,
    DatasetConfig,
    ExperimentConfig,
    ExtractionConfig,
    dump_toml,
    from_dict,
    load_experiment,
)
from ilion.datasets.synthetic import synthesize
from ilion.errors import ConfigError
from ilion.outcome import RunResult
from ilion.pipeline import Extraction, Index, Pipeline, Progress, Search
from ilion.pipeline.changes import recalled
from ilion.pipeline.coded import CODES, Tuning
from ilion.results import (
    cost_from,
    evaluation_from,
    missing_from,
    read_evaluation,
    read_run,
    reranking_from,
    skipped_from,
)
from ilion.sweep import sweep as sweep
from ilion.tasks import StageStatus, read_status
from ilion.truth import truth_from_ids

if TYPE_CHECKING:
    from ilion.download import Done, Plan, Recipe
    from ilion.forecast import Outlook
    from ilion.interop.imported import Imported
    from ilion.pipeline.learn import Adaptation


def load_run(folder: Path) -> RunResult:
    """Load a finished run with its data set and ranking, for a report.

    Args:
        folder: Output folder of the run.

    Raises:
        ArtifactError: The run or its ranking is missing or damaged.
        DatasetError: The data set is not where it was.
    """
    plain = read_run(folder)
    pipeline = Pipeline(from_dict(ExperimentConfig, plain["provenance"]["config"]))
    ranking = store.read_ranking(folder / "ranking")
    evaluation = evaluation_from(plain["evaluation"])
    dataset = pipeline.dataset
    truth = truth_from_ids(
        evaluation.query_ids,
        ranking.database_ids,
        {q: dataset.positives[q] for q in evaluation.query_ids},
        {q: dataset.ignored.get(q, ()) for q in evaluation.query_ids},
    )
    reranking = None
    if "reranking" in plain:
        reranking = recalled(pipeline.experiment, reranking_from(plain["reranking"]))
    return RunResult(
        name=plain["name"],
        design=plain["design"],
        dataset=dataset,
        ranking=ranking,
        ground_truth=truth,
        evaluation=evaluation,
        cost=cost_from(plain["cost"]),
        skipped=skipped_from(plain["skipped"]),
        provenance=plain["provenance"],
        reranking=reranking,
        missing=missing_from(plain.get("missing", [])),
    )


def extract(config: ExperimentConfig, progress: Progress | None = None) -> Extraction | Index:
    """Describe queries and database of an experiment; for ASMK, index the database."""
    return Pipeline(config, progress).prepare()


def adapt(
    config: ExperimentConfig,
    layer: Path,
    progress: Progress | None = None,
    *,
    objects: int = 0,
    shots: int = 5,
) -> Adaptation:
    """Learn an adaptation layer with the model of an experiment.

    Args:
        config: The experiment; ``adaptation`` says how, and from which labels.
        layer: The file to write; facts go beside it as JSON.
        progress: Told of what is going on.
        objects: Without labels: learn from so many objects of the data set itself, and judge by the others.
        shots: Photos of each of these objects.

    Raises:
        ConfigError: Neither labels nor objects are given, or both.
        DatasetError: The labels do not fit, or a photo is on both sides.
    """
    from ilion.pipeline import learn

    settings = config.adaptation
    if bool(settings.labels) == bool(objects):
        raise ConfigError("learn either from --labels CSV, or from --objects of the data set itself")
    options = learn.method_options(settings, config.seed)
    plain = Pipeline(replace(config, adaptation=AdaptationConfig(seen=settings.seen)), progress)
    if objects:
        return learn.learn_from_objects(plain, layer, options, objects=objects, shots=shots)
    return learn.learn_from_labels(
        plain, Path(settings.labels), learn.photos_folder(settings), layer, options
    )


def rank(config: ExperimentConfig, progress: Progress | None = None) -> Search:
    """Rank the database of an experiment for each of its queries."""
    return Pipeline(config, progress).search()


def evaluate(config: ExperimentConfig, progress: Progress | None = None) -> RunResult:
    """Run an experiment up to its evaluation."""
    return Pipeline(config, progress).evaluate()


def run(config: ExperimentConfig, progress: Progress | None = None) -> tuple[RunResult, Path]:
    """Run all stages of an experiment.

    Returns:
        The result and the path of its report.
    """
    pipeline = Pipeline(config, progress)
    result = pipeline.evaluate()
    return result, pipeline.write_report(result)


def tune(
    config: ExperimentConfig,
    codes: Sequence[str] = (),
    shortlists: Sequence[int] = (),
    loss: float = 0.005,
    progress: Progress | None = None,
) -> Tuning:
    """Measure recall, mAP, bytes and time of search through short codes, beside exact search.

    Args:
        config: The experiment.
        codes: Codes to try; none tries those that `ilion.pipeline.coded` names.
        shortlists: Rows refined; none tries the number of results, twice and four times as many.
        loss: mAP that the recommended code may lose, at the lower end of the interval.
        progress: Told of what is going on.
    """
    pipeline = Pipeline(config, progress)
    return pipeline.tune(codes or CODES, shortlists, loss)


def report(runs: Sequence[Path], output: Path | None = None, progress: Progress | None = None) -> Path:
    """Write a report of finished runs; the first is shown in full, the others beside it.

    Args:
        runs: Output folders of runs on the same queries.
        output: The file to write; by default ``report.html`` in the first run's folder.
        progress: Told of what is going on.
    """
    if not runs:
        raise ConfigError("name at least one run folder")
    results = [load_run(folder) for folder in runs]
    config = from_dict(ExperimentConfig, read_run(runs[0])["provenance"]["config"])
    return Pipeline(config, progress).write_report(*results, path=output or runs[0] / "report.html")


def compare(a: Path, b: Path, seed: int = 0) -> Comparison:
    """Compare two finished runs query by query.

    Args:
        a: Output folder of the baseline.
        b: Output folder of the run that may be better.
        seed: Of the interval and the test.
    """
    return compare_evaluations(read_evaluation(a), read_evaluation(b), seed=seed)


def status(run: Path) -> tuple[StageStatus, ...]:
    """Say how far a run is, stage by stage, from its files alone: going on elsewhere, ended or dead.

    Args:
        run: Output folder of the run.

    Raises:
        ArtifactError: No run was started there.
    """
    return read_status(run)


def demo(
    output: Path = Path("demo"),
    instances: int = 24,
    distractors: int = 400,
    model: str = "default",
    progress: Progress | None = None,
) -> tuple[RunResult, Path]:
    """Make a synthetic data set and run everything on it.

    Args:
        output: Folder of data set and run; an unfinished demo there is finished.
        instances: Objects.
        distractors: Images that show none of the objects.
        model: Name of a model.
        progress: Told of what is going on.

    Returns:
        The result and the path of its report.
    """
    tell = progress or (lambda stage, done, total: None)
    synthesize(
        output / "dataset",
        instances=instances,
        distractors=distractors,
        progress=lambda done, total: tell("images", done, total),
    )
    config = ExperimentConfig(
        name="demo",
        output="run",
        dataset=DatasetConfig(path="dataset"),
        extraction=ExtractionConfig(model=model),
    )
    experiment = output / "experiment.toml"
    store.write_bytes(experiment, dump_toml(config).encode())
    return run(load_experiment(experiment), progress)


def recipes(more: Path | None = None) -> dict[str, Recipe]:
    """List the data sets that can be downloaded, by name.

    Args:
        more: A recipe (TOML) of the user, or a folder of them.
    """
    from ilion.download import load_recipes

    return load_recipes(more)


def download(
    name: str,
    folder: Path | None = None,
    parts: Mapping[str, str] | None = None,
    *,
    mirrors: Sequence[str] = (),
    urls: Mapping[str, str] | None = None,
    recipe: Path | None = None,
    settings: Path | None = None,
    parallel: int | None = None,
    retries: int | None = None,
    confirm: Callable[[Plan], bool] | None = None,
    refresh: bool = False,
    verify: bool = False,
    accept_changed: bool = False,
    progress: Progress | None = None,
) -> Done:
    """Fetch a public data set, or parts of it; what is there and verified is not fetched again.

    Args:
        name: As listed by `recipes`.
        folder: Where it goes; by default a folder of that name.
        parts: Part -> what it takes (numbers such as ``0-9``, a model, or ""); None takes the default parts.
        mirrors: Addresses that stand for the source's, tried before it.
        urls: Local path of a file -> its address, where the recipe knows none or another is wanted.
        recipe: A recipe (TOML) of the user, or a folder of them.
        settings: A TOML file with network settings and mirrors; see docs/download.md.
        parallel: Files fetched at once; None leaves the setting.
        retries: Failures in a row after which an address is given up; None leaves the setting.
        confirm: Asked once, with sizes and licence; None means yes.
        refresh: Fetch the source's checksum list anew.
        verify: Read all files again.
        accept_changed: Files recorded at first use may have changed.
        progress: Told of bytes.
    """
    from ilion.download import download as fetch
    from ilion.download.settings import load_settings

    known = recipes(recipe)
    if name not in known:
        raise ConfigError(f"there is no recipe {name!r}; there are {', '.join(sorted(known))}")
    options = load_settings(
        settings, parallel=parallel, retries=retries, mirrors={name: tuple(mirrors)} if mirrors else None
    )
    return fetch(
        known[name],
        folder if folder is not None else Path(name),
        parts,
        settings=options,
        addresses=urls,
        confirm=confirm,
        refresh=refresh,
        verify=verify,
        accept_changed=accept_changed,
        progress=progress,
    )


def import_features(
    paths: Sequence[Path],
    output: Path,
    name: str = "",
    normalise: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Store feature files of the benchmark as descriptors; see `ilion.interop.imported.import_features`.

    Args:
        paths: Feature files, or folders of such.
        output: The folder to make, for ``extraction.model = "imported:FOLDER"``.
        name: Of the model; "" takes the name of the folder.
        normalise: Whether descriptors are L2-normalised where they are not.
        progress: Told of rows.
    """
    from ilion.interop.imported import import_features as store_features

    tell = (lambda done, total: progress("features", done, total)) if progress else None
    return store_features(paths, output, name=name, normalise=normalise, progress=tell)


def import_results(
    path: Path, config: ExperimentConfig, progress: Progress | None = None
) -> tuple[RunResult, Path]:
    """Judge a result file as if a search had given it, and write its run folder and report.

    Args:
        path: JSON or pickle.
        config: Names the data set, how results are judged, and the output folder.
        progress: Told of what is going on.

    Returns:
        The result and the path of its report.
    """
    from ilion.interop.imported import RESULTS
    from ilion.interop.results import read_results

    results = read_results(path)
    extraction = replace(config.extraction, model=f"{RESULTS}{path.name}")
    pipeline = Pipeline(replace(config, extraction=extraction), progress)
    result = pipeline.evaluate_results(results)
    return result, pipeline.write_report(result)


def import_layer(path: Path, output: Path) -> tuple[int, int]:
    """Store an adaptation layer of the benchmark in Ilion's own form.

    Args:
        path: A torch state dict with ``layer.weight`` and ``layer.bias``.
        output: A file ending in ``.npz``.

    Returns:
        (D, D'): dimensions before and after.
    """
    from ilion.adapt import load_layer, save_layer

    if output.suffix != ".npz":
        raise ConfigError(f"{output}: layers of Ilion's own form end in .npz")
    stored = load_layer(path)
    save_layer(output, stored.layer, stored.facts)
    return stored.layer.dim_in, stored.layer.dim_out


def export_features(
    config: ExperimentConfig,
    output: Path,
    dtype: Literal["float16", "stored"] = "float16",
    progress: Progress | None = None,
) -> list[Path]:
    """Write the descriptors of an experiment as feature files of the benchmark, describing what is missing.

    Args:
        config: The experiment.
        output: Folder of the files.
        dtype: ``float16`` like the benchmark's own files, or as they are stored here.
        progress: Told of what is going on.
    """
    from ilion.pipeline.imported import export_features as write

    pipeline = Pipeline(config, progress)
    return write(pipeline.experiment, pipeline.extract(), output, None if dtype == "stored" else dtype)


def export_results(run: Path, output: Path, form: Literal["json", "pickle"] = "json") -> Path:
    """Write the ranking of a finished run as a result file of the benchmark.

    Args:
        run: Output folder of the run.
        output: The file.
        form: ``json`` or ``pickle``.
    """
    from ilion.interop.results import from_ranking, write_json_results, write_pickle_results

    read_run(run)  # says so if it is no finished run
    results = from_ranking(store.read_ranking(run / "ranking"))
    (write_json_results if form == "json" else write_pickle_results)(output, results)
    return output


def export_layer(path: Path, output: Path) -> tuple[int, int]:
    """Write an adaptation layer as a torch state dict.

    Args:
        path: A layer in Ilion's own form.
        output: The file to write; ``torch.load(output, weights_only=True)`` reads it.

    Returns:
        (D, D'): dimensions before and after.
    """
    from ilion.adapt import load_layer, save_layer

    if output.suffix == ".npz":
        raise ConfigError(f"{output}: a torch file ends in .pt or .pth")
    layer = load_layer(path).layer
    save_layer(output, layer)
    return layer.dim_in, layer.dim_out


def forecast(
    source: ExperimentConfig | Sequence[Path],
    at: Sequence[int] = (1_000_000, 5_000_000, 100_000_000),
    sizes: Sequence[int] = (),
    *,
    per_hour: float | None = None,
    per_gigabyte_month: float | None = None,
    months: float | None = None,
    output: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Outlook, Path]:
    """Foretell mAP, time, memory, disk and price at larger databases.

    Args:
        source: An experiment, which is measured at several sizes on the fly, or the output folders of
            finished runs of one experiment.
        at: Numbers of distractors to foretell for.
        sizes: Numbers of distractors to measure, for an experiment; empty takes a tenth, a third and all.
        per_hour: Price of an hour of the machine; None takes that of the experiment.
        per_gigabyte_month: Price of a gigabyte of disk for a month; None takes that of the experiment.
        months: How long the database is kept; None takes that of the experiment.
        output: The page to write; by default ``forecast.html`` in the output folder.
        progress: Told of what is going on.

    Returns:
        The outlook and the path of its page.

    Raises:
        ConfigError: The runs do not belong together, or no size is above the measured ones.
        ArtifactError: There are too few distractors.
    """
    from ilion.forecast import Prices, look_ahead
    from ilion.pipeline.ahead import measure_parts, measured_runs
    from ilion.report.forecasting import write_forecast

    if isinstance(source, ExperimentConfig):
        config = replace(source, rerank=replace(source.rerank, features="none"))
        pipeline = Pipeline(config, progress)
        extracted = pipeline.extract()
        runs = measure_parts(pipeline.experiment, extracted, sizes, config.seed)
        name, design, dataset = config.name, pipeline.design, pipeline.dataset.name
        machine, folder = extracted.machine, Path(config.output)
    else:
        if not source:
            raise ConfigError("name an experiment, or at least one run folder")
        if sizes:
            raise ConfigError("--sizes is for an experiment; finished runs have the sizes that they have")
        results = [load_run(path) for path in source]
        runs = measured_runs(results)
        name, design, dataset = results[0].name, results[0].design, results[0].dataset.name
        machine, folder = results[0].cost.machine, source[0]
        config = from_dict(ExperimentConfig, read_run(source[0])["provenance"]["config"])
    rates = config.price
    prices = Prices(
        rates.hour if per_hour is None else per_hour,
        rates.gigabyte_month if per_gigabyte_month is None else per_gigabyte_month,
        rates.months if months is None else months,
        rates.currency,
    )
    outlook = look_ahead(
        runs,
        at,
        name=name,
        dataset=dataset,
        design=design,
        definition=config.evaluation.definition,
        k=config.evaluation.k,
        prices=prices,
        machine=f"{machine.cpu}, {machine.cores} cores",
        seed=config.seed,
    )
    return outlook, write_forecast(
        outlook, output or folder / "forecast.html", language=config.report.language
    )
