"""The vocabulary: kinds of goods, their flavours, brand names, and the small print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ilion.datasets.synthetic.color import Colour, parse

Package = Literal["box", "gable", "can", "bottle", "jar", "tub", "pouch", "parts", "book", "poster"]


@dataclass(frozen=True)
class Flavour:
    """What tells two products of one line apart: a word, a colour and a drawing."""

    name: str
    colour: Colour
    art: str


@dataclass(frozen=True)
class Kind:
    """A kind of goods.

    Args:
        noun: Printed on the package, as ``oat drink``.
        package: Its shape.
        path: Category and subcategory of the taxonomy; the noun is the fine level.
        flavours: Names in `FLAVOURS`.
        amounts: What the package can hold.
        claims: Short lines that packages of this kind carry.
        size: Width, height and depth in centimetres.
    """

    noun: str
    package: Package
    path: tuple[str, str]
    flavours: tuple[str, ...]
    amounts: tuple[str, ...]
    claims: tuple[str, ...]
    size: tuple[float, float, float]


def _flavours(table: str) -> dict[str, Flavour]:
    lines = (line.split() for line in table.strip().splitlines())
    return {name: Flavour(name.replace("_", " "), parse(colour), art) for name, colour, art in lines}


FLAVOURS = _flavours("""
Strawberry d8263b strawberry
Blueberry 3b4fa8 cluster
Orange f28a1c citrus
Lemon efc62a citrus
Lime 8cc03c citrus
Grapefruit ee6a50 citrus
Apple 6fb33a round
Red_Apple c4282f round
Cherry a5122f cherry
Mango f39a26 peach
Raspberry c81e5b raspberry
Peach f0956a peach
Apricot f2a03d peach
Pear a9bf38 pear
Kiwi 7fa832 kiwi
Grape 6b3fa0 grapes
White_Grape a8b84a grapes
Coconut 8c6a4f coconut
Banana ecc643 banana
Watermelon e8505b melon
Blackcurrant 4a2460 cluster
Cranberry b3203a cluster
Pineapple edb93a pineapple
Blackberry 42305e raspberry
Vanilla d9b65c flower
Chocolate 5a3420 chocolate
Dark_Cocoa 3a2018 chocolate
Hazelnut a9743f nut
Almond b98a54 nut
Walnut 8a5f3c nut
Espresso 4b2e20 bean
Mocha 6d4630 bean
Honey e3a321 comb
Caramel c67f33 drop
Mint 2f9e77 leaves
Original 2f6fb0 drop
Oat c9a35c wheat
Rye 9c6b3f wheat
Corn e6b93a wheat
Whole_Grain a5763c wheat
Tomato d8321e round
Chili c71f16 chili
Paprika dd5a24 chili
Basil 3f8f3a leaves
Sage 7b9a78 leaves
Green_Tea 5d9147 leaves
Carrot ee7f22 carrot
Mushroom a07b55 mushroom
Sea_Salt 3f7fa6 fish
Salmon e2725b fish
Tuna 4f7396 fish
Chicken d9a04a paw
Beef 9c3a30 paw
Lamb 7a5a74 paw
Ocean 3a8fc7 bubbles
Lavender 8f74bd bubbles
Meadow 6fae5a bubbles
Rose d9688f bubbles
Citrus_Fresh e9b82e bubbles
""")

_FRUIT = tuple(
    [
        "Strawberry",
        "Blueberry",
        "Orange",
        "Lemon",
        "Apple",
        "Cherry",
        "Mango",
        "Raspberry",
        "Peach",
        "Pear",
        "Kiwi",
        "Grape",
        "Banana",
        "Pineapple",
        "Blackcurrant",
        "Cranberry",
        "Apricot",
        "Grapefruit",
        "Watermelon",
        "Coconut",
        "Lime",
        "Blackberry",
        "White_Grape",
        "Red_Apple",
    ]
)
_SWEET = tuple(
    [
        "Chocolate",
        "Hazelnut",
        "Vanilla",
        "Caramel",
        "Honey",
        "Almond",
        "Espresso",
        "Mint",
        "Coconut",
        "Dark_Cocoa",
        "Walnut",
        "Mocha",
        "Strawberry",
        "Banana",
        "Orange",
        "Cherry",
    ]
)
_CEREAL = tuple(
    [
        "Honey",
        "Oat",
        "Chocolate",
        "Strawberry",
        "Whole_Grain",
        "Hazelnut",
        "Corn",
        "Apple",
        "Rye",
        "Banana",
        "Almond",
        "Blueberry",
        "Coconut",
    ]
)
_SAVOURY = tuple(
    ["Tomato", "Chili", "Basil", "Mushroom", "Carrot", "Paprika", "Corn", "Sage", "Beef", "Chicken"]
)
_CRISPS = tuple(
    ["Paprika", "Sea_Salt", "Chili", "Tomato", "Sage", "Lime", "Mushroom", "Honey", "Corn", "Basil"]
)
_PET = tuple(["Chicken", "Salmon", "Beef", "Tuna", "Lamb", "Carrot", "Mushroom", "Rye", "Corn"])
_SCENT = tuple(
    ["Ocean", "Lavender", "Meadow", "Rose", "Citrus_Fresh", "Mint", "Lemon", "Green_Tea", "Coconut", "Apple"]
)

FOOD_KINDS: tuple[Kind, ...] = (
    Kind("juice", "gable", ("food", "drinks"), _FRUIT, ("1 L", "1.5 L", "750 ml"), ("Cold pressed", "100% fruit", "No added sugar"), (9.5, 23, 9.5)),
    Kind("oat drink", "gable", ("food", "drinks"), _SWEET, ("1 L",), ("With calcium", "Plant based", "Barista foam"), (9, 20, 9)),
    Kind("lemonade", "bottle", ("food", "drinks"), _FRUIT, ("500 ml", "330 ml"), ("Lightly sparkling", "Cloudy and tart"), (7, 23, 7)),
    Kind("soda", "can", ("food", "drinks"), _FRUIT, ("330 ml", "250 ml"), ("Zero sugar", "Extra fizz", "Serve cold"), (6.6, 12.2, 6.6)),
    Kind("tea", "box", ("food", "drinks"), ("Green_Tea", "Mint", "Lemon", "Peach", "Raspberry", "Honey", "Lavender", "Orange", "Vanilla", "Apple"), ("20 bags", "25 bags", "40 bags"), ("Whole leaf", "Hand picked", "Naturally calm"), (15, 12.5, 7)),
    Kind("coffee", "pouch", ("food", "drinks"), ("Espresso", "Mocha", "Hazelnut", "Caramel", "Dark_Cocoa", "Vanilla", "Almond"), ("250 g", "500 g"), ("Slow roasted", "100% Arabica", "Ground fresh"), (12, 21, 6)),
    Kind("yoghurt", "tub", ("food", "dairy"), _FRUIT, ("150 g", "400 g", "500 g"), ("Creamy and mild", "High protein", "From pasture milk"), (9.5, 9, 9.5)),
    Kind("ice cream", "tub", ("food", "dairy"), _SWEET, ("480 ml", "900 ml"), ("Churned slowly", "Real cream"), (11, 11, 11)),
    Kind("drinking yoghurt", "bottle", ("food", "dairy"), _FRUIT, ("250 ml", "350 ml"), ("Live cultures", "Source of protein"), (6.5, 18, 6.5)),
    Kind("crunchy cereal", "box", ("food", "breakfast"), _CEREAL, ("375 g", "500 g", "650 g"), ("Oven baked", "High in fibre", "Whole grain"), (19, 28, 6)),
    Kind("porridge", "box", ("food", "breakfast"), _CEREAL, ("300 g", "450 g"), ("Ready in 3 minutes", "Creamy oats"), (14, 20, 6)),
    Kind("jam", "jar", ("food", "breakfast"), _FRUIT, ("340 g", "250 g"), ("70% fruit", "Home style"), (7.5, 11, 7.5)),
    Kind("biscuits", "box", ("food", "snacks"), _SWEET, ("200 g", "175 g"), ("Baked with butter", "Crisp and light"), (21, 14, 5)),
    Kind("crisps", "pouch", ("food", "snacks"), _CRISPS, ("150 g", "200 g"), ("Thick cut", "Kettle cooked"), (19, 27, 8)),
    Kind("soup", "can", ("food", "pantry"), _SAVOURY, ("400 g", "540 g"), ("Ready to heat", "Slowly simmered"), (7.5, 11, 7.5)),
    Kind("pasta sauce", "jar", ("food", "pantry"), _SAVOURY, ("420 g", "500 g"), ("Sun ripened", "Grandmother's way"), (8, 15, 8)),
    Kind("dog food", "can", ("household", "pets"), _PET, ("400 g", "800 g"), ("Grain free", "With real meat"), (8, 11.5, 8)),
    Kind("washing powder", "box", ("household", "cleaning"), _SCENT, ("2.4 kg", "1.8 kg"), ("40 washes", "Deep clean", "Colour care"), (20, 26, 10)),
    Kind("shower gel", "bottle", ("household", "care"), _SCENT, ("250 ml", "300 ml"), ("pH neutral", "For soft skin"), (7, 20, 7)),
)  # fmt: skip


@dataclass(frozen=True)
class PartKind:
    """A kind of spare part: its noun, its drawing, a prefix of its number, what is specified."""

    noun: str
    art: str
    prefix: str
    spec: tuple[str, str, str]


PART_KINDS: tuple[PartKind, ...] = (
    PartKind("ball bearing", "bearing", "BB", ("Bore", "Width", "Load")),
    PartKind("oil filter", "filter", "OF", ("Thread", "Height", "Bypass")),
    PartKind("spark plug", "plug", "SP", ("Thread", "Reach", "Heat")),
    PartKind("spur gear", "gear", "SG", ("Module", "Teeth", "Bore")),
    PartKind("brake disc", "brake", "BD", ("Diameter", "Height", "Holes")),
    PartKind("signal bulb", "bulb", "SB", ("Volt", "Watt", "Base")),
    PartKind("hex bolts", "bolt", "HB", ("Thread", "Length", "Grade")),
    PartKind("valve spring", "spring", "VS", ("Wire", "Length", "Rate")),
    PartKind("cable connector", "connector", "CC", ("Poles", "Pitch", "Amps")),
    PartKind("alkaline batteries", "battery", "AB", ("Volt", "Size", "mAh")),
)

BOOK_GENRES: tuple[tuple[str, str], ...] = (
    ("novel", "A novel"),
    ("travel guide", "A walker's guide"),
    ("field guide", "Illustrated field guide"),
    ("cookbook", "Seasonal recipes"),
    ("textbook", "An introduction"),
)
BOOK_FIRST = [
    "The Quiet",
    "A Distant",
    "The Last",
    "Northern",
    "The Hidden",
    "Seven",
    "Paper",
    "The Salt",
    "Glass",
    "The Slow",
    "Wild",
    "Under the",
    "Beyond the",
    "Winter",
    "The Copper",
    "Small",
]
BOOK_SECOND = [
    "Harbour",
    "Orchard",
    "Mountain",
    "Lantern",
    "River",
    "Garden",
    "Railway",
    "Island",
    "Observatory",
    "Forest",
    "Tide",
    "Meadow",
    "Clockmaker",
    "Atlas",
    "Comet",
    "Kitchen",
]
AUTHORS_FIRST = [
    "Ines",
    "Tomas",
    "Marta",
    "Oskar",
    "Lena",
    "Ravi",
    "Sofia",
    "Jonas",
    "Amara",
    "Pavel",
    "Noor",
    "Elias",
    "Yuki",
    "Clara",
    "Hugo",
    "Mira",
]
AUTHORS_LAST = [
    "Valdern",
    "Okonor",
    "Lindqua",
    "Marrow",
    "Sant",
    "Teodori",
    "Brask",
    "Hallow",
    "Imre",
    "Kestrel",
    "Novotel",
    "Arden",
    "Quill",
    "Ferro",
    "Wyke",
    "Solberg",
]

POSTER_TOPICS: tuple[str, ...] = ("travel", "concert", "exhibition", "festival", "expedition")
POSTER_PLACES = [
    "Almera",
    "Port Isen",
    "Val Corso",
    "Mount Arvel",
    "Lake Ondra",
    "Cape Solis",
    "San Tevero",
    "Nordholm",
    "Isla Perla",
    "Karsund",
    "Brightwater",
    "Monte Lira",
]

CONSONANTS = [
    "b",
    "br",
    "c",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gr",
    "h",
    "k",
    "kr",
    "l",
    "m",
    "n",
    "p",
    "pr",
    "r",
    "s",
    "st",
    "t",
    "tr",
    "v",
    "z",
]
VOWELS = ["a", "e", "i", "o", "u", "ia", "ea"]
CODAS = [
    "la",
    "ra",
    "na",
    "no",
    "lo",
    "ro",
    "ta",
    "to",
    "va",
    "vo",
    "da",
    "ko",
    "mi",
    "ri",
    "li",
    "sa",
    "zo",
    "ne",
]

SMALL_PRINT = ["Ingredients:", "water,", "oats,", "sunflower", "oil,", "cane", "sugar,", "fruit", "juice", "from", "concentrate,", "pectin,", "natural", "flavouring,", "sea", "salt,", "calcium", "carbonate,", "vitamins", "D2,", "B2,", "B12.", "May", "contain", "traces", "of", "nuts", "and", "milk.", "Store", "in", "a", "cool,", "dry", "place.", "Once", "opened", "keep", "refrigerated", "and", "use", "within", "five", "days.", "Best", "before:", "see", "top.", "Packed", "under", "a", "protective", "atmosphere.", "Shake", "gently", "before", "serving.", "Questions?", "Write", "to", "us,", "we", "answer", "every", "letter.", "Please", "recycle."]  # fmt: skip
TECH_PRINT = [
    "Fit",
    "only",
    "by",
    "qualified",
    "personnel.",
    "Observe",
    "the",
    "torque",
    "in",
    "the",
    "service",
    "manual.",
    "Do",
    "not",
    "mix",
    "with",
    "parts",
    "of",
    "other",
    "series.",
    "Keep",
    "dry.",
    "Check",
    "clearance",
    "after",
    "500",
    "km.",
    "Made",
    "to",
    "drawing,",
    "lot",
    "traceable,",
    "batch",
    "tested.",
    "Dispose",
    "of",
    "as",
    "metal",
    "scrap.",
    "Conforms",
    "to",
    "the",
    "series",
    "standard.",
    "Contents",
    "sorted",
    "by",
    "size",
    "class,",
    "oiled,",
    "sealed.",
]


def brand_name(key: int) -> str:
    """Return the brand name of a key; different keys in [0, 1,000,000) give different names.

    >>> brand_name(0), brand_name(1), len({brand_name(k) for k in range(5000)})
    ('Bala', 'Brala', 5000)
    """
    digits = []
    for base in (len(CONSONANTS), len(VOWELS), len(CODAS)):
        key, digit = divmod(key, base)
        digits.append(digit)
    name = CONSONANTS[digits[0]] + VOWELS[digits[1]] + CODAS[digits[2]]
    while key:
        key, digit = divmod(key - 1, len(_TAILS))
        name += _TAILS[digit]
    return name.capitalize()


_TAILS = ["n", "r", "s", "x", "nd", "rk", "lis", "ven", "dor", "mar", "tec", "wyn"]
