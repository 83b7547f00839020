"""Files of the ILIAS benchmark, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ilion import storage
from ilion.errors import ConfigError
from ilion.outcome import RunResult
from ilion.pipeline.experiment import Progress
from ilion.pipeline.jobs.run import Settings, pipeline_of
from ilion.pipeline.order import Pipeline
from ilion.storage.runs import read_run
from ilion.types import GroundTruth, Where

if TYPE_CHECKING:
    from ilion.interop.imported import Imported


def import_features(
    paths: Sequence[Where],
    output: Where,
    name: str = "",
    normalise: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Store feature files of the benchmark as descriptors; see `ilion.interop.imported.import_features`.

    Args:
        paths: Feature files, or folders of such.
        output: The folder to make, for ``extraction.model = "imported:FOLDER"``.
        name: Name of the model; "" takes the name of the folder.
        normalise: Whether descriptors are L2-normalised where they are not.
        progress: Callback that receives rows done and in all.
    """
    from ilion.interop.imported import import_features as store_features

    tell = (lambda done, total: progress("features", done, total)) if progress else None
    return store_features(
        [Path(path) for path in paths], Path(output), name=name, normalise=normalise, progress=tell
    )


def import_results(
    path: Where, experiment: Settings, progress: Progress | None = None
) -> tuple[RunResult, Path]:
    """Judge a result file as if a search had given it, and write its run folder and report.

    Args:
        path: JSON, pickle, or a run of TREC.
        experiment: Data set, evaluation and output folder.
        progress: Callback that receives stage, done and total.

    Returns:
        The result and the path of its report.
    """
    from ilion.interop.imported import RESULTS
    from ilion.interop.results import read_results

    path, config = Path(path), pipeline_of(experiment).config
    results = read_results(path)
    extraction = replace(config.extraction, model=f"{RESULTS}{path.name}")
    # others have searched, and not by what this experiment may search by
    search = replace(config.search, method="exact")
    pipeline = Pipeline(replace(config, extraction=extraction, search=search), progress)
    result = pipeline.evaluate_results(results)
    return result, pipeline.write_report(result)


def import_layer(path: Where, output: Where) -> tuple[int, int]:
    """Store an adaptation layer of the benchmark in Ilion's own form.

    Args:
        path: A torch state dict with ``layer.weight`` and ``layer.bias``.
        output: A file ending in ``.npz``.

    Returns:
        (D, D'): dimensions before and after.
    """
    from ilion.adapt import load_layer, save_layer

    output = Path(output)
    if output.suffix != ".npz":
        raise ConfigError(f"{output}: layers of Ilion's own form end in .npz")
    stored = load_layer(Path(path))
    save_layer(output, stored.layer, stored.facts)
    return stored.layer.dim_in, stored.layer.dim_out


def export_features(
    experiment: Settings,
    output: Where,
    dtype: Literal["float16", "stored"] = "float16",
    progress: Progress | None = None,
) -> list[Path]:
    """Write the descriptors of an experiment as feature files of the benchmark, describing what is missing.

    Args:
        experiment: The experiment.
        output: Folder of the files.
        dtype: ``float16`` like the benchmark's own files, or as they are stored here.
        progress: Callback that receives stage, done and total.
    """
    from ilion.pipeline.stages.imported import export_features as write

    pipeline = pipeline_of(experiment, progress, descriptors=True)
    return write(pipeline.experiment, pipeline.extract(), Path(output), None if dtype == "stored" else dtype)


def export_results(run: Where, output: Where, form: Literal["json", "pickle", "trec"] = "json") -> Path:
    """Write the ranking of a finished run as a result file.

    Args:
        run: Output folder of the run.
        output: The file; a run of TREC is packed if its name ends in ``.gz``.
        form: ``json`` or ``pickle`` of the ILIAS benchmark, or ``trec``.
    """
    from ilion.interop.results import from_ranking, write_json_results, write_pickle_results

    run, output = Path(run), Path(output)
    told = read_run(run)  # says so if it is no finished run
    ranking = storage.read_ranking(run / "ranking")
    if form == "trec":
        ranking.to_trec(output, "-".join(str(told.get("name") or "ilion").split()))
    else:
        (write_json_results if form == "json" else write_pickle_results)(output, from_ranking(ranking))
    return output


def export_truth(experiment: Settings, output: Where) -> Path:
    """Write the ground truth of a data set as a relevance file of TREC (qrels).

    Args:
        experiment: A data set, or an experiment on one.
        output: The file; packed if its name ends in ``.gz``. Positives have the relevance 1, ignored ones -1.
    """
    pipeline = pipeline_of(experiment)
    asked = {query.id for query in pipeline.queries}
    ignored = pipeline.dataset.ignored
    truth = {
        query: dict.fromkeys(found, 1.0) | dict.fromkeys(ignored.get(query, ()), -1.0)
        for query, found in pipeline.dataset.positives.items()
        if query in asked
    }
    GroundTruth.from_dict(truth).to_trec(output)
    return Path(output)


def export_layer(path: Where, output: Where) -> tuple[int, int]:
    """Write an adaptation layer as a torch state dict.

    Args:
        path: A layer in Ilion's own form.
        output: The file to write; ``torch.load(output, weights_only=True)`` reads it.

    Returns:
        (D, D'): dimensions before and after.
    """
    from ilion.adapt import load_layer, save_layer

    output = Path(output)
    if output.suffix == ".npz":
        raise ConfigError(f"{output}: a torch file ends in .pt or .pth")
    layer = load_layer(Path(path)).layer
    save_layer(output, layer)
    return layer.dim_in, layer.dim_out
