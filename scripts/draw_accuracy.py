"""Draw the table of docs/local-first.md as docs/local-first.svg: accuracy against bytes a photo, both sets.

    python -m scripts.draw_accuracy

So the picture says what the table says; it is drawn again when the table changes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

DOCS = Path(__file__).parents[1] / "docs"
WIDTH, HEIGHT, GAP = 460, 340, 40
LEFT, TOP, RIGHT, BOTTOM = 46, 34, 12, 44
BYTES, ACCURACY = (700.0, 250_000.0), (0.2, 0.9)
"""Ends of the axes."""


@dataclass(frozen=True)
class Design:
    """A row of the table.

    Args:
        name: What is written beside its mark.
        size: Bytes a photo.
        accuracies: mAP on either set; None where it was not measured.
        ours: Whether it is the default at some budget; these are joined by a line.
    """

    name: str
    size: float
    accuracies: tuple[float | None, float | None]
    ours: bool


def read_designs(text: str) -> list[Design]:
    """Read the first table of the page.

    >>> row = "| design | a | b | bytes |\\n|---|\\n| **the default** | **0.8** | | 1,000 to 3,000 |"
    >>> read_designs(row)
    [Design(name='the default', size=2000.0, accuracies=(0.8, None), ours=True)]
    """
    table = text[text.index("| design |") :].split("\n\n")[0]
    designs = []
    for line in table.splitlines()[2:]:
        name, *shown, stored = (cell.strip() for cell in line.strip("|").split("|"))
        numbers = [float(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", stored)]
        first = [re.search(r"\d\.\d+", cell) for cell in shown]
        one, two = (float(found.group()) if found else None for found in first)
        name = re.sub(r"[*`]|\(.*\)", "", name).strip()
        ours = name == "the default" or "budget=" in name
        short = name.replace("search.local.budget=", "").replace("search.method=", "")
        designs.append(Design(short, sum(numbers) / len(numbers), (one, two), ours))
    return designs


def _place(size: float, accuracy: float) -> tuple[float, float]:
    low, high = map(math.log, BYTES)
    x = LEFT + (math.log(size) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    y = HEIGHT - BOTTOM - (accuracy - ACCURACY[0]) / (ACCURACY[1] - ACCURACY[0]) * (HEIGHT - TOP - BOTTOM)
    return round(x, 1), round(y, 1)


def draw_panel(title: str, designs: list[Design], which: int) -> list[str]:
    """Draw one set: axes, marks and names."""
    out = [f'<text x="{LEFT}" y="20" font-weight="600">{escape(title)}</text>']
    for tenth in range(2, 10):
        y = _place(BYTES[0], tenth / 10)[1]
        out.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{tenth / 10}</text>')
    for size in (1024, 4096, 16384, 65536):
        x = _place(size, 0.2)[0]
        out.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{size // 1024} KB</text>')
    out.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">bytes a photo; mAP@1000 upwards</text>')
    line = [_place(d.size, a) for d in designs if d.ours and (a := d.accuracies[which]) is not None]
    joined = "L".join(f"{x} {y}" for x, y in sorted(line))
    out.append(f'<path d="M{joined}" fill="none" stroke="#0b5fa5" stroke-width="2"/>')
    for design in designs:
        accuracy = design.accuracies[which]
        if accuracy is None:
            continue
        x, y = _place(design.size, accuracy)
        end = design.size > BYTES[1] / 10
        name = escape(f"{design.name} {accuracy:.3f}")
        out.append(f'<circle cx="{x}" cy="{y}" r="4.5" fill="{"#0b5fa5" if design.ours else "#b4571a"}"/>')
        at = (
            f'x="{x - 8}" y="{y + 14}" text-anchor="end"'
            if end
            else f'x="{x + 8}" y="{y - 8 if design.name == "the default" else y + 12}"'
        )
        out.append(f"<text {at}>{name}</text>")
    return out


def draw(designs: list[Design]) -> str:
    """Draw both sets beside each other."""
    wide = 2 * WIDTH + GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {HEIGHT}" font-family="sans-serif" '
        f'font-size="11" fill="#222" role="img"><title>Accuracy against bytes a photo</title>'
        f'<rect width="{wide}" height="{HEIGHT}" fill="#fff"/>'
    )
    panels = ("31 packages in shops, 2,464 photos", "60 small cut-outs in clutter, 1,740 photos")
    body = [
        f'<g transform="translate({which * (WIDTH + GAP)})">{"".join(draw_panel(title, designs, which))}</g>'
        for which, title in enumerate(panels)
    ]
    return head + "".join(body) + "</svg>\n"


def main() -> None:
    """Write the picture."""
    designs = read_designs((DOCS / "local-first.md").read_text(encoding="utf-8"))
    (DOCS / "local-first.svg").write_text(draw(designs), encoding="utf-8")


if __name__ == "__main__":
    main()
