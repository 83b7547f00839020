"""Ids: how they are written in files of others, which tar member they name, and sets of very many of them."""

from __future__ import annotations

import gzip
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from ilion.datasets.names import check_id, normal
from ilion.errors import DatasetError
from ilion.opening import marked_encoding, open_regular
from ilion.wording import counted

LONGEST = 2**20
"""Characters of a line that no id and no description has."""
_ESCAPED = re.compile(r"#U([0-9a-fA-F]{4})|\\\\U(000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})")
_NOT_SAFE = re.compile(r"[^A-Za-z0-9._-]")


def escape_id(image_id: str) -> str:
    """Return an id as feature and result files of the ILIAS benchmark write it: ASCII, ``#UXXXX`` elsewhere.

    A character outside the basic plane becomes two backslashes, ``U`` and eight digits: the benchmark script
    replaces the other escapes of Python only. What already reads like an escape is escaped itself, so that
    `unescape_id` always gives the id back.

    >>> escape_id("café_007/pos/P007_00.jpg")
    'caf#U00e9_007/pos/P007_00.jpg'
    >>> escape_id("a#U00e9")
    'a#U0023U00e9'
    >>> print(escape_id("🏺"))
    \\\\U0001f3fa
    """
    guarded = _ESCAPED.sub(lambda match: f"#U{ord(match[0][0]):04x}{match[0][1:]}", image_id)
    if guarded.isascii():
        return guarded
    return "".join(
        c if c < "\x80" else f"#U{ord(c):04x}" if c <= "\uffff" else f"\\\\U{ord(c):08x}" for c in guarded
    )


def unescape_id(escaped: str) -> str:
    """Return the id that `escape_id` wrote; a text without escapes comes back unchanged.

    Two escapes of UTF-16 code units, which earlier versions wrote beyond the basic plane, are one character.

    >>> unescape_id("caf#U00e9_007/pos/P007_00.jpg")
    'café_007/pos/P007_00.jpg'
    >>> unescape_id(escape_id("a#U00e9"))
    'a#U00e9'
    """
    if "#U" not in escaped and "\\U" not in escaped:
        return escaped
    text = _ESCAPED.sub(lambda match: chr(int(match[1] or match[2], 16)), escaped)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def tar_key(member: str) -> str:
    """Return the key of a WebDataset member: its path up to the first dot of the file name.

    A leading ``./``, which ``tar`` writes for a packed folder, is no part of the key.

    >>> tar_key("00/c2094.jpg"), tar_key("./a.v2.jpg"), tar_key(".hidden.jpg")
    ('00/c2094', 'a', '')
    """
    folder, slash, name = member.removeprefix("./").rpartition("/")
    stem = name.split(".", 1)[0]
    return f"{folder}{slash}{stem}" if stem else ""


def safe_name(text: str) -> str:
    """Return a file name that is safe on every system and differs for different texts.

    >>> safe_name("distractors_00000"), safe_name("täglich a")
    ('distractors_00000', 't_glich_a-b74722')
    """
    safe = _NOT_SAFE.sub("_", text)
    return safe if safe == text else f"{safe}-{blake2b(text.encode(errors='surrogatepass')).hexdigest()[:6]}"


