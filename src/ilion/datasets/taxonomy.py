"""The taxonomy of the ILIAS layout: to which category each object belongs."""

from __future__ import annotations

from pathlib import Path

from ilion.datasets.listing import Listing, read_plain
from ilion.datasets.names import normal
from ilion.opening import parse_json
from ilion.wording import counted

PLACES = ("taxonomy.json", "misc/taxonomy.json")

_REMEDY = 'write it as {"category": {"subcategory": {"class": ["object", ...]}}}, or remove the file'


def read_taxonomy(listing: Listing) -> None:
    """Add the labels ``category`` and ``subcategory`` of all objects to a listing; problems are noted.

    A subcategory is labelled ``category/subcategory``, because names such as ``other`` occur in many
    categories. The benchmark slices by these two levels and leaves the third one out. The listing has its
    photos and texts already.
    """
    file = next((listing.root / p for p in PLACES if (listing.root / p).exists()), None)
    if file is None:
        return
    try:
        tree = parse_json(read_plain(listing, file))
    except (OSError, ValueError) as error:
        listing.error("bad-taxonomy", file, f"is not valid JSON ({error})", _REMEDY)
        return
    labels = _flatten(listing, file, tree)
    present = listing.instances
    unlabelled = [instance for instance in present if instance not in labels]
    if unlabelled:
        message = (
            f"does not name {len(unlabelled):,} of {counted(len(present), 'object')}, such "
            f"as {unlabelled[0]!r}"
        )
        remedy = "add them; until then they take no part in the results by category"
        listing.warn("no-category", file, message, remedy)
    known = {instance: labels[instance] for instance in present if instance in labels}
    listing.labels["category"] = {instance: category for instance, (category, _) in known.items()}
    listing.labels["subcategory"] = {instance: "/".join(pair) for instance, pair in known.items()}


def _flatten(listing: Listing, file: Path, tree: object) -> dict[str, tuple[str, str]]:
    labels: dict[str, tuple[str, str]] = {}
    for category, subtree in _branches(listing, file, tree, "the taxonomy"):
        for subcategory, classes in _branches(listing, file, subtree, repr(category)):
            for name, instances in _branches(listing, file, classes, f"{category!r} / {subcategory!r}"):
                if not isinstance(instances, list) or not all(isinstance(i, str) for i in instances):
                    place = f"{category!r} / {subcategory!r} / {name!r}"
                    listing.error("bad-taxonomy", file, f"{place} is not a list of objects", _REMEDY)
                    continue
                for instance in map(normal, instances):
                    if labels.setdefault(instance, (category, subcategory)) != (category, subcategory):
                        listing.error(
                            "bad-taxonomy",
                            file,
                            f"object {instance!r} stands both in {'/'.join(labels[instance])!r} and in "
                            f"{category + '/' + subcategory!r}",
                            "keep it in one place",
                        )
    return labels


def _branches(listing: Listing, file: Path, tree: object, place: str) -> list[tuple[str, object]]:
    if isinstance(tree, dict):
        return list(tree.items())
    listing.error("bad-taxonomy", file, f"{place} is not a table of names", _REMEDY)
    return []
