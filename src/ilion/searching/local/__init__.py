"""Search by local features with one store of a few KB a photo: words, codes, geometry and colour in postings.

    photo -> spots -> words and codes -> postings
    query at several sizes -> matches -> votes -> shortlist -> verified -> scored -> expanded -> ranking

Nothing is learnt from the database: words and codes come with Ilion. See docs/local-first.md.
"""

from ilion.searching.local.database import Database
from ilion.searching.local.encode import (
    Encoded,
    LocalQuery,
    QuerySpots,
    describe_query,
    encode,
    look_up,
)
from ilion.searching.local.explain import Compared, compare, motion_in_pixels, places_in
from ilion.searching.local.model import LocalModel, pack_model, read_model, search_digest, shipped_model
from ilion.searching.local.postings import Postings, index_inputs, read_photos, write_shard
from ilion.searching.local.search import Evidence, search_photos
from ilion.searching.local.settings import LocalSettings
from ilion.searching.local.tones import FINE as QUERY_CELLS
from ilion.searching.local.tones import Looks

__all__ = [
    "QUERY_CELLS",
    "Compared",
    "Database",
    "Encoded",
    "Evidence",
    "LocalModel",
    "LocalQuery",
    "LocalSettings",
    "Looks",
    "Postings",
    "QuerySpots",
    "compare",
    "describe_query",
    "encode",
    "index_inputs",
    "look_up",
    "motion_in_pixels",
    "pack_model",
    "places_in",
    "read_model",
    "read_photos",
    "search_digest",
    "search_photos",
    "shipped_model",
    "write_shard",
]
