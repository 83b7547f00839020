"""Goods: kinds of food, household goods and spare parts, and the flavours they come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

from ilion.synthetic.color import Colour, parse

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
        package: Shape of the package.
        path: Category and subcategory of the taxonomy; the noun is the fine level.
        flavours: Names in `FLAVOURS`.
        amounts: Amounts that the package can hold.
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


@dataclass(frozen=True)
class PartKind:
    """A kind of spare part: its noun, its drawing, a prefix of its number, what is specified."""

    noun: str
    art: str
    prefix: str
    spec: tuple[str, str, str]


def _flavours(table: str) -> dict[str, Flavour]:
    """Read entries ``name colour drawing``, separated by commas."""
    entries = (entry.split() for entry in table.split(","))
    return {name: Flavour(name.replace("_", " "), parse(colour), art) for name, colour, art in entries}


FLAVOURS = _flavours(
    "Strawberry d8263b strawberry, Blueberry 3b4fa8 cluster, Orange f28a1c citrus, Lemon efc62a "
    "citrus,Lime 8cc03c citrus, Grapefruit ee6a50 citrus, Apple 6fb33a round, Red_Apple c4282f "
    "round,Cherry a5122f cherry, Mango f39a26 peach, Raspberry c81e5b raspberry, Peach f0956a "
    "peach,Apricot f2a03d peach, Pear a9bf38 pear, Kiwi 7fa832 kiwi, Grape 6b3fa0 grapes, White_Grape "
    "a8b84a grapes,Coconut 8c6a4f coconut, Banana ecc643 banana, Watermelon e8505b melon, Blackcurrant "
    "4a2460 cluster,Cranberry b3203a cluster, Pineapple edb93a pineapple, Blackberry 42305e raspberry, "
    "Vanilla d9b65c flower,Chocolate 5a3420 chocolate, Dark_Cocoa 3a2018 chocolate, Hazelnut a9743f "
    "nut, Almond b98a54 nut,Walnut 8a5f3c nut, Espresso 4b2e20 bean, Mocha 6d4630 bean, Honey e3a321 "
    "comb, Caramel c67f33 drop,Mint 2f9e77 leaves, Oat c9a35c wheat, Rye 9c6b3f wheat, Corn e6b93a "
    "wheat, Whole_Grain a5763c wheat,Tomato d8321e round, Chili c71f16 chili, Paprika dd5a24 chili, "
    "Basil 3f8f3a leaves, Sage 7b9a78 leaves,Green_Tea 5d9147 leaves, Carrot ee7f22 carrot, Mushroom "
    "a07b55 mushroom, Sea_Salt 3f7fa6 fish,Salmon e2725b fish, Tuna 4f7396 fish, Chicken d9a04a paw, "
    "Beef 9c3a30 paw, Lamb 7a5a74 paw,Ocean 3a8fc7 bubbles, Lavender 8f74bd bubbles, Meadow 6fae5a "
    "bubbles, Rose d9688f bubbles,Citrus_Fresh e9b82e bubbles"
)

_SETS = {
    "fruit": "Strawberry Blueberry Orange Lemon Apple Cherry Mango Raspberry Peach Pear Kiwi Grape "
    "Banana Pineapple Blackcurrant Cranberry Apricot Grapefruit Watermelon Coconut Lime Blackberry "
    "White_Grape Red_Apple",
    "sweet": "Chocolate Hazelnut Vanilla Caramel Honey Almond Espresso Mint Coconut Dark_Cocoa Walnut "
    "Mocha Strawberry Banana Orange Cherry",
    "cereal": "Honey Oat Chocolate Strawberry Whole_Grain Hazelnut Corn Apple Rye Banana Almond "
    "Blueberry Coconut",
    "savoury": "Tomato Chili Basil Mushroom Carrot Paprika Corn Sage Beef Chicken",
    "crisps": "Paprika Sea_Salt Chili Tomato Sage Lime Mushroom Honey Corn Basil",
    "pets": "Chicken Salmon Beef Tuna Lamb Carrot Mushroom Rye Corn",
    "scent": "Ocean Lavender Meadow Rose Citrus_Fresh Mint Lemon Green_Tea Coconut Apple",
    "tea": "Green_Tea Mint Lemon Peach Raspberry Honey Lavender Orange Vanilla Apple",
    "roast": "Espresso Mocha Hazelnut Caramel Dark_Cocoa Vanilla Almond",
}


def _kinds(table: str) -> tuple[Kind, ...]:
    """Read lines ``noun | package | category | subcategory | flavours | amounts | claims | size``."""
    kinds = []
    for row in table.strip().splitlines():
        noun, package, category, sub, flavours, amounts, claims, size = (c.strip() for c in row.split("|"))
        if package not in get_args(Package):
            raise ValueError(f"{noun}: no package is named {package!r}")
        width, height, depth = (float(v) for v in size.split())
        kinds.append(
            Kind(
                noun,
                cast(Package, package),
                (category, sub),
                tuple(_SETS[flavours].split()),
                tuple(amounts.split(", ")),
                tuple(claims.split(", ")),
                (width, height, depth),
            )
        )
    return tuple(kinds)


FOOD_KINDS = _kinds("""
juice|gable|food|drinks|fruit|1 L, 1.5 L, 750 ml|Cold pressed, 100% fruit, No added sugar|9.5 23 9.5
oat drink|gable|food|drinks|sweet|1 L|With calcium, Plant based, Barista foam|9 20 9
lemonade|bottle|food|drinks|fruit|500 ml, 330 ml|Lightly sparkling, Cloudy and tart|7 23 7
soda|can|food|drinks|fruit|330 ml, 250 ml|Zero sugar, Extra fizz, Serve cold|6.6 12.2 6.6
tea|box|food|drinks|tea|20 bags, 25 bags, 40 bags|Whole leaf, Hand picked, Naturally calm|15 12.5 7
coffee|pouch|food|drinks|roast|250 g, 500 g|Slow roasted, 100% Arabica, Ground fresh|12 21 6
yoghurt|tub|food|dairy|fruit|150 g, 400 g, 500 g|Creamy and mild, High protein, From pasture milk|9.5 9 9.5
ice cream|tub|food|dairy|sweet|480 ml, 900 ml|Churned slowly, Real cream|11 11 11
drinking yoghurt|bottle|food|dairy|fruit|250 ml, 350 ml|Live cultures, Source of protein|6.5 18 6.5
crunchy cereal|box|food|breakfast|cereal|375 g, 500 g, 650 g|Oven baked, High in fibre, Whole grain|19 28 6
porridge|box|food|breakfast|cereal|300 g, 450 g|Ready in 3 minutes, Creamy oats|14 20 6
jam|jar|food|breakfast|fruit|340 g, 250 g|70% fruit, Home style|7.5 11 7.5
biscuits|box|food|snacks|sweet|200 g, 175 g|Baked with butter, Crisp and light|21 14 5
crisps|pouch|food|snacks|crisps|150 g, 200 g|Thick cut, Kettle cooked|19 27 8
soup|can|food|pantry|savoury|400 g, 540 g|Ready to heat, Slowly simmered|7.5 11 7.5
pasta sauce|jar|food|pantry|savoury|420 g, 500 g|Sun ripened, Slowly cooked|8 15 8
dog food|can|household|pets|pets|400 g, 800 g|Grain free, With real meat|8 11.5 8
washing powder|box|household|cleaning|scent|2.4 kg, 1.8 kg|40 washes, Deep clean, Colour care|20 26 10
shower gel|bottle|household|care|scent|250 ml, 300 ml|pH neutral, For soft skin|7 20 7
""")

PART_KINDS: tuple[PartKind, ...] = (
    PartKind("ball bearing", "bearing", "BB", ("Bore", "Width", "Load")),
    PartKind("oil filter", "filter", "OF", ("Thread", "Height", "Bypass")),
    PartKind("spark plug", "plug", "SP", ("Thread", "Reach", "Heat")),
    PartKind("spur gear", "gear", "SG", ("Module", "Teeth", "Bore")),
    PartKind("brake disc", "brake", "BD", ("Diameter", "Height", "Holes")),
    PartKind("signal bulb", "bulb", "SB", ("Volt", "Watt", "Base")),
    PartKind("hex bolt", "bolt", "HB", ("Thread", "Length", "Grade")),
    PartKind("valve spring", "spring", "VS", ("Wire", "Length", "Rate")),
    PartKind("cable connector", "connector", "CC", ("Poles", "Pitch", "Amps")),
    PartKind("alkaline cell", "battery", "AC", ("Volt", "Size", "mAh")),
)
