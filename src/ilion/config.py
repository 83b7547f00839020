"""Settings: frozen dataclasses to and from TOML.

A key that no dataclass has, a value of the wrong type or an impossible choice is an error that names the
place and, for a key, the closest known one.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tomli_w

from ilion.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class DatasetConfig:
    """Which data set.

    Args:
        path: Folder of the data set; relative to the experiment file.
        layout: ``auto``, ``ilias``, ``folder`` or ``ids`` (no images: see docs/interop.md).
        distractors: A further folder with distractors (tars or images), or "".
        subset: An id file; only these database images take part. "" takes all.
        queries: ``image`` or ``text``; ``both`` asks either and shows them side by side; ``image+text`` asks
            with each image together with the text of its object.
        shard_size: Images in one shard of loose files; extraction loses at most one shard when it is killed.
    """

    path: str = ""
    layout: Literal["auto", "ilias", "folder", "ids"] = "auto"
    distractors: str = ""
    subset: str = ""
    queries: Literal["image", "text", "both", "image+text"] = "image"
    shard_size: int = 500


@dataclass(frozen=True)
class ExtractionConfig:
    """Which descriptor and how it is computed.

    Args:
        model: A name that ``ilion models`` lists, ``backend:name``, or ``imported:FOLDER`` for descriptors of
            others (see docs/interop.md).
        weights: File or hub id in place of the model's own weights; "" keeps them.
        side: Input side in pixels; 0 keeps the model's own.
        resize: ``long``, ``short``, ``square``, ``center-crop`` or ``pad``; "" keeps the model's own.
        pooling: ``head``, ``cls``, ``gap``, ``mac``, ``gem``, ``rmac`` or ``rgem``; "" keeps the model's own.
        scales: Image scales whose descriptors are averaged; empty keeps the model's own.
        rotations: Degrees whose descriptors are averaged; empty keeps the model's own.
        query_box: What happens to a query that has boxes: ``crop``, ``mask`` or ``none``.
        prompts: Templates around text queries, such as ``a photo of {}.``; the descriptors of all of them are
            averaged. Empty asks with the text alone.
        long_texts: ``cut`` drops what a model cannot read of a long text; ``average`` reads it in pieces.
        text_weight: Share of the text in the descriptor of a query of image and text, [0, 1].
        on_bad_image: ``error`` stops at an unreadable image; ``skip`` counts it and shows it in the report.
        fit_images: At most so many database images are looked at by models that learn a codebook.
        refit: Learn anew from the present state of the data set. Else what the first run learnt stays, so
            that images can be added and removed without describing the others again.
        dtype: How descriptors are stored.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``float32``, ``float16`` or ``bfloat16``.
        batch_size: Images of one shape computed together.
        workers: Threads that read and decode; 0 takes one a core.
        threads: Compute threads; 0 takes one a core.
    """

    model: str = "default"
    weights: str = ""
    side: int = 0
    resize: str = ""
    pooling: str = ""
    scales: tuple[float, ...] = ()
    rotations: tuple[int, ...] = ()
    query_box: Literal["crop", "mask", "none"] = "crop"
    prompts: tuple[str, ...] = ()
    long_texts: Literal["cut", "average"] = "cut"
    text_weight: float = 0.5
    on_bad_image: Literal["error", "skip"] = "error"
    fit_images: int = 500
    refit: bool = False
    dtype: Literal["float16", "float32"] = "float16"
    device: str = "auto"
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    batch_size: int = 8
    workers: int = 0
    threads: int = 0


@dataclass(frozen=True)
class AdaptationConfig:
    """A learnt linear layer between descriptors and search; see docs/adaptation.md.

    Args:
        layer: File of a layer: ``.npz`` of ``ilion adapt``, or a torch state dict of the ILIAS benchmark.
        method: Learn a layer for this run from ``labels``: ``pca``, ``lda``, ``wccn``, ``ridge``, ``linear``
            or ``few-shot``. ``none`` learns nothing.
        labels: A CSV file with lines ``path,class,domain``.
        photos: Where its paths start; "" means the folder of the CSV file.
        dim: Dimensions of the result, at most, for ``pca``, ``lda`` and ``linear``.
        shrinkage: For ``pca``, ``lda`` and ``wccn``, from 0 (as measured) to 1 (all directions alike).
        alpha: For ``ridge``.
        epochs: For ``linear``, at most.
        held_out: For ``linear``: share of the classes that choose the epoch instead of being learnt.
        patience: For ``linear`` with ``held_out``: epochs without a better one after which training ends.
        margin: For ``linear``: of the right class; 0 is the published recipe.
        margin_kind: ``cosface`` takes it off the cosine, ``arcface`` adds it to the angle.
        balance: For ``linear``: ``none`` shows every photo once an epoch, as published; ``class``, ``domain``
            and ``class+domain`` draw all of these as often.
        checkpoint_every: For ``linear``: batches between two checkpoints, from which an interrupted training
            goes on to the same layer; 0 keeps none.
        folds: For the estimate on unseen classes; 0 makes none.
        guard: Keep the identity where that estimate shows no certain gain; ``few-shot`` always does.
        seen: What to do with queries of objects that the layer was learnt from: ``refuse`` to judge them,
            ``leave-out`` these queries, or ``keep`` them. ``keep`` also lets labelled photos be distractors.
    """

    layer: str = ""
    method: Literal["none", "pca", "lda", "wccn", "ridge", "linear", "few-shot"] = "none"
    labels: str = ""
    photos: str = ""
    dim: int = 512
    shrinkage: float = 0.5
    alpha: float = 1.0
    epochs: int = 5
    held_out: float = 0.0
    patience: int = 3
    margin: float = 0.0
    margin_kind: Literal["cosface", "arcface"] = "cosface"
    balance: Literal["none", "class", "domain", "class+domain"] = "none"
    checkpoint_every: int = 2000
    folds: int = 5
    guard: bool = False
    seen: Literal["refuse", "leave-out", "keep"] = "refuse"


@dataclass(frozen=True)
class AsmkConfig:
    """Search by local descriptors from the start, for ``search.method = "asmk"``; see docs/asmk.md.

    Args:
        features: Which local features: ``rootsift`` or a learned kind.
        keypoints: At most so many features an image.
        side: Longer side of the image in pixels.
        enlarge: Whether smaller images are enlarged to it.
        words: Size of the codebook.
        bits: Components of a stored residual, a multiple of 64 where ``binary``.
        binary: One bit a component, or else 16.
        assignments: Nearest words that a query's feature goes to.
        alpha: Exponent of the selectivity; higher lets only very similar residuals count.
        tau: Threshold of the selectivity, from 0 to 1.
        burst: From 0 to 1, how much less a word counts of which much of the database matches.
        votes: Whether matches must agree on one rotation, scale and place.
    """

    features: str = "rootsift"
    keypoints: int = 1000
    side: int = 512
    enlarge: bool = True
    words: int = 4096
    bits: int = 128
    binary: bool = True
    assignments: int = 2
    alpha: float = 2.0
    tau: float = 0.2
    burst: float = 1.0
    votes: bool = True


@dataclass(frozen=True)
class SearchConfig:
    """How the database is searched.

    Args:
        method: ``exact`` compares global descriptors; ``compressed`` takes a shortlist by short codes and
            puts it in exact order (docs/search.md); ``asmk`` searches by local features and computes no
            global descriptor.
        k: How many results are kept for a query.
        expansion: ``none``, ``average`` (AQE) or ``alpha`` (alpha-weighted QE), always on final descriptors.
        expansion_top: How many first results are averaged into the query.
        expansion_alpha: Exponent of the similarity as weight, for ``alpha``.
        database_expansion_top: Neighbours averaged into each database descriptor; 0 for none.
        block_size: Database descriptors read at once.
        code: For ``compressed``: ``pq`` and the bytes of a descriptor, ``rabitq``, ``sq4`` or ``sq8``.
        shortlist: For ``compressed``: rows that the codes propose for a query.
        threads: That compare; 0 takes one a core.
        memory_mb: For candidates; more queries than fit are searched in several passes.
        device: ``cpu``, or where torch multiplies the matrices of exact search, such as ``cuda``.
        asmk: Settings of ``asmk``.
    """

    method: Literal["exact", "compressed", "asmk"] = "exact"
    k: int = 1000
    expansion: Literal["none", "average", "alpha"] = "none"
    expansion_top: int = 5
    expansion_alpha: float = 3.0
    database_expansion_top: int = 0
    block_size: int = 16384
    code: str = "pq64"
    shortlist: int = 2000
    threads: int = 0
    memory_mb: int = 1024
    device: str = "cpu"
    asmk: AsmkConfig = field(default_factory=AsmkConfig)


@dataclass(frozen=True)
class ReadingConfig:
    """What the words on things are used for; see docs/reading.md.

    Args:
        use: ``none`` reads nothing. ``only`` ranks by the text in photos alone, without any model of images:
            for text queries, or for the text in query photos. ``fused`` adds it to the visual ranking, before
            re-ranking; texts that the model cannot describe are then found by reading alone.
        side: The longer side, in pixels, at which text is looked for.
        smallest: Lines of less height are not read, as a share of the longer side.
        confidence: Lines of which the reader is less sure do not count.
        fusion: ``score`` adds ``weight`` times the similarity of the text; ``calibrated`` learns the weight
            of each query on the other objects; ``rank`` fuses both orders.
        weight: Of the text, for ``score``.
    """

    use: Literal["none", "only", "fused"] = "none"
    side: int = 640
    smallest: float = 0.0
    confidence: float = 0.5
    fusion: Literal["score", "calibrated", "rank"] = "score"
    weight: float = 0.5


@dataclass(frozen=True)
class RerankConfig:
    """How the first results are put in a better order by local descriptors.

    Args:
        features: ``none`` leaves the order as it is; else ``rootsift``, ``orb``, ``akaze`` or a learned kind.
        keypoints: At most so many features an image; 0 keeps the kind's own number.
        side: Longer side of the image in pixels; 0 keeps the kind's own.
        budget: Bytes an image may take, from about 1,000 to 60,000: the one setting that slides along the
            cost axis. 0 stores full precision.
        codec: How descriptors are stored: ``auto`` chooses by the budget; ``binary`` keeps a bit a dimension.
        shortlist: How many first results are looked at.
        scorer: ``geometry`` matches nearest neighbours and verifies them, ``lightglue`` matches by a network
            and verifies, ``chamfer`` averages how well each feature is found, ``ames`` is a network that
            compares sets. See docs/matching.md.
        weights: File with the weights of ``lightglue`` ("" fetches the published ones) or ``ames``.
        ratio: Of the ratio test; 0 takes 0.9, or what fits compressed descriptors.
        model: Family of motions that matches must agree on.
        threshold: Largest distance of an inlier, as a share of the database image's longer side.
        floor: Verified matches that are no evidence yet; 0 takes what fits the number of stored features.
        fusion: ``score`` adds ``weight`` times the local score; ``calibrated`` learns the weight of each
            query on the other objects; ``rank`` fuses both orders.
        weight: Of the local score; 0 takes what fits the scorer.
        diagnose: Re-rank with features at full precision too, to say in the report what compression costs.
            They take the disk and the time of a run with ``budget = 0``. Without it this is only said where
            such a run has left its evidence in the same cache.
    """

    features: str = "none"
    keypoints: int = 0
    side: int = 0
    budget: int = 0
    codec: Literal["auto", "raw", "uint8", "pca", "pq", "binary"] = "auto"
    shortlist: int = 400
    scorer: Literal["geometry", "lightglue", "chamfer", "ames"] = "geometry"
    weights: str = ""
    ratio: float = 0.0
    model: Literal["similarity", "affine", "homography"] = "homography"
    threshold: float = 1 / 128
    floor: int = 0
    fusion: Literal["score", "calibrated", "rank"] = "score"
    weight: float = 0.0
    diagnose: bool = False


@dataclass(frozen=True)
class EvaluationConfig:
    """How results are judged.

    Args:
        definition: ``ilias``, ``trec`` or ``revisited``; see docs/metrics.md.
        k: Cut-off of AP.
        bootstrap: Resamples for the intervals.
        ties: ``rank`` goes by the order of the results; ``step`` takes results of the same similarity as one
            step, like the ILIAS benchmark's own evaluator (only for ``ilias``).
    """

    definition: Literal["ilias", "trec", "revisited"] = "ilias"
    k: int = 1000
    bootstrap: int = 2000
    ties: Literal["rank", "step"] = "rank"


@dataclass(frozen=True)
class ComputeConfig:
    """Where the work is done. Nothing here changes a result, but for ``allow_incomplete``.

    Args:
        processes: Worker processes on this machine, one shard each at a time; 1 works in this process, 0
            takes one a core.
        on: ``""`` for this machine; ``ray`` for Ray on this machine; ``ray://HOST:PORT`` or ``HOST:PORT`` for
            a running Ray cluster, whose machines see data set and run under the same paths.
        retries: Further attempts at a shard that failed; bad images and settings are not tried again.
        allow_incomplete: Go on without the shards that failed; the result says what it lacks.
        cpus: Cores that Ray sets aside for a shard.
        gpus: Graphics cards that Ray sets aside for a shard; may be a fraction.
        search_rows: Database rows that one task of a distributed search looks at.
        rerank_queries: Queries that one task of a distributed re-ranking looks at.
    """

    processes: int = 1
    on: str = ""
    retries: int = 2
    allow_incomplete: bool = False
    cpus: float = 1.0
    gpus: float = 0.0
    search_rows: int = 1_000_000
    rerank_queries: int = 32


@dataclass(frozen=True)
class ReportConfig:
    """What the report shows.

    Args:
        gallery: Queries in the gallery: a third each of the best, the worst and typical ones.
        language: Language of the text.
        domain: What the model is specialised in, shown in tables by domain; "" takes what is known of it.
    """

    gallery: int = 12
    language: str = "en"
    domain: str = ""


@dataclass(frozen=True)
class PriceConfig:
    """What machines and disks cost, for `ilion forecast`; 0 is unknown, and then no price is foretold.

    Args:
        hour: Of the machine that the experiment is measured on.
        gigabyte_month: Of disk.
        months: How long the database is kept.
        currency: Shown beside prices.
    """

    hour: float = 0.0
    gigabyte_month: float = 0.0
    months: float = 1.0
    currency: str = ""


@dataclass(frozen=True)
class ExperimentConfig:
    """One experiment: what ``ilion run`` reads.

    Args:
        name: Shown in the report.
        output: Folder of the run; relative to the experiment file.
        cache: Folder of the artifacts; experiments that share it share descriptors. "" means ``artifacts`` in
            ``output``.
        seed: Of everything that is drawn at random.
    """

    name: str = "experiment"
    output: str = "runs/experiment"
    cache: str = ""
    seed: int = 0
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    extraction: ExtractionConfig = field(default_factory=ExtractionConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    rerank: RerankConfig = field(default_factory=RerankConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    price: PriceConfig = field(default_factory=PriceConfig)


def from_dict(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Build a config dataclass from plain values.

    Args:
        cls: A dataclass whose fields are scalars, literals, tuples of scalars, or such dataclasses.
        values: As read from TOML.
        where: Prefix for messages, such as ``search``.

    Raises:
        ConfigError: Unknown key, wrong type or impossible choice.

    >>> from_dict(SearchConfig, {"k": 10}).k
    10
    >>> from_dict(SearchConfig, {"kk": 10})
    Traceback (most recent call last):
    ilion.errors.ConfigError: unknown setting 'kk'; did you mean 'k'?
    """
    hints = get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{where}.{key}" if where else key
        if key not in known:
            close = get_close_matches(key, known, n=1, cutoff=0.4)
            prefix = f"{where}." if where else ""
            hint = f"; did you mean '{prefix}{close[0]}'?" if close else f"; known are {', '.join(known)}"
            raise ConfigError(f"unknown setting '{path}'{hint}")
        arguments[key] = _convert(hints[key], value, path)
    return cls(**arguments)


