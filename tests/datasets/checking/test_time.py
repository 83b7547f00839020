"""The rule of time: what passes is older than every object, and nothing that is missing is assumed."""

from __future__ import annotations

import io
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.conftest import draw_photo

from ilion.cli.datasets import declare_rule
from ilion.datasets import check_dataset, open_dataset
from ilion.datasets.checking.time import ILIAS, Standing, TimeCheck, TimeRule, stand
from ilion.datasets.listing import Listing
from ilion.datasets.spans import Span, parse_span
from ilion.errors import ConfigError, DatasetError
from ilion.images.taken import read_taken

DAYS = st.dates(date(2005, 1, 1), date(2024, 12, 31))


@st.composite
def known_days(draw: st.DrawFn) -> tuple[date, Span]:
    """A day, and what is known of it: a span that holds it."""
    day = draw(DAYS)
    before, after = draw(st.integers(0, 800)), draw(st.integers(0, 800))
    return day, Span(day - timedelta(before), day + timedelta(after))


@given(st.lists(known_days(), max_size=3), st.lists(known_days(), max_size=5), DAYS)
def test_no_photo_younger_than_an_object_passes(
    claims: list[tuple[date, Span]], objects: list[tuple[date, Span]], taken: date
) -> None:
    """Whatever the claims are: if one of them is true, a photo that passes is older than all objects."""
    standing = stand([span for _, span in claims], [span for _, span in objects])
    if not claims or not objects:
        assert standing is Standing.UNDATED
        return
    true = min(claims, key=lambda claim: abs(claim[0] - taken))[0]
    if any(true >= day for day, _ in objects):
        assert standing is not Standing.OLDER
    if all(true < day for day, _ in objects) and len(claims) == 1:
        assert standing is not Standing.YOUNGER


@pytest.mark.slow
@given(
    st.dictionaries(st.sampled_from("abcd"), known_days(), max_size=4),
    st.lists(st.tuples(known_days(), st.booleans(), st.booleans()), max_size=12),
)
def test_missing_days_are_counted_and_never_assumed(
    objects: dict[str, tuple[date, Span]],
    photos: list[tuple[tuple[date, Span], bool, bool]],
) -> None:
    listing = Listing(Path(), Path(), Path())
    listing.declared = set("abcd")
    listing.introduced = {name: span for name, (_, span) in objects.items()}
    exif, dates = {}, {}
    for number, ((day, span), in_table, in_photo) in enumerate(photos):
        if in_table:
            dates[str(number)] = span
        if in_photo:
            exif[str(number)] = day
    listing.dates = dates
    check = TimeCheck(listing, TimeRule())
    found = [list(check.judge(str(n), str(n), None, (exif.get(str(n)), None))) for n, _ in enumerate(photos)]
    facts, _ = check.finish()
    assert facts.photos == len(photos)
    unknown = [n for n, _ in enumerate(photos) if str(n) not in dates and str(n) not in exif]
    assert sum(p.kind == "photo-without-date" for one in found for p in one) == len(unknown)
    assert facts.undated == tuple(sorted(set("abcd") - objects.keys()))
    if facts.undated or unknown:
        assert facts.proven < max(len(photos), 1)
    for n, ((day, _), in_table, in_photo) in enumerate(photos):
        younger = any(day >= start for start, _ in objects.values())
        if younger and (in_table or in_photo):
            assert found[n] or not objects


