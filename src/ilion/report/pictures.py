"""Thumbnails: each picture once in the file, as an SVG image that tiles refer to by number.

A tile draws ``<use href="#p12">`` in the coordinates of the full-size image, so boxes need no conversion and
the same picture costs nothing the second time.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup

from ilion.errors import ArtifactError, IlionError
from ilion.images import decode
from ilion.types import RGB, ImageRecord, NoSource, RetrievalDataset, Shard, Source
from ilion.wording import Words

LADDER = ((224, 82), (160, 78), (112, 70), (72, 60), (40, 50))
"""Longer side in pixels and JPEG quality, from the best to what a very full report can afford."""
_PLACEHOLDER_SIZE = (400, 300)
_WIDEST = 22


@dataclass(frozen=True)
class Picture:
    """A picture of the report.

    Args:
        number: Number in the ``id`` of the picture, which is ``p`` and this number.
        width: Full-size width in pixels, upright.
        height: Full-size height in pixels.
        jpeg: The thumbnail at the best step of the ladder; empty if it cannot be shown.
        problem: Why it cannot be shown, or "".
        id: Id of a picture of which only that is known; else "".
    """

    number: int
    width: int
    height: int
    jpeg: bytes
    problem: str = ""
    id: str = ""


def find_records(
    dataset: RetrievalDataset, ids: Iterable[str], without: Collection[str] = ()
) -> dict[str, ImageRecord]:
    """Find database records by id, reading shards only until all are found.

    Images that are not here, or no longer, get a record without a source; a grey field stands for them.

    Args:
        dataset: Data set that holds them.
        ids: Ids of the records.
        without: Names of shards that the run lacks, which perhaps cannot even be read.
    """
    missing = set(ids)
    found: dict[str, ImageRecord] = {}
    for shard in dataset.database:
        if not dataset.complete and not _has_images(shard):
            continue  # a list of very many ids
        if not missing:
            break
        if shard.name in without:
            continue
        for record in shard.records():
            if record.id in missing:
                missing.discard(record.id)
                found[record.id] = record
                if not missing:
                    break
    return found | {image_id: ImageRecord(image_id, NoSource(image_id)) for image_id in missing}


def _has_images(shard: Shard) -> bool:
    first = next(iter(shard.records()), None)
    return first is not None and not isinstance(first.source, NoSource)


class Pictures:
    """The pictures of one report, each source once.

    Args:
        records: Images to show, most important first: those at the end are left out first, if the
            file would grow too large.
        progress: Callback that receives pictures done and pictures in all.
        ladder: Longer side in pixels and JPEG quality, the best step first.
    """

    def __init__(
        self,
        records: Iterable[ImageRecord],
        progress: Callable[[int, int], None] | None = None,
        ladder: Sequence[tuple[int, int]] = LADDER,
    ) -> None:
        sources = dict.fromkeys(record.source for record in records)
        self._by_source: dict[Source, Picture] = {}
        self._ladder = ladder
        for number, source in enumerate(sources):
            self._by_source[source] = load_picture(source, number, ladder[0])
            if progress:
                progress(number + 1, len(sources))

    def __getitem__(self, record: ImageRecord) -> Picture:
        return self._by_source[record.source]

    def __len__(self) -> int:
        return len(self._by_source)

    @property
    def problems(self) -> dict[str, str]:
        """Source -> why it cannot be shown."""
        return {str(source): p.problem for source, p in self._by_source.items() if p.problem}

    def definitions(self, max_bytes: int, words: Words) -> tuple[Markup, int]:
        """Return the SVG that defines every picture, and how many had to be left out to fit.

        Args:
            max_bytes: Size limit of the definitions. The best step of the ladder that fits is used; if even
                the last one does not, the last pictures become placeholders.
            words: The catalogue, for the placeholders.
        """
        pictures = list(self._by_source.values())
        for step in self._ladder:
            items = _fit_pictures(pictures, None if step == self._ladder[0] else step, max_bytes, words)
            if len(items) == len(pictures):
                return Markup("").join(items), 0
        text = words("picture.left_out")
        rest = [_placeholder(p.number, p.width, p.height, text) for p in pictures]
        room = max_bytes - sum(len(item.encode()) for item in rest)
        kept = len(_fit_pictures(pictures, step, room, words))
        return Markup("").join(items[:kept] + rest[kept:]), len(rest[kept:])


def load_picture(source: Source, number: int, best: tuple[int, int] = LADDER[0]) -> Picture:
    """Decode a picture and shrink it to the best step of a ladder."""
    if isinstance(source, NoSource):
        return Picture(number, *_PLACEHOLDER_SIZE, b"", id=source.id)
    side, quality = best
    try:
        decoded = decode(source.read(), at_least=(side, 1))
    except (IlionError, OSError) as error:
        return Picture(number, *_PLACEHOLDER_SIZE, b"", str(error))
    width, height = decoded.full_size
    return Picture(number, width, height, _encode(_shrink(decoded.image, side), quality))


def _shrink(image: RGB, side: int) -> RGB:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _encode(image: RGB, quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ArtifactError(f"a thumbnail of shape {image.shape} could not be encoded as JPEG")
    return bytes(data)


def _fit_pictures(
    pictures: Sequence[Picture], step: tuple[int, int] | None, max_bytes: int, words: Words
) -> list[Markup]:
    """Return the definitions of as many first pictures as fit, at a step of a ladder; None leaves them."""
    items, total = [], 0
    for picture in pictures:
        jpeg = smaller(picture.jpeg, *step) if step is not None else picture.jpeg
        item = _definition(picture, jpeg, words)
        total += len(item.encode())
        if total > max_bytes:
            break
        items.append(item)
    return items


def smaller(jpeg: bytes, side: int, quality: int) -> bytes:
    """Return a thumbnail at a lower step of the ladder."""
    if not jpeg or (side, quality) == LADDER[0]:
        return jpeg
    return _encode(_shrink(decode(jpeg, at_least=(side, 1)).image, side), quality)


def _definition(picture: Picture, jpeg: bytes, words: Words) -> Markup:
    if not jpeg:
        text = _end(picture.id) if picture.id else words("picture.unreadable")
        return _placeholder(picture.number, picture.width, picture.height, text)
    data = base64.b64encode(jpeg).decode("ascii")
    return Markup('<image id="p{}" width="{}" height="{}" href="data:image/jpeg;base64,{}"/>\n').format(
        picture.number, picture.width, picture.height, data
    )


def _end(image_id: str) -> str:
    """Return the end of an id, which is what tells pictures apart, as far as the field is wide."""
    return image_id if len(image_id) <= _WIDEST else f"…{image_id[1 - _WIDEST :]}"


def _placeholder(number: int, width: int, height: int, text: str) -> Markup:
    return Markup(
        '<g id="p{n}"><rect class="gap" width="{w}" height="{h}"/>'
        '<text class="gap-text" x="{x}" y="{y}" font-size="{size}">{text}</text></g>\n'
    ).format(n=number, w=width, h=height, x=width / 2, y=height / 2, size=round(width / 12, 1), text=text)
