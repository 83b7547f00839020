"""Last stage: a language model that sees pictures orders the first results."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ilion.errors import ConfigError
from ilion.images import crop, decode, least_size, resize
from ilion.outcome import Cost
from ilion.pipeline.experiment import Experiment
from ilion.reranking.asking import Asked, Endpoint, Judge, ask_about
from ilion.reranking.asking_local import PREFIX, LocalModel
from ilion.types import RGB, Box, ImageRecord, Ranking


def judge_of(experiment: Experiment) -> Judge:
    """Return the model of the settings.

    Raises:
        ConfigError: A setting is missing, no environment variable has the name of the key, or all queries are
            texts.
        MissingExtraError: A model in this process needs torch and transformers.
        ExtractionError: The model cannot be loaded.
    """
    settings, cache = experiment.config.ask, experiment.artifacts / "answers"
    if all(query.image is None for query in experiment.queries):
        raise ConfigError(
            f"{experiment.dataset.name}: all queries are texts, and a language model is asked about photos; "
            "leave out ask.endpoint and ask.model"
        )
    if settings.local:
        if settings.endpoint:
            raise ConfigError(
                f"ask.model = {settings.model!r} is a model in this process, which ask.endpoint does not "
                "serve; leave one of them out"
            )
        folder = Path(settings.model.removeprefix(PREFIX))
        return LocalModel(folder, cache, settings.prompt, experiment.config.extraction.device)
    if not settings.model:
        raise ConfigError("ask.endpoint is given without ask.model; name the model that the endpoint serves")
    if settings.key and settings.key not in os.environ:
        raise ConfigError(
            f"ask.key = {settings.key!r} is the name of an environment variable that holds the key; there is "
            "none of that name"
        )
    key = os.environ[settings.key] if settings.key else ""
    return Endpoint(settings.endpoint, settings.model, key, cache, settings.prompt, settings.timeout)


def ask(experiment: Experiment, judge: Judge, ranking: Ranking) -> Asked:
    """Ask about the first results of every image query; texts keep their results."""
    settings, cropped = experiment.config.ask, experiment.config.extraction.query_box == "crop"
    queries = {query.id: query for query in experiment.queries}
    shown = ranking.indices[:, : settings.first]
    wanted = {ranking.database_ids[row] for row in set(shown[shown >= 0].tolist())}
    records = {r.id: r for r in experiment.dataset.records() if r.id in wanted}

    def query(number: int) -> RGB | None:
        image = queries[ranking.query_ids[number]].image
        return None if image is None else load(image, settings.side, image.boxes if cropped else ())

    def image(row: int) -> RGB:
        return load(records[ranking.database_ids[row]], settings.side, ())

    return ask_about(
        ranking, query, image, judge, settings.first, settings.workers, experiment.tell("asking")
    )


def load(record: ImageRecord, side: int, boxes: tuple[Box, ...]) -> RGB:
    """Return a picture as it is sent: upright, cropped to its boxes, its longer side at most ``side``."""
    enough = None if boxes else least_size("long", side)
    found = decode(record.source.read(), at_least=enough, where=str(record.source))
    image = crop(found.image, boxes) if boxes else found.image
    return resize(image, "long", side) if max(image.shape[:2]) > side else image


def report_on(asked: Asked, model: str, before: float) -> dict[str, str | float]:
    """Return what asking did and took, for the provenance of a run."""
    return {
        "model": model,
        "mAP before": before,
        "questions sent": asked.calls,
        "answers kept": asked.kept,
        "prompt tokens": asked.prompt_tokens,
        "answer tokens": asked.answer_tokens,
        "seconds of answers": round(asked.seconds, 3),
    }


def add_cost(cost: Cost, asked: Asked) -> Cost:
    """Add the time of the answers, when they were given, to what a run costs."""
    return replace(
        cost,
        search_ms_per_query=cost.search_ms_per_query + 1e3 * asked.seconds / len(asked.ranking.query_ids),
        stage_seconds={**cost.stage_seconds, "asking": asked.seconds},
        reused=(*cost.reused, "asking") if asked.kept and not asked.calls else cost.reused,
    )
