"""ASMK: local descriptors aggregated by visual word, searched through an inverted file.

    local features -> codebook -> aggregates -> inverted file -> ranking

Tolias, Avrithis and Jégou, "Image search with selective match kernels: aggregation across single and multiple
images", IJCV 2016. No global descriptor takes part. See docs/asmk.md.
"""

from ilion.searching.asmk.aggregate import aggregate
from ilion.searching.asmk.codebook import (
    SAMPLE_PER_WORD,
    Codebook,
    learn_codebook,
    read_codebook,
    write_codebook,
)
from ilion.searching.asmk.inverted import InvertedFile, index_shard, open_index
from ilion.searching.asmk.search import search_postings
from ilion.searching.asmk.settings import AsmkSettings

__all__ = [
    "SAMPLE_PER_WORD",
    "AsmkSettings",
    "Codebook",
    "InvertedFile",
    "aggregate",
    "index_shard",
    "learn_codebook",
    "open_index",
    "read_codebook",
    "search_postings",
    "write_codebook",
]
