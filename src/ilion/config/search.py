"""Settings of the order of the results: search, reading and re-ranking."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from ilion.config.plain import PartOf, PathFrom
from ilion.localfeatures.base import EXTRACTORS
from ilion.localfeatures.codecs import CODECS
from ilion.reranking.base import SCORERS
from ilion.searching.engines import ENGINES
from ilion.types import Between


@dataclass(frozen=True)
class AsmkConfig:
    """Search by local descriptors from the start, for ``search.method = "asmk"``; see docs/asmk.md.

    Args:
        features: Kind of local features: ``rootsift`` or a learned one.
        keypoints: Largest number of features of an image.
        side: Longer side of the image in pixels.
        enlarge: Whether smaller images are enlarged to it.
        words: Size of the codebook.
        bits: Components of a stored residual, a multiple of 64 where ``binary``.
        binary: Whether a component takes one bit, or else 16.
        assignments: Number of nearest words that a query's feature goes to.
        alpha: Exponent of the selectivity; higher lets only very similar residuals count.
        tau: Threshold of the selectivity, from 0 to 1.
        burst: Exponent from 0 to 1 by which a word counts less when much of the database matches it.
        votes: Whether matches must agree on one rotation, scale and place.
    """

    features: Annotated[str, PartOf(EXTRACTORS)] = "rootsift"
    keypoints: Annotated[int, Between(1, 10**6)] = 1000
    side: Annotated[int, Between(16, 16384)] = 512
    enlarge: bool = True
    words: Annotated[int, Between(2, 10**8)] = 4096
    bits: Annotated[int, Between(1, 65536)] = 128
    binary: bool = True
    assignments: Annotated[int, Between(1, 1000)] = 2
    alpha: Annotated[float, Between(0, 1000)] = 2.0
    tau: Annotated[float, Between(0, 1)] = 0.2
    burst: Annotated[float, Between(0, 1)] = 1.0
    votes: bool = True


@dataclass(frozen=True)
class LocalConfig:
    """Search by local features in one small store, for ``search.method = "local"``; see docs/local-first.md.

    Args:
        budget: Bytes a photo may take, everything counted: 16384; 8192, 4096, 2048 and 1024 find less.
        side: Longer side in pixels to which photos are brought, small ones too.
        sizes: Longer sides in pixels at which a query is asked, beside its own.
        assignments: Number of nearest words in which a query's feature is looked up; 0 means 8.
        shortlist: Number of photos a query whose matches are verified.
        words: Number of visual words; 65536 takes a second model, which is neither faster nor better.
    """

    budget: Annotated[int, Between(1024, 65536)] = 16384
    side: Annotated[int, Between(64, 16384)] = 512
    sizes: Annotated[tuple[int, ...], Between(16, 16384)] = (320, 224, 160, 112, 80)
    assignments: Annotated[int, Between(0, 64)] = 0
    shortlist: Annotated[int, Between(1, 10**6)] = 300
    words: Literal[16384, 65536] = 16384


@dataclass(frozen=True)
class SearchConfig:
    """How the database is searched.

    Args:
        method: ``auto`` is ``local``, unless the experiment asks for a global descriptor: names a model,
            adapts, expands queries or asks with texts. ``exact`` compares global descriptors; ``compressed``
            takes a shortlist by short codes and puts it in exact order; ``local`` and ``asmk`` search by
            local features and compute no global descriptor; or a function of your own (docs/search.md).
        k: Number of results kept for a query.
        expansion: ``none``, ``average`` (AQE) or ``alpha`` (alpha-weighted QE), always on final descriptors.
        expansion_top: Number of first results that are averaged into the query.
        expansion_alpha: Exponent of the similarity as weight, for ``alpha``.
        database_expansion_top: Neighbours averaged into each database descriptor; 0 for none.
        projection: File or folder with the weights of a query-adaptive projection (QuARI), by which the first
            results are compared again; "" for none.
        projection_first: Number of first results that are projected.
        block_size: Number of database descriptors read at once.
        code: Code of ``compressed``: ``pq`` and the bytes of a descriptor, ``rabitq``, ``sq4`` or ``sq8``.
        shortlist: Number of rows that the codes of ``compressed`` propose for a query.
        threads: Number of worker threads; 0 means one per core.
        memory_mb: Megabytes for candidates; more queries than fit are searched in several passes.
        device: ``cpu``, or a device on which torch multiplies the matrices of exact search (``cuda``).
        local: Settings of ``local``.
        asmk: Settings of ``asmk``.
    """

    method: Annotated[str, PartOf(ENGINES, ("auto",))] = "auto"
    k: Annotated[int, Between(1, 10**8)] = 1000
    expansion: Literal["none", "average", "alpha"] = "none"
    expansion_top: Annotated[int, Between(1, 10**6)] = 5
    expansion_alpha: Annotated[float, Between(0, 1000)] = 3.0
    database_expansion_top: Annotated[int, Between(0, 10**6)] = 0
    projection: Annotated[str, PathFrom()] = ""
    projection_first: Annotated[int, Between(1, 10**8)] = 1000
    block_size: Annotated[int, Between(1, 10**8)] = 16384
    code: str = "pq64"
    shortlist: Annotated[int, Between(1, 10**9)] = 2000
    threads: Annotated[int, Between(0, 4096)] = 0
    memory_mb: Annotated[int, Between(1, 10**7)] = 1024
    device: str = "cpu"
    local: LocalConfig = field(default_factory=LocalConfig)
    asmk: AsmkConfig = field(default_factory=AsmkConfig)


@dataclass(frozen=True)
class ReadingConfig:
    """What the words on things are used for; see docs/reading.md.

    Args:
        use: ``none`` reads nothing. ``only`` ranks by the text in photos alone, without any model of images:
            for text queries, or for the text in query photos. ``fused`` adds it to the visual ranking, before
            re-ranking; texts that the model cannot describe are then found by reading alone.
        side: The longer side, in pixels, at which text is looked for.
        smallest: Smallest height of a line that is read, as a share of the longer side.
        confidence: Smallest confidence of a line that counts, [0, 1].
        fusion: ``score`` adds ``weight`` times the similarity of the text; ``calibrated`` learns the weight
            of each query on the other objects; ``rank`` fuses both orders.
        weight: Share of the text, for ``score``.
    """

    use: Literal["none", "only", "fused"] = "none"
    side: Annotated[int, Between(32, 16384)] = 640
    smallest: Annotated[float, Between(0, 1)] = 0.0
    confidence: Annotated[float, Between(0, 1)] = 0.5
    fusion: Literal["score", "calibrated", "rank"] = "score"
    weight: Annotated[float, Between(0, 1e6)] = 0.5


@dataclass(frozen=True)
class RerankConfig:
    """How the first results are put in a better order by local descriptors.

    Args:
        features: Local features, ``rootsift``, ``orb``, ``akaze`` or a learned kind; ``none`` leaves the
            order as it is.
        keypoints: Largest number of features an image; 0 keeps the kind's own number.
        side: Longer side of the image in pixels; 0 keeps the kind's own.
        budget: Bytes an image may take, from about 1,000 to 60,000: the one setting that slides along the
            cost axis. 0 stores full precision.
        codec: Storage of descriptors: ``auto`` chooses by the budget; ``binary`` keeps a bit a dimension.
        shortlist: Number of first results that are compared.
        scorer: ``geometry`` matches nearest neighbours and verifies them, ``lightglue`` matches by a network
            and verifies, ``chamfer`` averages how well each feature is found, ``ames`` is a network that
            compares sets, ``transport`` shares features out, ``elvis`` is a small network over that. See
            docs/matching.md.
        weights: File with the weights of ``lightglue`` ("" takes those of an installed package, or
            fetches the published ones), ``ames``, ``elvis``.
        activation: Activation of an ``ames`` network whose file does not say it, ``relu`` or ``gelu``; ""
            assumes ``relu`` and says so.
        ratio: Ratio of the ratio test, (0, 1]; 0 means 0.9, or what fits compressed descriptors.
        model: Family of motions that matches must agree on.
        threshold: Largest distance of an inlier, as a share of the database image's longer side.
        floor: Number of verified matches that are no evidence yet; 0 means what fits the number of stored
            features.
        fusion: ``score`` adds ``weight`` times the local score; ``calibrated`` learns the weight of each
            query on the other objects; ``rank`` fuses both orders.
        weight: Factor of the local score; 0 means what fits the scorer.
        diagnose: Whether to re-rank with features at full precision too, to report what compression costs.
            They take the disk and the time of a run with ``budget = 0``. Without it this is only said where
            such a run has left its evidence in the same cache.
    """

    features: Annotated[str, PartOf(EXTRACTORS, ("none",))] = "none"
    keypoints: Annotated[int, Between(0, 10**6)] = 0
    side: Annotated[int, Between(0, 16384)] = 0
    budget: Annotated[int, Between(0, 10**9)] = 0
    codec: Annotated[str, PartOf(CODECS, ("auto",))] = "auto"
    shortlist: Annotated[int, Between(1, 10**9)] = 400
    scorer: Annotated[str, PartOf(SCORERS)] = "geometry"
    weights: Annotated[str, PathFrom(words=("none",))] = ""
    activation: Literal["", "relu", "gelu"] = ""
    ratio: Annotated[float, Between(0, 1)] = 0.0
    model: Literal["similarity", "affine", "homography"] = "homography"
    threshold: Annotated[float, Between(1e-6, 1)] = 1 / 128
    floor: Annotated[int, Between(0, 10**6)] = 0
    fusion: Literal["score", "calibrated", "rank"] = "score"
    weight: Annotated[float, Between(0, 1e6)] = 0.0
    diagnose: bool = False
