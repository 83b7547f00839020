"""Small sets with random content in the file formats of published benchmarks, and rankings of them."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ilion.types import Ranking, RetrievalDataset

Draw = Callable[[int], bytes]


def blank(number: int) -> bytes:
    return b"no picture"


def write_file(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def revisited(
    root: Path, seed: int, images: int = 30, queries: int = 5, draw: Draw = blank
) -> dict[str, Any]:
    """Write ``gnd_roxford5k.pkl`` and ``jpg/``; the last query has no hard image, the lists vary in type."""
    rng = np.random.default_rng(seed)
    names = [f"church_{n:06d}" for n in range(images)]
    asked = [f"{'hall' if n % 2 else 'all_souls'}_{900 + n:06d}" for n in range(queries)]
    truth = []
    for n in range(queries):
        order = rng.permutation(images)
        easy, hard, junk = (
            np.sort(order[:4]),
            np.sort(order[4 : 4 + rng.integers(1, 6)]),
            np.sort(order[10:14]),
        )
        hard = hard[:0] if n == queries - 1 else hard
        form: Callable[[Any], Any] = list if n % 2 else np.asarray
        truth.append(
            {"bbx": [1.5, 2.0, 40.0, 60.25], "easy": form(easy), "hard": form(hard), "junk": form(junk)}
        )
    content = {"imlist": names, "qimlist": asked, "gnd": truth}
    write_file(root / "gnd_roxford5k.pkl", pickle.dumps(content, protocol=2))
    for number, name in enumerate([*names, *asked]):
        write_file(root / "jpg" / f"{name}.jpg", draw(number))
    return content


def instre(root: Path, seed: int, form: str = "mat") -> dict[str, Any]:
    """Write ``gnd_instre.mat`` (indices from 1) or ``.pkl`` (from 0), and photos; returns indices from 0."""
    rng = np.random.default_rng(seed)
    names = [f"INSTRE-S1/{n % 4:02d}a_thing/{n:03d}.jpg" for n in range(24)]
    asked = [f"INSTRE-S1/{n % 4:02d}a_thing/q{n}.jpg" for n in range(8)]
    truth = [
        {"ok": np.sort(rng.permutation(24)[: rng.integers(1, 7)]), "bbx": np.array([[1.0, 2.0, 30.0, 40.0]])}
        for _ in asked
    ]
    if form == "mat":
        one = [{"ok": each["ok"][None] + 1.0, "bbx": each["bbx"]} for each in truth]
        write_file(root / "gnd_instre.mat", mat_file({"imlist": names, "qimlist": asked, "gnd": one}))
    else:
        write_file(root / "gnd_instre.pkl", pickle.dumps({"imlist": names, "qimlist": asked, "gnd": truth}))
    for name in (*names, *asked):
        write_file(root / name, b"no picture")
    return {"imlist": names, "qimlist": asked, "gnd": truth}


def gldv2(root: Path, seed: int) -> dict[str, tuple[str, list[str]]]:
    """Write the three tables and photos; returns query -> (Usage, positives)."""
    rng = np.random.default_rng(seed)
    images = [f"{n:02x}{seed:06x}abcdef01" for n in range(20)]
    queries = [f"f{n:01x}{seed:06x}abcdef02" for n in range(8)]
    solution: dict[str, tuple[str, list[str]]] = {}
    lines = ["id,images,Usage"]
    for n, query in enumerate(queries):
        found = [images[i] for i in rng.permutation(20)[: rng.integers(1, 6)]]
        usage = ("Public", "Private")[n % 2]
        if n == 5:
            lines.append(f"{query},None,Ignored")
            continue
        solution[query] = (usage, found)
        lines.append(f"{query},{' '.join(found)},{usage}")
    write_file(root / "retrieval_solution_v2.1.csv", "\n".join(lines) + "\n")
    write_file(root / "index.csv", "id\n" + "\n".join(images) + "\n")
    landmarks = [f"{image},{n % 5}" for n, image in enumerate(images)]
    write_file(root / "index_image_to_landmark.csv", "id,landmark_id\n" + "\n".join(landmarks) + "\n")
    for folder, ids in (("index", images), ("test", queries)):
        for name in ids:
            write_file(root / folder / name[0] / name[1] / name[2] / f"{name}.jpg", b"no picture")
    return solution


def sop(root: Path, seed: int) -> dict[str, str]:
    """Write ``Ebay_test.txt`` and photos; returns photo -> class; one is alone in its class."""
    rng = np.random.default_rng(seed)
    classes = {f"mug_final/{n}_{n}.JPG": str(int(rng.integers(11318, 11323))) for n in range(25)}
    classes["mug_final/alone.JPG"] = "20000"
    lines = [f"{n} {group} 1 {name}" for n, (name, group) in enumerate(classes.items(), start=59552)]
    write_file(root / "Ebay_test.txt", "image_id class_id super_class_id path\n" + "\n".join(lines) + "\n")
    for name in classes:
        write_file(root / name, b"no picture")
    return classes


def cub(root: Path, seed: int) -> dict[str, str]:
    """Write the lists of CUB with six classes, of which the last three are tested."""
    rng = np.random.default_rng(seed)
    rows = [
        (n + 1, f"{c:03d}.Bird/{n}.jpg", c) for n, c in enumerate([*range(1, 7), *rng.integers(1, 7, 24)])
    ]
    write_file(root / "images.txt", "".join(f"{n} {name}\n" for n, name, _ in rows))
    write_file(root / "image_class_labels.txt", "".join(f"{n} {c}\n" for n, _, c in rows))
    for _, name, _ in rows:
        write_file(root / "images" / name, b"no picture")
    return {f"images/{name}": str(c) for _, name, c in rows if c > 3}


def cars(root: Path, seed: int, split: bool = False) -> dict[str, str]:
    """Write the annotations of Cars196, whole or as two lists, with six classes."""
    rng = np.random.default_rng(seed)
    classes = [int(c) for c in (*range(1, 7), *rng.integers(1, 7, 24))]
    names = [f"{n:06d}.jpg" for n in range(len(classes))]
    key = "fname" if split else "relative_im_path"
    rows = [
        {
            key: name if split else f"car_ims/{name}",
            "bbox_x1": np.array([[1]], np.uint8),
            "class": np.array([[c]], np.uint8),
        }
        for name, c in zip(names, classes, strict=True)
    ]
    if split:
        write_file(root / "devkit" / "cars_train_annos.mat", mat_file({"annotations": rows[:15]}))
        write_file(root / "cars_test_annos_withlabels.mat", mat_file({"annotations": rows[15:]}))
        paths = [f"{'cars_train' if n < 15 else 'cars_test'}/{name}" for n, name in enumerate(names)]
    else:
        write_file(root / "cars_annos.mat", mat_file({"annotations": rows}))
        paths = [f"car_ims/{name}" for name in names]
    for path in paths:
        write_file(root / path, b"no picture")
    return {path: str(c) for path, c in zip(paths, classes, strict=True) if c > 3}


def in_shop(root: Path, seed: int) -> tuple[dict[str, str], dict[str, str]]:
    """Write ``Eval/list_eval_partition.txt`` and photos; returns queries and gallery with their items."""
    rng = np.random.default_rng(seed)
    parts: dict[str, dict[str, str]] = {"query": {}, "gallery": {}, "train": {}}
    for n in range(36):
        part = ("query", "gallery", "gallery", "train")[n % 4]
        item = f"id_{int(rng.integers(5)):08d}"
        parts[part][f"img/WOMEN/Dresses/{item}/{n:02d}_1_front.jpg"] = item
    lines = [f"{name}   {item} {part}" for part, found in parts.items() for name, item in found.items()]
    write_file(
        root / "Eval" / "list_eval_partition.txt",
        f"{len(lines)}\nimage_name item_id evaluation_status\n" + "\n".join(lines) + "\n",
    )
    for name in (*parts["query"], *parts["gallery"]):
        write_file(root / "Img" / name, b"no picture")
    return parts["query"], parts["gallery"]


def icir(
    root: Path, seed: int, draw: Draw = blank
) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """Write both lists and photos; returns queries and database as (image, text, instance)."""
    rng = np.random.default_rng(seed)
    database, queries = [], []
    for n, instance in enumerate(("temple", "mug", "bear")):
        texts = ["at night", "as a sketch"]
        for i in range(6 + 3 * n):
            kind = ("pos", "visual_hn", "text_hn", "composed_hn")[i % 4]
            text = texts[i % 2] if kind == "pos" or rng.random() < 0.3 else f"{kind} {i}"
            database.append((f"icir/database/{instance}/{kind}/{i}.jpg", text, instance))
        for text in texts[: 1 + n]:
            queries += [(f"icir/query/{instance}/{i}.jpg", text, instance) for i in range(1 + n)]
    database += [("icir/database/temple/extra.jpg", "at night", "temple")]
    for name, rows in (("query_files.csv", queries), ("database_files.csv", database)):
        write_file(root / name, "".join(",".join(row) + "\n" for row in rows))
    for number, name in enumerate(sorted({row[0] for row in (*queries, *database)})):
        write_file(root.parent / name, draw(number))
    return queries, database


def inquire(root: Path, seed: int) -> dict[str, dict[str, list[str]]]:
    """Write tables and photos; returns split -> query -> positives."""
    rng = np.random.default_rng(seed)
    images = [f"train/{n % 3:05d}_Animalia/{n:03d}.jpg" for n in range(90)]
    annotations = [",query_id,image_id,image_path"]
    found: dict[str, dict[str, list[str]]] = {}
    for split, numbers in (("test", range(4)), ("val", range(10, 12))):
        lines = [",query_id,query_text,supercategory,category,iconic_group"]
        found[split] = {}
        for row, query in enumerate(numbers):
            lines.append(f'{row},{query},"a bird, {query}",Behavior,Feeding,Birds')
            found[split][str(query)] = [images[i] for i in rng.permutation(90)[: rng.integers(1, 70)]]
            annotations += [f"{row},{query},0,{name}" for name in found[split][str(query)]]
        write_file(root / "inquire" / f"inquire_queries_{split}.csv", "\n".join(lines) + "\n")
    write_file(root / "inquire" / "inquire_annotations.csv", "\n".join(annotations) + "\n")
    for name in images:
        write_file(root / "inat24" / name, b"no picture")
    return found


def rank_randomly(dataset: RetrievalDataset, seed: int, among: Mapping[str, str] | None = None) -> Ranking:
    """Rank the whole database, or what a query is searched among, in random order for all queries."""
    rng = np.random.default_rng(seed)
    ids = [record.id for record in dataset.records()]
    instance = {query.id: query.instance for query in dataset.queries}
    lists = []
    for query in dataset.queries:
        rows = [n for n, i in enumerate(ids) if not among or among[i] == instance[query.id]]
        lists.append(rng.permutation(rows))
    width = max(map(len, lists))
    indices = np.stack([np.pad(rows, (0, width - len(rows)), constant_values=-1) for rows in lists])
    return Ranking.from_arrays(indices, None, [query.id for query in dataset.queries], ids)


# MATLAB 5 files, as Octave and MATLAB write them


def mat_file(variables: Mapping[str, Any], packed: bool = True) -> bytes:
    """Return a MATLAB 5 file; lists of dicts become struct arrays, other lists cells."""
    head = b"MATLAB 5.0 MAT-file, made by a test".ljust(116) + bytes(8) + b"\x00\x01IM"
    parts = []
    for name, value in variables.items():
        element = _matrix(name, value)
        if packed:
            data = zlib.compress(element)
            element = struct.pack("<II", 15, len(data)) + data
        parts.append(element)
    return head + b"".join(parts)


def _element(kind: int, content: bytes) -> bytes:
    if 0 < len(content) <= 4:
        return struct.pack("<HH", kind, len(content)) + content.ljust(4, b"\0")
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def _matrix(name: str, value: Any) -> bytes:
    def parts(kind: int, shape: Sequence[int]) -> bytes:
        return (
            _element(6, struct.pack("<II", kind, 0))
            + _element(5, struct.pack(f"<{len(shape)}i", *shape))
            + _element(1, name.encode())
        )

    if isinstance(value, str):
        body = parts(4, (1, len(value))) + _element(4, value.encode("utf-16-le"))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        fields = list(value[0])
        body = parts(2, (1, len(value))) + _element(5, struct.pack("<i", 32))
        body += _element(1, b"".join(field.encode().ljust(32, b"\0") for field in fields))
        body += b"".join(_matrix("", each[field]) for each in value for field in fields)
    elif isinstance(value, list):
        body = parts(1, (1, len(value))) + b"".join(_matrix("", each) for each in value)
    else:
        array = np.asarray(value)
        kinds = {"f8": (6, 9), "u1": (9, 2), "i4": (12, 5)}
        kind, of = kinds[array.dtype.str[1:]]
        body = parts(kind, array.shape) + _element(of, array.tobytes(order="F"))
    return struct.pack("<II", 14, len(body)) + body
