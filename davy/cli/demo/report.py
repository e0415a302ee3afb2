"""What stays of a demo: one JSON file, and one HTML page that needs nothing beside itself."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from davy.cli.demo.cast import STORY, Cast
from davy.cli.demo.claims import Claim, nearness
from davy.protocol.chain import EpochRecord
from davy.protocol.words import TOKEN, Uid

_COLOURS: Final = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#cc79a7",
    "#56b4e9",
    "#999999",
    "#f0e442",
    "#000000",
    "#7f3c8d",
)
"""Okabe and Ito's, which colour-blind readers can tell apart, and two more."""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 720, 300, 60, 30


class Report(NamedTuple):
    """Everything a report says."""

    seed: int
    cast: Cast
    claims: Sequence[Claim]
    phases: Mapping[str, float]
    """Seconds each phase took."""
    peak_bytes: int
    sealed: Sequence[EpochRecord]
    uids: Mapping[str, Uid]
    news: Sequence[str]
    relay: Mapping[str, float]
    """The second run: what the relay earned and what it cost its victim; empty if left out."""


def as_json(told: Report) -> bytes:
    """The report for programs."""
    claims = [{**c._asdict(), "margin": _finite(c.margin), "holds": c.holds} for c in told.claims]
    value: dict[str, Any] = {
        "seed": told.seed,
        "holds": all(c.holds for c in told.claims),
        "claims": claims,
        "weakest": min(told.claims, key=nearness).name,
        "roles": {m.name: str(m.role) for m in told.cast.miners},
        "copier": next(v.name for v in told.cast.validators if v.copies),
        "earned": {name: [paid(r, uid) for r in told.sealed] for name, uid in told.uids.items()},
        "phases": dict(told.phases),
        "peak_mib": told.peak_bytes // 2**20,
        "open_access": dict(told.relay),
        "news": list(told.news),
    }
    return msgspec.json.format(msgspec.json.encode(value)) + b"\n"


def as_html(told: Report) -> str:
    """The report for people: claims, a plot of what was earned, roles, phases, and what happened."""
    held = sum(c.holds for c in told.claims)
    roles = {m.name: str(m.role) for m in told.cast.miners}
    claims = "".join(
        f"<tr class={'ok' if c.holds else 'no'}><td>{'holds' if c.holds else 'FAILS'}"
        f"<td>{_t(c.name)}<td>{_t(c.sentence)}<td>{c.margin:.4g}"
        for c in told.claims
    )
    phases = "".join(f"<tr><td>{_t(name)}<td>{seconds:.1f} s" for name, seconds in told.phases.items())
    story = "".join(f"<tr><td>{_t(str(role))}<td>{_t(text)}" for role, text in STORY.items())
    earned = {
        f"{name} ({roles.get(name, 'validator')})": _cumulated(told.sealed, uid) for name, uid in told.uids.items()
    }
    news = "".join(f"<li>{_t(line)}" for line in told.news)
    return f"""<!doctype html><html lang=en><meta charset=utf-8><title>davy demo, seed {told.seed}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.2rem .6rem;border-bottom:1px solid #ddd}}
.ok td:first-child{{color:#006b45}}.no td:first-child{{color:#b00;font-weight:bold}}svg{{width:100%;height:auto}}
li{{font-family:ui-monospace,monospace;font-size:.85rem;list-style:none}}ul{{padding:0}}</style>
<h1>{held} of {len(told.claims)} claims hold</h1>
<p>Seed {told.seed}; at most {told.peak_bytes / 2**30:.1f} GiB of memory.</p>
<table><tr><th><th>claim<th>measured<th>margin{claims}</table>
<h2>What everybody earned</h2><p>Tokens since the start, by epoch, on the subnet with commit–reveal.</p>{_plot(earned)}
<h2>Who is who</h2><table>{story}</table><h2>Phases</h2><table>{phases}</table>
<h2>What happened</h2><ul>{news}</ul></html>
"""


def _finite(margin: float) -> float:
    """JSON has no infinity."""
    return max(margin, -1e300)


def paid(r: EpochRecord, uid: Uid) -> int:
    """Base units that an epoch paid to a UID on both sides; 0 before it was there."""
    return r.miners[uid] + r.validators[uid] if uid < len(r.miners) else 0


def _cumulated(records: Sequence[EpochRecord], uid: Uid) -> list[float]:
    total, line = 0, [0.0]
    for r in records:
        total += paid(r, uid)
        line.append(total / TOKEN)
    return line


def _plot(lines: Mapping[str, Sequence[float]]) -> str:
    """Lines as SVG, with a legend; x is the epoch's number since the start, y tokens."""
    top = max((max(v) for v in lines.values()), default=1.0) or 1.0
    steps = max(max((len(v) for v in lines.values()), default=2) - 1, 1)

    def x(i: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - 10) * i / steps

    def y(v: float) -> float:
        return 10 + (_HEIGHT - _BOTTOM - 10) * (1 - v / top)

    axes = "".join(
        f"<line x1={_LEFT} x2={_WIDTH} y1={y(v):.1f} y2={y(v):.1f} stroke='#ddd'/>"
        f"<text x={_LEFT - 6} y={y(v) + 4:.1f} text-anchor=end font-size=11>{v:.3g}</text>"
        for v in (0.0, top / 2, top)
    )
    axes += "".join(
        f"<text x={x(i):.1f} y={_HEIGHT - 8} text-anchor=middle font-size=11>{i}</text>"
        for i in range(0, steps + 1, max(1, steps // 10))
    )
    drawn, legend = "", ""
    for number, (name, values) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(values))
        drawn += f"<polyline fill=none stroke='{colour}' stroke-width=2 points='{points}'/>"
        legend += f"<text x={_LEFT + 10} y={26 + 15 * number} font-size=12 fill='{colour}'>{_t(name)}</text>"
    label = f"viewBox='0 0 {_WIDTH} {_HEIGHT}' role=img aria-label='tokens earned by epoch'"
    return f"<svg {label}>{axes}{drawn}{legend}</svg>"


def _t(text: str) -> str:
    return html.escape(text)
