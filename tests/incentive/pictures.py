"""The pictures of docs/incentive.md, drawn of what the rules give; `python -m tests.incentive.pictures` writes them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from davy.incentive.agreement import agree
from davy.incentive.fixed_point import ONE, U16, BondFormat, Int64
from davy.incentive.mechanism import BondState, EpochInputs, Params
from davy.incentive.registry import mechanism

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
COLOURS = ("#4269d0", "#efb118", "#9c6b4e")
"""Of the three validators."""
GREY = "#8a8a8a"

WALK = EpochInputs.unmasked(np.array([[3, 1], [3, 1], [1, 3]]), np.array([5, 3, 2]))
"""Three validators with stake 5, 3, 2 and two miners; the smallest one sees it differently."""


def text(x: float, y: float, words: str, *, anchor: str = "start", colour: str = "#444") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def box(x: float, y: float, width: float, height: float, colour: str, opacity: str = "1") -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}" '
        f'fill-opacity="{opacity}" stroke="#fff"/>'
    )


def line(points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>'


def drawing(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
    style = 'font-family="sans-serif" font-size="12" role="img">'
    ground = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return "\n".join([head + style, f"<title>{title}</title>", ground, *parts, "</svg>", ""])


def share(value: int) -> str:
    return f"{value / ONE:.4f}".lstrip("0").rstrip("0")


def consensus() -> str:
    """Step 6 for both columns: stake in the order of weights, and where it exceeds 1 − κ."""
    a, stakes = agree(WALK, Params()), WALK.stake.tolist()
    parts: list[str] = []
    left, unit, bar = 90.0, 44.0, 34.0
    line_x = left + unit * sum(stakes) * (U16 - Params().kappa) / U16
    for column in range(2):
        y, reached = 40.0 + 80 * column, left
        weights: list[int] = a.W[:, column].tolist()
        parts.append(text(10, y + 21, f"miner {column + 1}"))
        for row in sorted(range(3), key=lambda i: (weights[i], i)):
            width = unit * stakes[row]
            counts = weights[row] <= a.C[column]
            parts.append(box(reached, y, width, bar, COLOURS[row], "1" if counts else ".35"))
            parts.append(text(reached + width / 2, y + 21, share(weights[row]), anchor="middle", colour="#fff"))
            reached += width
        parts.append(text(reached + 12, y + 21, f"C = {share(int(a.C[column]))}"))
    parts.append(line([(line_x, 28), (line_x, 166)], "#222", dashed=True))
    parts.append(text(line_x, 20, "more than this stake: 1 − κ", anchor="middle"))
    for row, colour in enumerate(COLOURS):
        parts.append(box(90 + 150 * row, 182, 12, 12, colour))
        parts.append(text(107 + 150 * row, 192, f"validator {row + 1}, stake {stakes[row]}"))
    return drawing(640, 206, "Consensus is the weight at which stake, sorted by weight, exceeds 1 − κ", parts)


def _bars(x: float, base: float, heading: str, values: Int64, colours: Sequence[str], over: Int64 | None) -> list[str]:
    """One group of bars, each with its number; `over` is what was there before something took part of it away."""
    parts = [text(x, base + 18, heading)]
    for i, (value, colour) in enumerate(zip(values.tolist(), colours, strict=True)):
        at, height = x + 34 * i, 110 * value / ONE
        if over is not None and over[i] > value:
            full = 110 * int(over[i]) / ONE
            parts.append(box(at, base - full, 30, full, colour, ".3"))
        parts.append(box(at, base - height, 30, height, colour))
        parts.append(text(at + 15, base - height - 4, f"{value / ONE:.3f}".lstrip("0"), anchor="middle"))
    return parts


def walk() -> str:
    """The epoch of the page: what is clipped, and what everybody is left with."""
    chosen, a = mechanism("yuma3"), agree(WALK, Params())
    _, result = chosen.epoch(chosen.initial((3, 2)), WALK, Params())
    miners = ("#3ca951", "#a463f2")
    parts: list[str] = []
    for row in range(3):
        parts += _bars(20 + 92 * row, 150, f"W̄ of {row + 1}", a.W_clipped[row], miners, a.W[row])
    parts += _bars(316, 150, "incentive", result.incentive, miners, None)
    parts += _bars(410, 150, "stake", result.active_stake, COLOURS, None)
    parts += _bars(534, 150, "dividends", result.dividends, COLOURS, None)
    parts.append(
        text(20, 190, "Pale: weight above consensus, which is clipped. Left: miners 1 and 2 as three validators see")
    )
    parts.append(text(20, 206, "them. The third one’s dividends fall below its stake, since it saw it differently."))
    return drawing(660, 216, "An epoch of three validators and two miners", parts)


def equals(form: BondFormat, start: list[int], columns: int) -> tuple[BondState, EpochInputs, Params]:
    """Validators of one stake that give every miner one weight, with bonds of `start` of 65535 in each; α = .025."""
    rows = len(start)
    x = EpochInputs.unmasked(np.ones((rows, columns), dtype=np.int64), np.ones(rows, dtype=np.int64))
    begun = np.repeat(np.array(start, dtype=np.int64)[:, None] * form.one // U16, columns, axis=1)
    return BondState(begun), x, Params(bond_format=form, moving_average=975_000)


def paths(form: BondFormat, start: list[int], epochs: int) -> list[Int64]:
    """Their bonds in the first of 256 miners, epoch by epoch."""
    state, x, p = equals(form, start, 256)
    found = [state.bonds[:, 0]]
    for _ in range(epochs):
        state, _ = mechanism("yuma3").epoch(state, x, p)
        found.append(state.bonds[:, 0])
    return found


def later(form: BondFormat, columns: int, epochs: int = 1_000) -> tuple[int, int]:
    """After so many epochs: bond and dividends of one that began with none beside one that had 400 units in each."""
    state, x, p = equals(form, [0, 400], columns)
    chosen = mechanism("yuma3")
    dividends = 0
    for _ in range(epochs):
        state, result = chosen.epoch(state, x, p)
        dividends = int(result.dividends[0])
    return int(state.bonds[0, 0]), dividends


def stall() -> str:
    """Bonds that rise to and sink to the same goal, of 1/256, in both formats."""
    epochs, left, base = 240, 50.0, 210.0
    parts = [line([(left, 20), (left, base), (left + 2 * epochs, base)], GREY)]
    goal = U16 / 256

    def at(epoch: int, units: float) -> tuple[float, float]:
        return left + 2 * epoch, base - units * 0.38

    parts.append(line([at(0, goal), at(epochs, goal)], GREY, dashed=True))
    parts += [text(left - 6, at(0, units)[1] + 4, str(units), anchor="end") for units in (0, 100, 200, 300, 400)]
    for form, colour in ((BondFormat.U16, "#ff725c"), (BondFormat.U32, "#4269d0")):
        moved = paths(form, [0, 400], epochs)
        for row in range(2):
            curve = [at(epoch, int(bonds[row]) * U16 / form.one) for epoch, bonds in enumerate(moved)]
            parts.append(line(curve[::4], colour))
    parts += [
        text(545, at(0, goal)[1] - 6, "goal: 1/256", anchor="end"),
        text(180, at(0, 90)[1], "u16 stops 39 units short", colour="#ff725c"),
        text(180, at(0, 340)[1], "Q30, from above and from below", colour="#4269d0"),
        text(left, base + 18, f"{epochs} epochs at α = .025; bonds in units of 1/65535"),
    ]
    return drawing(560, 238, "Bonds in u16 stop 39 units below a goal that they rise to", parts)


PICTURES = {"consensus.svg": consensus, "epoch.svg": walk, "stall.svg": stall}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw())