@pytest.mark.parametrize(
    ("written", "first", "last"),
    [
        ("2014", "2014-01-01", "2014-12-31"),
        ("2015.2", "2015-02-01", "2015-02-28"),
        ("２０１４年６月３日", "2014-06-03", "2014-06-03"),
        ("2014年6月", "2014-06-01", "2014-06-30"),
        ("2014年", "2014-01-01", "2014-12-31"),
        ("2014-06-03T12:30:00", "2014-06-03", "2014-06-03"),
        ("2014/06/03 12:30", "2014-06-03", "2014-06-03"),
    ],
)
def test_days_as_people_write_them(written: str, first: str, last: str) -> None:
    assert parse_span(written) == Span(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize("written", ["", "soon", "2014-13", "2014-02-30", "14-06-03", "06/03/2014", "0000"])
def test_what_is_no_day_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_span(written)


def photo_taken(day: str, tag: int = 0x9003) -> bytes:
    exif = Image.Exif()
    if tag == 0x0132:
        exif[tag] = f"{day} 10:00:00"
    else:
        exif.get_ifd(0x8769)[tag] = f"{day} 10:00:00"
    out = io.BytesIO()
    Image.new("RGB", (80, 80), (day.__hash__() % 255, 9, 9)).save(out, "JPEG", exif=exif)
    return out.getvalue()


def test_the_day_of_a_photo_is_read_and_clocks_without_battery_are_not_believed() -> None:
    assert read_taken(photo_taken("2013:05:06")) == (date(2013, 5, 6), None)
    assert read_taken(photo_taken("2013:05:06", 0x0132)) == (None, date(2013, 5, 6))
    for wrong in ("1970:01:01", "2000:01:01", "2999:01:01", "2013:15:06", "    :  :  "):
        assert read_taken(photo_taken(wrong)) == (None, None)


def dated_set(folder: Path) -> Path:
    for role in ("query", "positive"):
        (folder / f"objects/mug/{role}").mkdir(parents=True)
        (folder / f"objects/mug/{role}/a.jpg").write_bytes(draw_photo(ord(role[0])))
    (folder / "distractors").mkdir()
    for name, day in (("old", "2012:01:01"), ("new", "2019:01:01")):
        (folder / f"distractors/{name}.jpg").write_bytes(photo_taken(day))
    (folder / "distractors/bare.jpg").write_bytes(draw_photo(7))
    (folder / "objects.csv").write_text("object,description,introduced\nmug,a red mug,2015-03\n")
    return folder


def test_a_set_is_checked_by_tables_and_photos(tmp_path: Path) -> None:
    folder = dated_set(tmp_path)
    assert check_dataset(folder).ok, "the rule holds only where it is asked for"
    check = check_dataset(folder, time_rule=TimeRule())
    kinds = {problem.kind: problem.file for problem in check.problems if problem.severity == "error"}
    assert kinds == {
        "younger-than-object": "distractors/new.jpg",
        "photo-without-date": "distractors/bare.jpg",
    }
    assert check.time is not None
    assert (check.time.proven, check.time.photos, check.time.labelled) == (1, 3, 2)
    assert "introduced" not in open_dataset(folder).labels

    (folder / "dates.csv").write_text(
        "file,date\ndistractors/b*,2010\ndistractors/new.jpg,2011\nx.jpg,2001\n"
    )
    check = check_dataset(folder, time_rule=TimeRule())
    kinds = {problem.kind: problem.file for problem in check.problems}
    assert kinds["younger-than-object"] == "distractors/new.jpg", "the photo itself says otherwise"
    assert {"date-conflict", "unknown-date"} <= kinds.keys()
    assert check.time is not None
    assert check.time.proven == 2


def test_the_rule_of_the_benchmark_is_one_setting(tiny_dataset: Path) -> None:
    check = check_dataset(tiny_dataset, time_rule=TimeRule())
    assert check.time is not None
    assert check.time.proven == 0
    assert {p.kind for p in check.problems} == {"object-without-date", "photo-without-date"}
    check = check_dataset(tiny_dataset, time_rule=ILIAS)
    assert check.ok
    assert check.time is not None
    assert check.time.proven == check.time.photos > 0
    (tiny_dataset / "dates.csv").write_text("file,date\ndistractors/*,2016\n")
    assert not check_dataset(tiny_dataset, time_rule=ILIAS).ok


def test_wrong_rows_are_named(tmp_path: Path) -> None:
    folder = dated_set(tmp_path)
    (folder / "dates.csv").write_text("file,object,date\na.jpg,mug,2014\n,,2014\n,mug,soon\n,mug,2019\n")
    with pytest.raises(
        DatasetError, match=r"both a photo and an object(.|\n)*neither(.|\n)*no date(.|\n)*2015"
    ):
        open_dataset(folder)


def test_options_without_effect_are_refused() -> None:
    assert declare_rule("", "", "own", wanted=False) is None
    assert declare_rule("", "", "ilias", wanted=True) == ILIAS
    assert declare_rule("2014", "2015-06", "own", wanted=True) == TimeRule(
        date(2014, 12, 31), date(2015, 6, 1)
    )
    with pytest.raises(ConfigError, match="belong to"):
        declare_rule("2014", "", "own", wanted=False)
    with pytest.raises(ConfigError, match="--photos-until"):
        declare_rule("soon", "", "own", wanted=True)
