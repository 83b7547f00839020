"""Text as programs of all countries write it: in UTF-8, UTF-16 or UTF-32, and in local code pages."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import NamedTuple

from ilion.errors import ConfigError
from ilion.opening.regular import read_bytes

MOST_TEXT = 1 << 28
"""Most bytes of a text that is read whole."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_KANA = frozenset(range(0x3041, 0x30FF)) | frozenset(range(0x3000, 0x3003))
_EAST = ("cp932", "euc_jp", "gb18030", "cp949", "big5")
_COMMON = {
    "cp932": (0x88, 0x97),
    "euc_jp": (0xB0, 0xCF),
    "gb18030": (0xB0, 0xD7),
    "cp949": (0xCA, 0xFD),
    "big5": (0xA4, 0xC6),
}
"""Code page -> first and last lead byte of its common ideographs (level 1; the hanja of Korean)."""


class Text(NamedTuple):
    """A text and how it was stored.

    Args:
        text: The text, without a mark of its encoding.
        encoding: Name of the encoding, as Python knows it.
        guessed: Whether the bytes leave a doubt: nothing in the file says that it is this code page.
    """

    text: str
    encoding: str
    guessed: bool


def read_text(path: Path | str, encoding: str = "", most: int = MOST_TEXT) -> Text:
    """Read a text file; see `decode_text`.

    Raises:
        ConfigError: No encoding has that name.
        OSError: Nothing is there, no regular file, or one that is too large.
        UnicodeError: The file is no text in that encoding.
    """
    return decode_text(read_bytes(path, most), encoding)


def marked_encoding(start: bytes) -> str:
    """Return the encoding that a mark at the beginning of a text states, UTF-8 without one.

    For texts that are too long to be read whole.

    >>> marked_encoding("a".encode("utf-16")), marked_encoding(b"abc")
    ('utf-16', 'utf-8')
    """
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")


def decode_text(data: bytes, encoding: str = "") -> Text:
    """Decode a text whose encoding may not be known.

    A mark at the beginning decides, then UTF-8 if the bytes are valid UTF-8, then the local code page
    that fits them best: Japanese (cp932 or EUC), Chinese and Korean ones where their characters make sense,
    else Windows-1252.

    Args:
        data: All bytes of the text.
        encoding: Name of the encoding; "" finds it.

    Raises:
        ConfigError: No encoding has that name.
        UnicodeError: The bytes are no text in that encoding, or in none.

    >>> decode_text("皿,赤いマグカップ".encode("cp932"))
    Text(text='皿,赤いマグカップ', encoding='cp932', guessed=True)
    >>> decode_text("Tür;Stück".encode("cp1252")).encoding, decode_text("Tür".encode()).encoding
    ('cp1252', 'utf-8')
    """
    if encoding:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ConfigError(
                f"no encoding is named {encoding!r}; use utf-8, cp932 (Japanese Windows), cp1252, utf-16 ..."
            ) from None
        return Text(data.decode(encoding).removeprefix("\ufeff"), encoding, False)
    for mark, name in _MARKS:
        if data.startswith(mark):
            return Text(data.decode(name), name, False)
    try:
        return Text(data.decode("utf-8"), "utf-8", False)
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise
        first = error
    found: list[tuple[float, str, str]] = []
    for name in _EAST:
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        found.append((_strangeness(text, name), name, text))
    best = min(found, default=None, key=lambda each: each[0])
    if best is not None and best[0] < 1:
        return Text(best[2], best[1], True)
    try:
        return Text(data.decode("cp1252"), "cp1252", True)
    except UnicodeDecodeError:
        if best is not None:
            return Text(best[2], best[1], True)
        raise first from None


def _strangeness(text: str, encoding: str) -> float:
    """Return how unlike East Asian writing the characters beyond ASCII are; below 1 they look like it.

    In European text read as a double-byte page, accented letters swallow the letter behind them, which gives
    single rare characters between Latin letters; real text has runs, and Japanese has kana.
    """
    wide = [c for c in text if c > "\x7f"]
    if not wide:
        return 2.0
    odd = 0.0
    for before, character, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if character <= "\x7f":
            continue
        code = ord(character)
        neighbours = (before > "\x7f") + (after > "\x7f")
        latin = (before.isascii() and before.isalpha()) + (after.isascii() and after.isalpha())
        if code in _KANA or 0xAC00 <= code <= 0xD7A3:
            odd += (0.2 if code >= 0xAC00 else 0.0) if neighbours else 0.6
        elif 0xFF61 <= code <= 0xFF9F:  # half-width kana: what cp932 makes of almost any byte
            odd += 0.9 if neighbours else 1.6
        elif 0x4E00 <= code <= 0x9FFF:
            first, last = _COMMON[encoding]
            rare = not first <= character.encode(encoding)[0] <= last
            odd += 0.3 + 0.4 * rare + 0.3 * (not neighbours) + latin
        elif 0xE000 <= code <= 0xF8FF or not character.isprintable():
            odd += 3.0
        else:
            odd += 0.5 + 0.5 * latin
    return odd / len(wide)
