"""The frozen, validated values that flow through the pipeline.

Letters in the shapes: Q queries, N database images, K kept results, D dimensions, M local features.
Ids are stable strings from end to end; rows are positions in the database of one run and never leave it.
"""

from ilion.types.basics import RGB, Between, Bool, Float32, Float64, Int64, Metric, Resize, Where
from ilion.types.features import Descriptors, LocalFeatures, TextLine
from ilion.types.images import (
    Box,
    FileSource,
    ImageRecord,
    KnownSource,
    MemorySource,
    NoSource,
    Query,
    RetrievalDataset,
    Shard,
    Source,
    TarSource,
)
from ilion.types.printing import Value
from ilion.types.protocol import BenchmarkProtocol
from ilion.types.ranking import Ranking
from ilion.types.truth import Axes, GroundTruth

__all__ = [
    "RGB",
    "Axes",
    "BenchmarkProtocol",
    "Between",
    "Bool",
    "Box",
    "Descriptors",
    "FileSource",
    "Float32",
    "Float64",
    "GroundTruth",
    "ImageRecord",
    "Int64",
    "KnownSource",
    "LocalFeatures",
    "MemorySource",
    "Metric",
    "NoSource",
    "Query",
    "Ranking",
    "Resize",
    "RetrievalDataset",
    "Shard",
    "Source",
    "TarSource",
    "TextLine",
    "Value",
    "Where",
]
