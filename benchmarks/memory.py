"""What benchmarks share: the resident memory of a process over time, as a picture."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

COLOURS = ("#0b62a4", "#b4571a")
ANONYMOUS, MAPPED = "RssAnon", "RssFile"
"""Memory that no file backs, and pages of files, which can be taken back, as Linux names them."""


def resident(pid: int | str, kind: str = ANONYMOUS) -> float:
    """Return the resident memory of a process of one kind, megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextmanager
def watched(kinds: Sequence[str], pause: float = 0.5) -> Iterator[Mapping[str, list[tuple[float, float]]]]:
    """Watch the memory of this process; yields seconds and megabytes of each kind, which grow meanwhile."""
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    done, begun = threading.Event(), time.monotonic()

    def watch() -> None:
        is_done = False
        while not is_done:  # looks once more at the end, so that nothing is too short to draw
            is_done = done.wait(pause)
            for kind, points in found.items():
                points.append((time.monotonic() - begun, resident("self", kind)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def plot(lines: Mapping[str, Sequence[tuple[float, float]]], marks: Mapping[str, float] | None = None) -> str:
    """Draw resident memory over time as a small SVG.

    Args:
        lines: What a line shows -> seconds and megabytes.
        marks: What begins -> seconds.
    """
    longest = max(points[-1][0] for points in lines.values()) or 1.0
    most = max(m for points in lines.values() for _, m in points)

    def x(seconds: float) -> float:
        return round(60 + 520 * seconds / longest, 1)

    drawn = "".join(
        f'<polyline points="{" ".join(f"{x(t)},{150 - 130 * m / most:.1f}" for t, m in points)}" fill="none" '
        f'stroke="{colour}" stroke-width="2"/>'
        f'<text x="{60 + 270 * place}" y="184" fill="{colour}">{name}</text>'
        for place, ((name, points), colour) in enumerate(zip(lines.items(), COLOURS, strict=False))
    )
    drawn += "".join(
        f'<path d="M{x(t)} 20V150" stroke="#bbb" stroke-dasharray="3"/>'
        f'<text x="{x(t) + (3 if x(t) < 300 else -3)}" y="{30 + 14 * place}" '
        f'text-anchor="{"start" if x(t) < 300 else "end"}">{name}</text>'
        for place, (name, t) in enumerate((marks or {}).items())
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 190" font-family="sans-serif" '
        'font-size="12">'
        '<rect width="600" height="190" fill="#fff"/><path d="M60 20V150H580" fill="none" stroke="#888"/>'
        f'{drawn}<text x="55" y="25" text-anchor="end">{most:,.0f} MB</text>'
        '<text x="55" y="150" text-anchor="end">0</text>'
        f'<text x="580" y="168" text-anchor="end">{longest / 60:.0f} minutes</text></svg>\n'
    )