def hash_ids(ids: Iterable[str]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each id.

    >>> hash_ids(["a", "b", "a"])[[0, 2]].tolist() == [hash_ids(["a"])[0]] * 2
    True
    """
    digests = b"".join(blake2b(i.encode(errors="surrogatepass"), digest_size=8).digest() for i in ids)
    return np.frombuffer(digests, dtype=np.uint64)


class IdSet:
    """A set of ids that takes 9 bytes an id, for the millions of a benchmark subset.

    Ids are kept as 64-bit hashes: among 5 million listed and 100 million tested ids, the chance that one is
    taken for another is 3 in 100,000. Ids may be listed with or without their tar, escaped or not.

    Args:
        ids: Ids of the set.
        source: File that lists them, from which another process can build the same set.

    >>> subset = IdSet(["a.tar/1", "2", "caf#U00e9"])
    >>> subset.take("a.tar/1", "1"), subset.take("b.tar/2", "2"), subset.take("café", "x")
    (True, True, True)
    >>> subset.take("a.tar/3", "3")
    False
    >>> len(subset), subset.found
    (3, 3)
    """

    def __init__(self, ids: Iterable[str], source: Path | None = None) -> None:
        self.source = source
        self._values = np.unique(hash_ids(normal(unescape_id(i)) for i in ids))
        self._found = np.zeros(len(self._values), dtype=bool)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def found(self) -> int:
        """Number of listed ids that were met so far."""
        return int(self._found.sum())

    @property
    def digest(self) -> str:
        """Digest of the listed ids."""
        return blake2b(self._values.tobytes(), digest_size=16).hexdigest()

    def take(self, image_id: str, key: str) -> bool:
        """Return whether an image is listed, by its id or by its key, and remember that it was met."""
        wanted = hash_ids({normal(n) for i in (image_id, key) for n in (i, unescape_id(i))})
        rows = np.searchsorted(self._values, wanted)
        rows = rows[rows < len(self._values)]
        rows = rows[np.isin(self._values[rows], wanted)]
        self._found[rows] = True
        return bool(len(rows))

    def missing(self, ids: Iterable[str]) -> Iterator[str]:
        """Yield those of the listed ids, given again, that were not met."""
        for image_id in ids:
            row = np.searchsorted(self._values, hash_ids([normal(unescape_id(image_id))])[0])
            if not self._found[row]:
                yield image_id


def matches_nothing(subset: Path, wanted: IdSet, example: str) -> DatasetError:
    """Return what is wrong with an id file of which no id is met.

    Args:
        subset: The file.
        wanted: Ids in the file.
        example: One id of the file, for the message.
    """
    return DatasetError(
        f"{subset}: none of its {counted(len(wanted), 'id')} is in the data "
        f"set (such as {example!r}); without them "
        "there would be no distractors. Write ids as the data set has them, with or without the tar's name"
    )


def read_ids(path: Path) -> Iterator[str]:
    """Yield the ids of an id file: one a line, or the first of several values separated by commas.

    Args:
        path: Text in UTF-8, or UTF-16 or UTF-32 with its mark; gzip-compressed if its name ends in ``.gz``.

    Raises:
        DatasetError: The file cannot be read, lists nothing, or an id holds what is no text.
    """
    empty = True
    try:
        with (
            open_regular(path) as raw,
            cast(IO[bytes], gzip.open(raw)) if path.suffix == ".gz" else raw as binary,
            io.BufferedReader(binary) as buffered,  # type: ignore[type-var]
            io.TextIOWrapper(buffered, encoding=marked_encoding(buffered.peek(4))) as file,
        ):
            for number, line in enumerate(iter(partial(file.readline, LONGEST), ""), 1):
                if len(line) == LONGEST:
                    raise DatasetError(f"{path}:{number}: a line of {LONGEST:,} characters or more is no id")
                image_id = line.split(",", 1)[0].strip()
                if image_id:
                    empty = False
                    if not (image_id.isascii() and image_id.isprintable()):
                        check_id(image_id, f"{path}:{number}")
                    if "#U" in image_id:
                        check_id(unescape_id(image_id), f"{path}:{number}")
                    yield image_id
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path}: cannot read this id file ({error}); it must be UTF-8 text with one id a line, "
            "plain or gzip-compressed (.gz)"
        ) from error
    if empty:
        raise DatasetError(f"{path}: lists no id; give a file with one id a line")


def count_tars(ids: Iterable[str]) -> Counter[str]:
    """Count the ids by the tar file that they name; ids without a tar are left out.

    >>> count_tars(["a.tar/1", "a.tar/2", "3", "dir/4"])
    Counter({'a.tar': 2})
    """
    heads = (i.split("/", 1)[0] for i in ids if "/" in i)
    return Counter(head for head in heads if head.endswith(".tar"))
