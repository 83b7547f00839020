"""Draw the table of docs/local-first.md: accuracy against bytes a photo and against ms a query, both sets.

    python -m scripts.draw_accuracy

So the pictures say what the table says; they are drawn again when the table changes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

DOCS = Path(__file__).parents[1] / "docs"
SETS = ("31 packages in shops, 2,464 photos", "60 small cut-outs in clutter, 1,740 photos")
WIDTH, HEIGHT, GAP = 460, 340, 40
LEFT, TOP, RIGHT, BOTTOM = 46, 34, 12, 44
ACCURACY = (0.2, 0.9)
"""Ends of the upright axis."""


@dataclass(frozen=True)
class Design:
    """A row of the table.

    Args:
        name: What is written beside its mark.
        accuracies: mAP on either set; None where it was not measured.
        sizes: Bytes a photo, on either set.
        times: Milliseconds a query, on either set; None where they were not measured.
        ours: Whether it is the default at some budget; these are joined by a line.
    """

    name: str
    accuracies: tuple[float | None, float | None]
    sizes: tuple[float | None, float | None]
    times: tuple[float | None, float | None]
    ours: bool


@dataclass(frozen=True)
class Axis:
    """The axis along the ground, logarithmic.

    Args:
        of: Values of a design on either set: ``sizes`` or ``times``.
        title: What it shows.
        ends: Its ends.
        marks: Values that are written below it, and how.
    """

    of: str
    title: str
    ends: tuple[float, float]
    marks: Sequence[tuple[float, str]]


PICTURES = {
    "local-first.svg": Axis(
        "sizes", "bytes a photo", (700.0, 250_000.0), [(1024 * n, f"{n} KB") for n in (1, 4, 16, 64)]
    ),
    "local-first-time.svg": Axis(
        "times", "milliseconds a query", (8.0, 2000.0), [(n, f"{n:,} ms") for n in (10, 30, 100, 300, 1000)]
    ),
}
"""File in the folder of the docs -> what it shows."""


def read_designs(text: str) -> list[Design]:
    """Read the first table of the page.

    >>> head = "| design | a | b | bytes | ms |\\n|---|\\n"
    >>> row = head + "| **the default** | **0.8** | | 1,000 to 3,000 | 40; 20 |"
    >>> [found] = read_designs(row)
    >>> found.name, found.accuracies, found.sizes, found.times
    ('the default', (0.8, None), (2000.0, 2000.0), (40.0, 20.0))
    """
    table = text[text.index("| design |") :].split("\n\n")[0]
    designs = []
    for line in table.splitlines()[2:]:
        name, *shown, stored, asked = (cell.strip() for cell in line.strip("|").split("|"))
        numbers = [float(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", stored)]
        size = sum(numbers) / len(numbers)
        one, two = (_first(cell) for cell in shown)
        name = re.sub(r"[*`]|\(.*\)", "", name).strip()
        ours = name == "the default" or "budget=" in name
        short = name.replace("search.local.budget=", "").replace("search.method=", "")
        first, second = (_first(cell) for cell in [*asked.split(";"), ""][:2])
        designs.append(Design(short, (one, two), (size, size), (first, second), ours))
    return designs


def _first(cell: str) -> float | None:
    found = re.search(r"\d[\d,]*(\.\d+)?", cell)
    return float(found.group().replace(",", "")) if found else None


def _place(axis: Axis, value: float, accuracy: float) -> tuple[float, float]:
    low, high = map(math.log, axis.ends)
    x = LEFT + (math.log(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    y = HEIGHT - BOTTOM - (accuracy - ACCURACY[0]) / (ACCURACY[1] - ACCURACY[0]) * (HEIGHT - TOP - BOTTOM)
    return round(x, 1), round(y, 1)


def draw_panel(axis: Axis, designs: Sequence[Design], which: int) -> list[str]:
    """Draw one set: axes, marks and names."""
    out = [f'<text x="{LEFT}" y="20" font-weight="600">{escape(SETS[which])}</text>']
    for tenth in range(2, 10):
        y = _place(axis, axis.ends[0], tenth / 10)[1]
        out.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{tenth / 10}</text>')
    for value, written in axis.marks:
        x = _place(axis, value, 0.2)[0]
        out.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{written}</text>')
    out.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">{axis.title}; mAP@1000 upwards</text>')
    shown: list[tuple[Design, float, float, float]] = []
    for design in designs:
        value, accuracy = getattr(design, axis.of)[which], design.accuracies[which]
        if value is not None and accuracy is not None:
            shown.append((design, accuracy, *_place(axis, value, accuracy)))
    joined = "L".join(f"{x} {y}" for x, y in sorted((x, y) for design, _, x, y in shown if design.ours))
    out.append(f'<path d="M{joined}" fill="none" stroke="#0b5fa5" stroke-width="2"/>')
    for design, accuracy, x, y in shown:
        name = escape(f"{design.name} {accuracy:.3f}")
        out.append(f'<circle cx="{x}" cy="{y}" r="4.5" fill="{"#0b5fa5" if design.ours else "#b4571a"}"/>')
        at = (
            f'x="{x - 8}" y="{y + 14}" text-anchor="end"'
            if x > LEFT + 0.63 * (WIDTH - LEFT - RIGHT)
            else f'x="{x + 8}" y="{y - 8 if design.name == "the default" else y + 12}"'
        )
        out.append(f"<text {at}>{name}</text>")
    return out


def draw(axis: Axis, designs: Sequence[Design]) -> str:
    """Draw both sets beside each other."""
    wide = 2 * WIDTH + GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {HEIGHT}" font-family="sans-serif" '
        f'font-size="11" fill="#222" role="img"><title>Accuracy against {axis.title}</title>'
        f'<rect width="{wide}" height="{HEIGHT}" fill="#fff"/>'
    )
    body = [
        f'<g transform="translate({which * (WIDTH + GAP)})">{"".join(draw_panel(axis, designs, which))}</g>'
        for which in range(len(SETS))
    ]
    return head + "".join(body) + "</svg>\n"


def main() -> None:
    """Write the pictures."""
    designs = read_designs((DOCS / "local-first.md").read_text(encoding="utf-8"))
    for name, axis in PICTURES.items():
        (DOCS / name).write_text(draw(axis, designs), encoding="utf-8")


if __name__ == "__main__":
    main()
