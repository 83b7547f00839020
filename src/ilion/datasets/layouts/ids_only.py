"""Reader of a data set that consists of ids only: what the ILIAS benchmark publishes as ``image_ids``.

With feature or result files of others, ids are enough to search, to adapt and to evaluate; whatever needs a
picture says that there is none.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ilion.datasets.ids import unescape_id
from ilion.datasets.layouts.base import LAYOUTS, Layout
from ilion.datasets.layouts.ilias import read_positive_ids
from ilion.datasets.listing import Description, Listing, Photo, View, read_lines
from ilion.datasets.names import bad_characters, normal
from ilion.datasets.taxonomy import read_taxonomy

FOLDER = "image_ids"
POSITIVES = "positive_ids.txt"
QUERIES = "image_query_ids.txt"
TEXTS = "text_query_ids.txt"
DISTRACTORS = ("distractor_ids.txt.gz", "distractor_ids.txt")


@LAYOUTS.register("ids", note="ids only, no images")
class IdsOnly(Layout):
    """Ids of images that are not there."""

    needs = f"{FOLDER}/{POSITIVES} beside {QUERIES} or {TEXTS}"
    complete = False

    def recognises(self, folder: Path) -> bool:
        """Return whether the list of positives is there, below the folder or in it."""
        return _id_folder(folder) is not None

    def read(self, folder: Path) -> Listing:
        """List the ids.

        ``positive_ids.txt`` (``id,scale,clutter``) is needed, and ``image_query_ids.txt`` or
        ``text_query_ids.txt`` (the id first; what follows it in a line of texts is the description);
        ``distractor_ids.txt.gz`` and ``taxonomy.json`` are optional. The instance of an id is its part before
        the first ``/``.
        """
        home = _id_folder(folder) or folder / FOLDER
        listing = Listing(folder, home, home, complete=False)
        for place, line in _lines(listing, home / QUERIES):
            image_id = unescape_id(line.split(",", 1)[0].strip())
            if instance := _instance(listing, image_id, place):
                listing.photos.append(Photo(image_id, (View(instance, "query", place=place),)))
        for place, line in _lines(listing, home / TEXTS):
            text_id, _, text = line.partition(",")
            text_id = unescape_id(text_id.strip())
            if instance := _instance(listing, text_id, place):
                listing.descriptions.append(Description(text_id, instance, text.strip()))
        for image_id, (scale, clutter) in read_positive_ids(listing, home / POSITIVES).items():
            if instance := _instance(listing, image_id, POSITIVES):
                view = View(instance, "positive", (), scale, clutter, POSITIVES)
                listing.photos.append(Photo(image_id, (view,)))
        counts = Counter([p.id for p in listing.photos] + [text.id for text in listing.descriptions])
        for image_id, count in counts.items():
            if count > 1:
                seen = f"lists {image_id!r} {count} times"
                listing.error("duplicate-id", home, seen, "keep it once, in one file")
        read_taxonomy(listing)
        listing.distractor_ids = next((home / n for n in DISTRACTORS if (home / n).is_file()), None)
        return listing


def _id_folder(root: Path) -> Path | None:
    """Return the folder of the id files: ``image_ids`` below the root, or the root; None without them."""
    return next((place for place in (root / FOLDER, root) if (place / POSITIVES).is_file()), None)


def _lines(listing: Listing, path: Path) -> list[tuple[str, str]]:
    return (path.is_file() and read_lines(listing, path, "bad-ids", "fetch it again")) or []


def _instance(listing: Listing, image_id: str, place: str) -> str:
    if bad := bad_characters(image_id):
        listing.error("bad-ids", place, f"the id {image_id!a} holds {bad}", "give the image another name")
        return ""
    instance, slash, rest = image_id.partition("/")
    if instance and slash and rest:
        return normal(instance)
    remedy = "ids are paths such as object_000/pos/P000_00.jpg; the part before the first / is the object"
    listing.error("bad-ids", place, f"{image_id!r} names no object", remedy)
    return ""
