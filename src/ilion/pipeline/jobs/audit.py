"""Audit a data set or a run: gather the evidence, find suspects, and say what they do to the numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from ilion import storage
from ilion.adapt.labels import load_labels
from ilion.audit.decisions import Applied, apply_decisions, read_decisions, settled_keys, undo
from ilion.audit.effects import Judged, measure_effects
from ilion.audit.find import without_copies
from ilion.audit.reviews import Reviews
from ilion.audit.suspects import Audit, note_audit, order, unsettled, write_audit
from ilion.audit.words import Vocabulary
from ilion.config import ExperimentConfig, ExtractionConfig, from_dict, load_experiment
from ilion.datasets.amendments import read_amendments
from ilion.errors import ArtifactError, ConfigError
from ilion.pipeline.experiment import Progress
from ilion.pipeline.jobs.audit_boxes import find_box_suspects
from ilion.pipeline.jobs.audit_copies import SMALL_SET, find_copy_suspects
from ilion.pipeline.jobs.audit_evidence import Look
from ilion.pipeline.jobs.audit_matches import add_matches, add_words
from ilion.pipeline.order import Pipeline
from ilion.pipeline.stages.evidence import require_photos, sign_photos
from ilion.pipeline.stages.photos import build_photos
from ilion.report.audit import write_audit_page
from ilion.storage.runs import FILE as RUN_FILE
from ilion.storage.runs import read_run
from ilion.types import FileSource, ImageRecord, Ranking, Where
from ilion.wording import counted

MOST = 2000
"""Suspects that are listed; all of them count in the numbers."""
DRAWN = 400
"""Suspects, the most valuable first, whose matches are kept to be drawn."""
NAMED = 5
"""Photos that could not be read which a note names; all are in the file of the audit."""


def audit(
    source: Where,
    output: Where = "audit",
    *,
    training: Where | None = None,
    descriptors: bool = True,
    language: str = "en",
    on_bad_image: Literal["error", "skip"] | None = None,
    progress: Progress | None = None,
) -> tuple[Audit, Path]:
    """Find what is suspicious about a data set, and write ``suspects.json`` and ``audit.html``.

    Args:
        source: Output folder of a finished run, an experiment, or a data set, which is then run first.
        output: Folder of the audit.
        training: Table of labelled training photos (``path,...``, relative to the table) that must not be in
            the evaluation.
        descriptors: Whether photos of objects are compared by a global descriptor as well.
        language: Language of the page.
        on_bad_image: Whether the run stops at an unreadable image, or skips and counts it; None leaves
            its settings.
        progress: Callback that receives stage, done and total.

    Returns:
        The audit, and the path of the page.

    Raises:
        ArtifactError: The run is damaged, or the data set has no photos.
        ConfigError: A finished run is told what to do with unreadable images.
    """
    output = Path(output)
    pipeline, ranking, folder = _searched(source, output, on_bad_image, progress)
    run = "" if folder is None else str(folder)
    found = examine(pipeline, ranking, training=training, descriptors=descriptors, run=run)
    write_audit(output, found)
    if folder is not None:
        note_audit(folder, output, found)
    tell = None if progress is None else (lambda done, total: progress("pictures", done, total))
    page = write_audit_page(output / "audit.html", found, pipeline.dataset, language=language, progress=tell)
    return found, page


def apply_audit(
    decisions: Where,
    dataset: Where | None = None,
    *,
    who: str = "",
    unsure: Literal["keep", "ignored"] = "keep",
) -> Applied:
    """Write decisions into the ground truth of a data set, as a new table of amendments beside the old one.

    Args:
        decisions: File of decisions, as the page saves it; or the folder of an audit that several reviewed,
            of which what all who answered agree on is taken.
        dataset: Folder of the data set; None for the one that was audited.
        who: Name of the reviewer, where the file has none.
        unsure: Whether photos about which nobody can tell stay as they are, or are ignored.

    Raises:
        DatasetError: The file or the data set cannot be read.
    """
    path = Path(decisions)
    taken = Reviews(path).agreed() if path.is_dir() else read_decisions(path, who)
    root = Path(dataset) if dataset is not None else Path(taken.dataset)
    return apply_decisions(root, taken.decisions, unsure_ignored=unsure == "ignored")


def undo_audit(dataset: Where) -> tuple[Path, Path | None]:
    """Take the newest table of amendments of a data set back, see `ilion.audit.decisions.undo`."""
    return undo(Path(dataset))


def _searched(
    source: Where, output: Path, on_bad_image: Literal["error", "skip"] | None, progress: Progress | None
) -> tuple[Pipeline, Ranking, Path | None]:
    """Return what is audited, its ranking, and its run; None while objects lack labels to be judged by."""
    folder = Path(source)
    if (folder / RUN_FILE).exists():
        if on_bad_image:
            raise ConfigError(f"{folder}: is a finished run; --on-bad-image is for what is run first")
        try:
            config = from_dict(ExperimentConfig, read_run(folder)["provenance"]["config"])
        except (KeyError, TypeError, AttributeError, ConfigError) as error:
            raise ArtifactError(
                f"{folder}: its settings are not those of this version ({error}); run the experiment again"
            ) from error
        return Pipeline(config, progress, finished=True), storage.read_ranking(folder / "ranking"), folder
    config = load_experiment(source)
    if not folder.is_file():
        config = replace(config, output=str(output / "run"))
    if on_bad_image:
        config = replace(config, extraction=replace(config.extraction, on_bad_image=on_bad_image))
    pipeline = Pipeline(config, progress, unlabelled=True)
    if all(pipeline.dataset.positives.values()):
        pipeline.evaluate()
        return pipeline, storage.read_ranking(pipeline.output / "ranking"), pipeline.output
    return pipeline, pipeline.search().ranking, None


def examine(
    pipeline: Pipeline,
    ranking: Ranking,
    *,
    training: Where | None = None,
    descriptors: bool = True,
    run: str = "",
) -> Audit:
    """Audit the data set of an experiment, by a ranking of its queries.

    Args:
        pipeline: The experiment.
        ranking: Ranking of its queries, which says what suspects would change.
        training: See `audit`.
        descriptors: See `audit`.
        run: Folder of the run, for the record.
    """
    config, dataset = pipeline.config, pipeline.dataset
    search = config.search if config.search.method == "local" else ExperimentConfig().search
    own = ExperimentConfig(
        name=config.name,
        output=config.output,
        cache=str(pipeline.artifacts),
        dataset=replace(config.dataset, queries="image"),
        extraction=replace(
            ExtractionConfig(),
            workers=config.extraction.workers,
            on_bad_image=config.extraction.on_bad_image,
        ),
        search=replace(search, method="local"),
        reading=replace(config.reading, use="none" if config.reading.use == "none" else "fused"),
        seed=config.seed,
    )
    photos = Pipeline(own, pipeline.experiment.progress, dataset=dataset)
    require_photos(photos.experiment)
    look = Look(photos.experiment, build_photos(photos.experiment), descriptors)
    leaked = _training_photos(training)
    notes = [] if descriptors else ["no global descriptor was asked (--no-descriptors)"]
    suspects = look.label_suspects()
    signed = sign_photos(look.experiment, leaked, workers=config.extraction.workers)
    copies, more = find_copy_suspects(look, signed, leaked)
    suspects = without_copies(suspects, copies) + copies + find_box_suspects(look) + look.alike()
    if len(look.ids) > SMALL_SET:
        notes.append("crops of distractors among each other were not looked for: they change no number")
    notes += more
    if signed.unreadable:
        few = ", ".join(signed.unreadable[:NAMED])
        notes.append(
            f"not looked at: {counted(len(signed.unreadable), 'photo')} that could not be read, such as {few}"
        )
    settled = settled_keys(read_amendments(dataset.root))
    left = unsettled(suspects, settled)
    settings = config.evaluation
    judged = Judged(ranking, dataset, settings.definition, settings.k)
    measured, precision, first = measure_effects(judged, left)
    ranked = order(measured)
    if len(ranked) > MOST:
        count = counted(
            len(ranked) - MOST, "suspect of the least value is", "suspects of the least value are"
        )
        notes.append(f"{count} not listed")
    rows = {name: row for row, name in enumerate(look.ids)}
    shown = [add_matches(look, suspect, rows) for suspect in ranked[:DRAWN]] + ranked[DRAWN:MOST]
    if look.words is not None:
        vocabulary = Vocabulary(look.words, look.speaking)
        shown = [add_words(look, suspect, rows, vocabulary) for suspect in shown]
    return Audit(
        dataset=str(dataset.root),
        name=dataset.name,
        run=run,
        suspects=tuple(shown),
        precision=precision,
        first=first,
        k=settings.k,
        photos=len(signed.ids),
        queries=look.query_photos,
        settled=len(suspects) - len(left),
        notes=tuple(notes),
        unreadable=signed.unreadable,
    )


def _training_photos(table: Where | None) -> tuple[ImageRecord, ...]:
    if table is None:
        return ()
    path = Path(table)
    return tuple(
        ImageRecord(f"training/{name}", FileSource(path.parent / name)) for name in load_labels(path).paths
    )
