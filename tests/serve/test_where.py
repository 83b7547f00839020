"""Filters: what they mean, what is refused, and that nothing of them becomes SQL."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilion.errors import ConfigError
from ilion.serve.tables import _SCHEMA
from ilion.serve.where import parse_where

PHOTOS = {
    1: ("a.jpg", "valve", {"site": "Osaka", "size": "9"}),
    2: ("b.jpg", "valve", {"site": "Kobe", "size": "10"}),
    3: ("c d.jpg", "pump", {"site": "大阪"}),
    4: ("e.jpg", "", {}),
}


@pytest.fixture
def connection() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:")
    made.executescript(_SCHEMA)
    made.execute("INSERT INTO shards VALUES (1, 1, 's', '', 1)")
    for number, (name, shown, labels) in PHOTOS.items():
        values = (number, name, name, number, f"/photos/{name}", number * 86400.0)
        made.execute(
            "INSERT INTO photos (number, id, stored_as, shard, place, path, digest, width, height, added, "
            "status) VALUES (?, ?, ?, 1, ?, ?, '', 1, 1, ?, 1)",
            values,
        )
        if shown:
            made.execute("INSERT INTO views (photo, object) VALUES (?, ?)", (number, shown))
        made.executemany(
            "INSERT INTO labels VALUES (?, ?, ?)", [(number, *label) for label in labels.items()]
        )
    return made


def chosen(connection: sqlite3.Connection, text: str) -> list[int]:
    condition = parse_where(text)
    rows = connection.execute(
        f"SELECT number FROM photos WHERE {condition.sql} ORDER BY number", condition.values
    )
    return [number for (number,) in rows]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("object=valve and site=Osaka", [1]),
        ("site=Osaka or site=大阪", [1, 3]),
        ("object = valve and not site = Osaka", [2]),
        ("SITE != Osaka", [2, 3, 4]),
        ("site in (Osaka, 'Kobe')", [1, 2]),
        ("size > 9", [2]),
        ("size >= 9 and (object=pump or id='b.jpg')", [2]),
        ("id ~ 'c d'", [3]),
        ("source ~ /photos/ and object = pump", [3]),
        ("added < 1970-01-03T12:00:00", [1, 2]),
        ("not not object=pump", [3]),
        ('site="Osaka" AND object=valve', [1]),
        ("site='x'' OR 1=1 --'", []),
    ],
)
def test_what_filters_mean(connection: sqlite3.Connection, text: str, numbers: list[int]) -> None:
    if "''" in text:
        with pytest.raises(ConfigError):
            chosen(connection, text)
        return
    assert chosen(connection, text) == numbers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a name is missing at the end"),
        ("site", "one of = .* is missing at the end"),
        ("site=", "a value is missing at the end"),
        ("site=Osaka site=Kobe", "'site=Kobe' is too much"),
        ("(site=Osaka", r"'\)' is missing at the end"),
        ("site='Osaka", "cannot be read from character 6"),
        ("added > soon", "'soon' is no date"),
        ("(" * 30 + "a=b" + ")" * 30, "nested more than 20"),
        ("a=" + "b" * 3000, "has 3,002 characters"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_where(text)


def test_an_unknown_label_is_named() -> None:
    with pytest.raises(ConfigError, match="no photo has a label 'categry'; did you mean 'category'"):
        parse_where("categry=valve", ["category", "site"])


@given(st.text(max_size=60))
def test_no_text_reaches_sql(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    condition = parse_where(f"site = '{quoted}'")
    assert condition.values == ("site", text)
    try:
        condition = parse_where(text)
    except ConfigError:
        return
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,()=?<>! ")
    assert set(condition.sql) <= allowed
    assert condition.sql.count("?") == len(condition.values)
