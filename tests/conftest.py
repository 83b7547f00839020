"""Fixtures that many tests share: the real photos, and tiny data sets with known content."""

from __future__ import annotations

import gc
import io
import os
import shutil
import tarfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import typer.testing
from _pytest.doctest import DoctestModule
from hypothesis import settings
from PIL import Image, ImageDraw

# The same examples in every run, and none that fails because a machine is busy.
settings.register_profile("ilion", derandomize=True, deadline=None)
settings.load_profile("ilion")

Photo = Callable[..., bytes]


@pytest.fixture(params=[False, True], ids=["numpy", "compiled"])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether float16 is widened by the compiled functions; both where they can be compiled."""
    from ilion.kernels import widening

    if request.param and not widening.load():
        pytest.skip("needs numba and a processor with AVX2 and conversion of float16")
    monkeypatch.setattr(widening, "_loaded", widening._loaded if request.param else [])
    monkeypatch.setattr(widening, "_widened", 0)
    return bool(request.param)


@pytest.fixture
def small_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches are timed among some hundred photos in place of a hundred thousand."""
    from ilion.pipeline.jobs import growth

    monkeypatch.setattr(growth, "SIZES", (300, 500))
    monkeypatch.setattr(growth, "SHARD", 128)


def draw_photo(seed: int, size: tuple[int, int] = (96, 64), kind: str = "JPEG", **options: object) -> bytes:
    """Encode a photo-like picture: a coloured ground with random bars; every seed looks different."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(int(v) for v in rng.integers(0, 256, 3)))
    pen = ImageDraw.Draw(image)
    for _ in range(24):
        x, y = rng.integers(0, size[0]), rng.integers(0, size[1])
        w, h = rng.integers(4, max(size[0] // 3, 5)), rng.integers(4, max(size[1] // 3, 5))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        pen.rectangle([int(x), int(y), int(x + w), int(y + h)], fill=colour)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    """Write an uncompressed tar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write(path: Path, content: bytes | str) -> Path:
    """Write a file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


LONG = (
    "tests/test_end_to_end.py",
    "tests/pipeline/test_faults.py",
    "tests/serve/test_kills.py",
    "tests/test_mutations.py",
    "tests/pipeline/distributed/test_compute.py",
)
"""Files whose few tests take long: they are begun first, so that no process is left with one at the end."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are collected, nor later among what was collected: it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Look for no examples in the docstrings of tests, nor in files without any: there are none."""
    found: list[pytest.Collector] = yield
    if any(isinstance(each, DoctestModule) for each in found) and ">>>" not in file_path.read_text("utf-8"):
        return [each for each in found if not isinstance(each, DoctestModule)]
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of long files first; the others keep their order."""
    ranks = {name: rank for rank, name in enumerate(LONG)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(LONG)))


@pytest.fixture(autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    """Let no test leave a thread that writes notes of a run: it would meet what later tests replace."""
    before = set(threading.enumerate())

    def left() -> list[threading.Thread]:
        return [t for t in threading.enumerate() if t.name == "notes of a run" and t not in before]

    yield
    if left():
        gc.collect()  # what a test got as an exception holds on to its run
    assert not left()


@pytest.fixture(scope="session", autouse=True)
def _commands_are_built_once() -> Iterator[None]:
    """Keep the command line between calls: building all commands takes longer than most that tests call."""
    build = cache(typer.main.get_command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.main.get_command", build)
        patch.setattr("typer.testing._get_command", build)
        yield


@pytest.fixture(scope="session")
def photo() -> Photo:
    """Return `draw_photo`."""
    return draw_photo


@pytest.fixture(scope="session")
def save() -> Callable[[Path, bytes | str], Path]:
    """Return `write`."""
    return write


@pytest.fixture(scope="session")
def save_tar() -> Callable[[Path, Mapping[str, bytes]], None]:
    """Return `write_tar`."""
    return write_tar


@pytest.fixture(scope="session")
def grocery() -> Path:
    """Return the folder of the real photos; a missing one fails the tests in CI and skips them elsewhere."""
    checkout = Path(__file__).resolve().parents[1]
    given = os.environ.get("ILION_SHARED")
    homes = [Path(given)] if given else [checkout / "shared", checkout.parent / "shared"]
    for home in homes:
        if (home / "data" / "grocery" / "ilias_core").is_dir():
            return home / "data" / "grocery"
    message = "no grocery photos: set ILION_SHARED to the folder that holds data/grocery"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def _tiny_master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("master") / "tiny"
    for number, name in enumerate(("mug_000", "täfelchen_001", "poster_002")):
        folder = root / "ilias_core" / name
        write(folder / "query" / f"Q{number:03d}_00.jpg", draw_photo(100 * number))
        write(folder / "query" / f"Q{number:03d}_00_bbox.txt", "8 4 80 56\n")
        write(folder / "query" / f"T{number:03d}.txt", f"the object number {number}\n")
        for view in range(3):
            stem = folder / "pos" / f"P{number:03d}_{view:02d}"
            write(stem.with_suffix(".jpg"), draw_photo(100 * number + 1 + view))
            write(stem.with_name(f"{stem.name}_bbox.txt"), f"{10 * view} 8 {24 * (view + 1)} 32\n")
    write_tar(
        root / "distractors" / "shard_00000.tar", {f"img{i}.jpg": draw_photo(1000 + i) for i in range(5)}
    )
    for i in range(4):
        write(root / "distractors" / "loose" / f"d{i}.jpg", draw_photo(2000 + i))
    write(
        root / "taxonomy.json",
        '{"product": {"kitchen": {"cup": ["mug_000"], "other": ["täfelchen_001"]}},'
        ' "art": {"print": {"poster": ["poster_002"]}}}',
    )
    return root


@pytest.fixture
def tiny_dataset(_tiny_master: Path, tmp_path: Path) -> Path:
    """Return a copy of a sound data set in the ILIAS layout.

    3 objects, each with an image query (with box), a text query and 3 positives (with boxes); a tar with 5
    distractors and 4 loose ones; a taxonomy. 18 database images in all.
    """
    return Path(shutil.copytree(_tiny_master, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def draw_set(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that renders a synthetic data set, once for all processes, and copies it.

    Its arguments are a new folder, whose parent is there, and settings of `ilion.synthetic.synthesize`.
    """
    import fcntl

    from ilion.synthetic import synthesize

    base = tmp_path_factory.getbasetemp()
    masters = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "drawn"
    masters.mkdir(exist_ok=True)

    def draw(folder: Path, **settings: object) -> Path:
        master = masters / ",".join(f"{name}={value}" for name, value in sorted(settings.items()))
        with open(f"{master}.lock", "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not master.exists():
                synthesize(Path(f"{master}.part"), **settings, workers=1)  # type: ignore[arg-type]
                os.rename(f"{master}.part", master)
        return Path(shutil.copytree(master, folder, dirs_exist_ok=True))

    return draw


@pytest.fixture(scope="session")
def rendered(draw_set: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render a synthetic data set of small photos, which tests only read; 4 objects, 64 photos to search.

    What is computed of it may be kept in the folder ``cache`` beside it.
    """
    folder = tmp_path_factory.mktemp("rendered") / "set"
    return draw_set(folder, instances=4, positives=3, distractors=52, image_side=160)


@pytest.fixture(scope="session")
def shop(draw_set: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render the data set of the examples, which tests only read: 4 objects, 12 positives, 12 distractors."""
    folder = tmp_path_factory.mktemp("shop") / "set"
    return draw_set(folder, instances=4, positives=3, distractors=12, image_side=256)


@pytest.fixture
def plain_dataset(tmp_path: Path) -> Path:
    """Write a sound data set in the plain form: 2 objects, 3 distractors, descriptions, a label."""
    root = tmp_path / "plain"
    for number, name in enumerate(("red mug", "blue mug")):
        write(root / "objects" / name / "query" / "front.jpg", draw_photo(100 * number))
        for view in range(2):
            write(
                root / "objects" / name / "positive" / f"IMG_{view}.jpg", draw_photo(100 * number + 1 + view)
            )
    write(root / "objects" / "red mug" / "ignored" / "maybe.jpg", draw_photo(50))
    for i in range(3):
        write(root / "distractors" / f"d{i}.jpg", draw_photo(2000 + i))
    write(
        root / "objects.csv",
        'object,description,category\nred mug,"a red mug, with a handle",kitchen\nblue mug,,\n',
    )
    return root
