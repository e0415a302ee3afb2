"""What is seen while the demo runs: who earns what, epoch by epoch; plain lines where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from davy.cli.demo.cast import Cast
from davy.protocol.chain import Metagraph
from davy.protocol.words import TOKEN, U16

_NEWS_LINES = 6


class Seen(NamedTuple):
    """One look at the subnet."""

    seconds: float
    graph: Metagraph
    names: dict[bytes, str]
    """Node names by hotkey."""


class Show:
    """Draws the market; `say` adds a line of news."""

    def __init__(self, cast: Cast, *, quiet: bool) -> None:
        self._labels = {m.name: str(m.role) for m in cast.miners}
        self._labels |= {v.name: "copies weights" if v.copies else "validator" for v in cast.validators}
        self._console = Console(stderr=True)
        self._drawn = self._console.is_terminal and not quiet
        self._live = Live(console=self._console, refresh_per_second=4, transient=True) if self._drawn else None
        self._news: list[str] = []
        self._last: Seen | None = None

    def __enter__(self) -> Show:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, seconds: float, line: str) -> None:
        """Tell what happens."""
        text = f"{seconds:5.1f} s  {line}"
        self._news.append(text)
        if self._live:
            self._draw()
        else:
            print(text, file=sys.stderr, flush=True)

    def look(self, seen: Seen) -> None:
        """Draw the subnet as it is now."""
        self._last = seen
        self._draw()

    def _draw(self) -> None:
        if self._live:
            news = [Text(line, style="dim") for line in self._news[-_NEWS_LINES:]]
            self._live.update(Group(*news, *(_tables(self._last, self._labels) if self._last else ())))


def _tables(seen: Seen, labels: dict[str, str]) -> Sequence[Table]:
    s = seen.graph.subnet
    left = s.next_epoch_at - seen.graph.height
    table = Table(
        title=f"height {seen.graph.height} · epoch {s.epoch}, the next in {left} blocks", title_justify="left", box=None
    )
    for name in ("node", "role", "consensus", "incentive", "dividends", "emission", "earned", ""):
        table.add_column(name, justify="left" if name in ("node", "role", "") else "right")
    most = max((n.earned for n in seen.graph.neurons), default=1) or 1
    for n in sorted(seen.graph.neurons, key=lambda n: (n.permit, -n.earned)):
        name = seen.names.get(n.hotkey, "?")
        bar = "█" * round(20 * n.earned / most)
        row = (f"{x / U16:.3f}" for x in (n.consensus, n.incentive, n.dividends))
        amounts = (f"{n.emission / TOKEN:.3f}", f"{n.earned / TOKEN:.2f}")
        table.add_row(name, labels.get(name, ""), *row, *amounts, bar)
    return (table,)
