"""Names and small print: brands, titles, authors, places, and the lines that nobody reads."""

from __future__ import annotations


def _list(text: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(text.split(separator))


BOOK_GENRES: tuple[tuple[str, str], ...] = (
    ("novel", "A novel"),
    ("travel guide", "A walker's guide"),
    ("field guide", "Illustrated field guide"),
    ("cookbook", "Seasonal recipes"),
    ("textbook", "An introduction"),
)
"""Noun and subtitle."""
BOOK_FIRST = _list(
    "The Quiet,A Distant,The Last,Northern,The Hidden,Seven,Paper,The Salt,Glass,The Slow,Wild,Under the,"
    "Beyond the,Winter,The Copper,Small",
    ",",
)
BOOK_SECOND = _list(
    "Harbour Orchard Mountain Lantern River Garden Railway Island Observatory Forest Tide Meadow "
    "Clockmaker Atlas Comet Kitchen"
)
AUTHORS_FIRST = _list(
    "Ines Tomas Marta Oskar Lena Ravi Sofia Jonas Amara Pavel Noor Elias Yuki Clara Hugo Mira"
)
AUTHORS_LAST = _list(
    "Valdern Okonor Lindqua Marrow Sant Teodori Brask Hallow Imre Kestrel Novotel Arden Quill Ferro "
    "Wyke Solberg"
)
POSTER_TOPICS = _list("travel concert exhibition festival expedition")
POSTER_FIRST = _list("Port Val Mount Lake Cape San Isla Monte Villa Costa Porto Castel")
POSTER_SECOND = _list(
    "Almera Isen Corso Arvel Ondra Solis Tevero Holm Perla Karsund Bright Lira Verano Ostra Melis Dovre"
)
MONTHS = _list("January February March April May June July August September October November December")

SMALL_PRINT = _list(
    "Ingredients: water, oats, sunflower oil, cane sugar, fruit juice from concentrate, pectin, "
    "natural flavouring, sea salt, calcium carbonate, vitamins D2, B2, B12. May contain traces of nuts "
    "and milk. Store in a cool, dry place. Once opened keep refrigerated and use within five days. "
    "Best before: see top. Packed under a protective atmosphere. Shake gently before serving. "
    "Questions? Write to us, we answer every letter. Please recycle."
)
TECH_PRINT = _list(
    "Fit only by qualified personnel. Observe the torque in the service manual. Do not mix with parts "
    "of other series. Keep dry. Check clearance after 500 km. Made to drawing, lot traceable, batch "
    "tested. Dispose of as metal scrap. Conforms to the series standard. Contents sorted by size "
    "class, oiled, sealed."
)

_CONSONANTS = _list("b br c d dr f fl g gr h k kr l m n p pr r s st t tr v z")
_VOWELS = _list("a e i o u ia ea")
_CODAS = _list("la ra na no lo ro ta to va vo da ko mi ri li sa zo ne")
_TAILS = _list("n r s x nd rk lis ven dor mar tec wyn")


def brand_name(key: int) -> str:
    """Return the brand name of a key that is not negative; different keys give different names.

    >>> brand_name(0), brand_name(1), len({brand_name(k) for k in range(5000)})
    ('Bala', 'Brala', 5000)
    """
    digits = []
    for base in (len(_CONSONANTS), len(_VOWELS), len(_CODAS)):
        key, digit = divmod(key, base)
        digits.append(digit)
    name = _CONSONANTS[digits[0]] + _VOWELS[digits[1]] + _CODAS[digits[2]]
    while key:
        key, digit = divmod(key - 1, len(_TAILS))
        name += _TAILS[digit]
    return name.capitalize()
