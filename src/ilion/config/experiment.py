"""The settings of one experiment: all sections together, where the work is done, and the file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from ilion.config.ask import AskConfig
from ilion.config.descriptors import AdaptationConfig, DatasetConfig, ExtractionConfig
from ilion.config.evaluation import EvaluationConfig, ReportConfig
from ilion.config.plain import (
    PartOf,
    PathFrom,
    apply_overrides,
    check_ranges,
    from_dict,
    load_toml,
    map_marked,
)
from ilion.config.search import ReadingConfig, RerankConfig, SearchConfig
from ilion.errors import ConfigError
from ilion.forecast.cost import Prices
from ilion.opening import full_path
from ilion.registry import CODE, load_code
from ilion.types import Between, Value, Where


@dataclass(frozen=True)
class ComputeConfig:
    """Where the work is done. Nothing here changes a result, but for ``allow_incomplete``.

    Args:
        processes: Number of worker processes on this machine, one shard each at a time; 1 works in this
            process, 0 means one per core.
        on: ``""`` for this machine; ``ray`` for Ray on this machine; ``ray://HOST:PORT`` or ``HOST:PORT`` for
            a running Ray cluster, whose machines see data set and run under the same paths.
        retries: Number of further attempts at a shard that failed; bad images and settings get none.
        allow_incomplete: Whether to go on without the shards that failed; the result says what it lacks.
        cpus: Number of cores that Ray sets aside for a shard.
        gpus: Number of graphics cards that Ray sets aside for a shard; may be a fraction.
        search_rows: Number of database rows in one task of a distributed search.
        rerank_queries: Number of queries in one task of a distributed re-ranking.
    """

    processes: Annotated[int, Between(0, 4096)] = 1
    on: str = ""
    retries: Annotated[int, Between(0, 1000)] = 2
    allow_incomplete: bool = False
    cpus: Annotated[float, Between(0, 4096)] = 1.0
    gpus: Annotated[float, Between(0, 4096)] = 0.0
    search_rows: Annotated[int, Between(1, 10**10)] = 1_000_000
    rerank_queries: Annotated[int, Between(1, 10**6)] = 32


@dataclass(frozen=True)
class ExperimentConfig(Value):
    """One experiment: what ``ilion run`` reads.

    Args:
        name: Name shown in the report.
        output: Folder of the run; relative to the experiment file.
        cache: Folder of the artifacts; experiments that share it share descriptors. "" means ``artifacts`` in
            ``output``.
        seed: Seed of everything that is drawn at random.
        trust: Modules and ``.py`` files outside Ilion whose code may run; their parts can then be chosen by
            the names that they register, or as ``module:attribute`` and ``file.py:attribute``. Modules are
            looked for in the folder of the experiment file first. See docs/models.md.
    """

    name: str = "experiment"
    output: Annotated[str, PathFrom()] = "runs/experiment"
    cache: Annotated[str, PathFrom()] = ""
    seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    trust: tuple[str, ...] = ()
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    extraction: ExtractionConfig = field(default_factory=ExtractionConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    rerank: RerankConfig = field(default_factory=RerankConfig)
    ask: AskConfig = field(default_factory=AskConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    price: Prices = field(default_factory=Prices)


def load_experiment(path: Where, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read an experiment file, or make the default experiment of a data set's folder.

    Args:
        path: An experiment file, whose relative paths start at its own folder; or the folder of a data set,
            whose run then goes to ``runs/<name of the folder>`` below the working directory.
        overrides: Settings as ``section.key=value``.

    Raises:
        ConfigError: See `from_dict` and `load_toml`.
    """
    path = Path(path)
    if path.is_dir():
        name = full_path(path).name
        values: dict[str, Any] = {"name": name, "output": f"runs/{name}", "dataset": {"path": str(path)}}
        base = Path.cwd()
    else:
        values, base = load_toml(path), full_path(path).parent
    config = from_dict(ExperimentConfig, apply_overrides(values, overrides))
    if not config.output:
        raise ConfigError("'output' is empty; name a folder")

    def change(setting: str, marker: object, value: str, default: object) -> str:
        if isinstance(marker, PathFrom) and value.startswith(marker.prefix) and value not in marker.words:
            return marker.prefix + _absolute(base, value.removeprefix(marker.prefix))
        if isinstance(marker, PartOf):
            name, suffix = marker.split(value)
            if code := CODE.fullmatch(name):
                place = code["place"]
                if place.endswith(".py") or place in config.trust:
                    return f"{_locate(base, place)}:{code['attribute']}{suffix}"
        return value

    settled = map_marked(config, change)
    settled = dataclasses.replace(settled, trust=tuple(_locate(base, place) for place in config.trust))
    check_parts(settled)
    return settled


def check_parts(config: ExperimentConfig) -> None:
    """Check ranges, import the code in ``trust``, and look up every part that the settings name.

    Raises:
        ConfigError: A number is out of its range; a part is unknown, or code that is not in ``trust``, or
            code that cannot be imported.
    """

    def check(setting: str, marker: object, value: Any, default: object) -> Any:
        check_ranges([marker], value, setting)
        if isinstance(marker, PartOf) and value != default and not marker.excepts(value):
            try:
                marker.registry.admit(marker.split(value)[0], config.trust)
            except ConfigError as error:
                raise ConfigError(f"{setting}: {error}") from error
        return value

    for place in config.trust:
        load_code(place)
    map_marked(config, check)


def _absolute(base: Path, text: str) -> str:
    return str(full_path(base, os.path.expanduser(text))) if text else text


def _locate(base: Path, place: str) -> str:
    """Return the path of a file, or of a module that lies in a folder; other modules keep their name."""
    if place.endswith(".py"):
        return _absolute(base, place)
    files = (base / f"{place}.py", base / place / "__init__.py")
    return next((str(full_path(file)) for file in files if file.is_file()), place)