def _convert(hint: Any, value: Any, path: str) -> Any:
    """Check one value against its annotation; integers are accepted where floats are expected."""
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"'{path}' must be a table, got {value!r}")
        return from_dict(hint, value, path)  # type: ignore[arg-type]
    origin = get_origin(hint)
    if origin is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"'{path}' must be one of {', '.join(map(str, get_args(hint)))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ConfigError(f"'{path}' must be a list, got {value!r}")
        return tuple(_convert(get_args(hint)[0], v, f"{path}[{i}]") for i, v in enumerate(value))
    if origin in (Union, types.UnionType):
        options = [a for a in get_args(hint) if a is not type(None)]
        return None if value is None else _convert(options[0], value, path)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise ConfigError(f"'{path}' must be {hint.__name__}, got {value!r}")
    return value


def to_dict(config: Any) -> dict[str, Any]:
    """Return plain values, tuples as lists, None left out; the inverse of `from_dict`.

    >>> to_dict(EvaluationConfig())["k"]
    1000
    """
    plain: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            value = to_dict(value)
        elif isinstance(value, tuple):
            value = list(value)
        if value is not None:
            plain[f.name] = value
    return plain


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: It is missing or not TOML; the message names file and line.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; 'ilion demo' writes an example") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def dump_toml(config: Any) -> str:
    """Return a config as TOML text."""
    return tomli_w.dumps(to_dict(config))


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy with ``section.key=value`` settings applied; values are read as TOML, else as text.

    Raises:
        ConfigError: An override has no ``=`` or walks through something that is not a table.

    >>> apply_overrides({}, ["search.k=10", "extraction.model=siglip2-l-512"])
    {'search': {'k': 10}, 'extraction': {'model': 'siglip2-l-512'}}
    """
    result = {k: dict(v) if isinstance(v, dict) else v for k, v in values.items()}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {override!r}: write it as section.key=value")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        *sections, last = key.strip().split(".")
        table = result
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {override!r}: '{section}' is a value, not a section")
        table[last] = value
    return result


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read an experiment file, or make the default experiment of a data set's folder.

    Args:
        path: An experiment file, whose relative paths start at its own folder; or the folder of a data set,
            whose run then goes to ``runs/<name of the folder>`` below the working directory.
        overrides: Settings as ``section.key=value``.

    Raises:
        ConfigError: See `from_dict` and `load_toml`.
    """
    if path.is_dir():
        name = path.resolve().name
        values: dict[str, Any] = {"name": name, "output": f"runs/{name}", "dataset": {"path": str(path)}}
        base = Path.cwd()
    else:
        values, base = load_toml(path), path.resolve().parent
    config = from_dict(ExperimentConfig, apply_overrides(values, overrides))

    def absolute(text: str) -> str:
        return str((base / Path(text).expanduser()).resolve()) if text else text

    dataset = dataclasses.replace(
        config.dataset,
        path=absolute(config.dataset.path),
        distractors=absolute(config.dataset.distractors),
        subset=absolute(config.dataset.subset),
    )
    extraction = config.extraction
    if extraction.model.startswith("imported:"):
        folder = absolute(extraction.model.removeprefix("imported:"))
        extraction = dataclasses.replace(extraction, model=f"imported:{folder}")
    adaptation = dataclasses.replace(
        config.adaptation,
        layer=absolute(config.adaptation.layer),
        labels=absolute(config.adaptation.labels),
        photos=absolute(config.adaptation.photos),
    )
    rerank = config.rerank
    if rerank.weights != "none":
        rerank = dataclasses.replace(rerank, weights=absolute(rerank.weights))
    return dataclasses.replace(
        config,
        dataset=dataset,
        extraction=extraction,
        adaptation=adaptation,
        rerank=rerank,
        output=absolute(config.output),
        cache=absolute(config.cache),
    )
