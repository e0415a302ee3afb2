"""Figures of times to stop: by rank over all nodes, whoever never stopped last of all; tables and curves of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tests.incentive.pictures import drawing, line, text

RANKS = (0.5, 0.95, 0.99, 1.0)
COLOURS = ("#4269d0", "#3ca951", "#efb118", "#c0392b", "#9c6b4e")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 680, 300, 50, 210, 16, 42


class Curve(NamedTuple):
    """One situation: milliseconds of each node, None where it went on."""

    name: str
    took: tuple[float | None, ...]

    @property
    def unreached(self) -> int:
        return sum(ms is None for ms in self.took)

    def at(self, rank: float) -> float:
        """So many of all nodes had stopped by then; infinite where they never had."""
        ordered = sorted(math.inf if ms is None else ms for ms in self.took)
        return ordered[max(0, math.ceil(rank * len(ordered)) - 1)]


def cells(curve: Curve) -> list[str]:
    """p50, p95, p99, max, unreached."""
    found = [curve.at(rank) for rank in RANKS]
    return [*("–" if math.isinf(ms) else f"{ms:.0f}" for ms in found), f"{curve.unreached} of {len(curve.took)}"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def into_page(page: str, mark: str, content: str) -> str:
    """Replace what stands between two marks.

    Raises
    ------
    ValueError
        The page has no such marks.
    """
    pattern = rf"(<!-- {mark} -->\n).*?(<!-- end of {mark} -->)"
    if not re.search(pattern, page, re.DOTALL):
        raise ValueError(f"the page has no marks for {mark}")
    return re.sub(pattern, lambda m: f"{m[1]}{content}\n{m[2]}", page, flags=re.DOTALL)


def picture(title: str, curves: Sequence[Curve]) -> str:
    """Which part of all nodes had stopped by when, as an SVG."""
    ends = [ms for curve in curves for ms in curve.took if ms is not None]
    step = _step(max(ends, default=1.0))
    last = step * math.ceil(max(ends, default=1.0) / step)

    def x(ms: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ms / last

    def y(part: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part

    parts = [line([(x(0), y(0)), (x(last), y(0))], "#444"), line([(x(0), y(0)), (x(0), y(1))], "#444")]
    for n in range(round(last / step) + 1):
        parts += [text(x(n * step), HEIGHT - BOTTOM + 16, f"{n * step / 1000:g}", anchor="middle")]
    parts.append(text(x(last / 2), HEIGHT - 8, "seconds after the last share", anchor="middle"))
    for part in (0.0, 0.5, 0.99):
        parts += [text(LEFT - 6, y(part) + 4, f"{part * 100:.0f}%", anchor="end")]
        parts += [line([(x(0), y(part)), (x(last), y(part))], "#ccc", dashed=True)]
    for n, curve in enumerate(curves):
        colour = COLOURS[n % len(COLOURS)]
        parts.append(line(_steps(curve, x, y), colour))
        parts.append(text(WIDTH - RIGHT + 14, TOP + 14 + 18 * n, curve.name, colour=colour))
    return drawing(WIDTH, HEIGHT, title, parts)


def _steps(curve: Curve, x: Callable[[float], float], y: Callable[[float], float]) -> list[tuple[float, float]]:
    count = len(curve.took)
    ordered = sorted(ms for ms in curve.took if ms is not None)
    drawn = sorted({max(0, math.ceil(count * k / 200) - 1) for k in range(201)} | {count - 1})
    return [(x(0.0), y(0.0)), *((x(ordered[n]), y((n + 1) / count)) for n in drawn if n < len(ordered))]


def _step(largest: float) -> float:
    """A round number of milliseconds of which at most eight go into the largest."""
    for power in range(2, 8):
        for factor in (1, 2, 5):
            if largest / (factor * 10**power) <= 8:
                return float(factor * 10**power)
    return largest
