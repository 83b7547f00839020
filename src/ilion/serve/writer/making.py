"""A new index: of photos, or of a finished run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ilion.config import ExperimentConfig, from_dict
from ilion.config.design import Design
from ilion.errors import ArtifactError, ConfigError, UnwritableError
from ilion.extraction.shards import shard_keys
from ilion.opening import check_folder
from ilion.pipeline import Pipeline, Progress
from ilion.serve.index import Index
from ilion.serve.photos import dataset_batches, gather
from ilion.serve.tables import FILE, Tables, forget_tables, is_unmade, state
from ilion.serve.writer.compaction import tidy_artifacts
from ilion.serve.writer.designs import link_artifacts, take_design
from ilion.serve.writer.lock import LOCK, writing
from ilion.serve.writer.photos import Added, add_batches
from ilion.storage.runs import read_run


def create(
    folder: Path,
    sources: Sequence[Path],
    *,
    like: Path | None = None,
    design: Design | None = None,
    objects: bool = True,
    progress: Progress | None = None,
) -> tuple[Index, Added]:
    """Make an index of folders, tars, tables, photos or data sets.

    Args:
        folder: Folder of the index; it must hold none.
        sources: Paths of these.
        like: Output folder of a run whose design is taken, with all that it learnt.
        design: A design; None takes that of the run, or the default.
        objects: See `ilion.serve.photos.gather`.
        progress: Callback that receives stage, done and total.

    Raises:
        ConfigError: The folder is not empty.
        DatasetError: A source cannot be used.
    """
    index = _new(folder)
    with writing(index):
        take_design(
            index,
            design or (Design.of_run(like) if like else Design.of(ExperimentConfig(name="default"))),
            like,
        )
        added = add_batches(index, gather(sources, objects=objects), progress=progress)
    return index, added


def create_from_run(folder: Path, run: Path, progress: Progress | None = None) -> Index:
    """Make an index of a finished run: its database and its design, without describing anything again.

    Args:
        folder: Folder of the index; it must hold none.
        run: Output folder of the run.
        progress: Callback that receives stage, done and total.

    Raises:
        ArtifactError: The run or its artifacts are not there, or photos changed since.
    """
    design = Design.of_run(run)
    config = from_dict(ExperimentConfig, read_run(run)["provenance"]["config"])
    pipeline = Pipeline(config, finished=True)
    dataset = pipeline.dataset
    keys = shard_keys(dataset.database)
    index = _new(folder)
    try:
        with writing(index):
            take_design(index, design, run)
            link_artifacts(pipeline.artifacts, index.folder / "artifacts", keys)
            try:
                add_batches(index, dataset_batches(dataset, sealed=True), sealed=True, progress=progress)
            except UnwritableError:
                raise
            except ArtifactError as error:
                raise ArtifactError(
                    f"{run}: not all of it is described as it is now ({error}); run it again first, or take "
                    f"its design alone: ilion index {config.dataset.path} --like {run} -o {folder}"
                ) from error
            tidy_artifacts(index)
    except BaseException:
        shutil.rmtree(index.folder, ignore_errors=True)
        raise
    return index


def _new(folder: Path) -> Index:
    if (folder / FILE).is_file() and is_unmade(folder):
        forget_tables(folder)
    elif (folder / FILE).is_file():
        index = Index(folder)
        if not state(index.tables.connection)["current"]:  # it was being made when its process ended
            with index.tables.write() as connection:
                connection.execute("DELETE FROM designs")
            return index
    check_folder(folder)
    if folder.is_dir() and any(p.name != LOCK for p in folder.iterdir()):
        raise ConfigError(f"{folder}: is not empty; name a new folder, or grow an index by 'ilion add'")
    folder.mkdir(parents=True, exist_ok=True)
    Tables(folder, create=True).close()
    return Index(folder)
