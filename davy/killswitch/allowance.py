"""What the HALT key alone may stop: `ALLOWANCE_MS` of any `ALLOWANCE_WINDOW_MS`, by subject.

It is computed from the set of orders and the times at which the ledger recorded them. A HALT that ended stays counted
until it leaves the window, so expiry does not refill it; one that was lifted counts until it was; one dated back counts
from its record on, or whoever stole the HALT key could spend the past and so end a HALT that is in force. There is no
pause between HALTs: while there is allowance, a second one works at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from davy.protocol.limits import ALLOWANCE_MS, ALLOWANCE_WINDOW_MS


class Span(NamedTuple):
    """Time from `start` up to, and without, `end`, in Unix milliseconds."""

    start: int
    end: int


def intersect(xs: Iterable[Span], ys: Iterable[Span]) -> list[Span]:
    """Return the non-empty overlaps of every x with every y."""
    every = list(ys)
    both = (Span(max(x.start, y.start), min(x.end, y.end)) for x in xs for y in every)
    return [b for b in both if b.start < b.end]


def unite(spans: Iterable[Span]) -> list[Span]:
    """Return the same time as disjoint spans, in order."""
    united: list[Span] = []
    for s in sorted(s for s in spans if s.start < s.end):
        if united and s.start <= united[-1].end:
            united[-1] = Span(united[-1].start, max(united[-1].end, s.end))
        else:
            united.append(s)
    return united


def within_allowance(spans: Iterable[Span]) -> list[Span]:
    """The part of the union of `spans` that the allowance permits.

    Going forward in time, t is in it iff it is in the union and less than `ALLOWANCE_MS` of
    (t − `ALLOWANCE_WINDOW_MS`, t) are in it; or as much, while as much leaves the window as enters it.
    """
    allowed: list[Span] = []
    recent: deque[Span] = deque()
    used = 0
    for span in unite(spans):
        t = span.start
        while t < span.end:
            left = t - ALLOWANCE_WINDOW_MS
            while recent and recent[0].start < left:
                gone = recent.popleft()
                used -= min(gone.end, left) - gone.start
                if gone.end > left:
                    recent.appendleft(Span(left, gone.end))
            if recent and recent[0].start == left:  # as much leaves as enters
                until = min(span.end, recent[0].end + ALLOWANCE_WINDOW_MS)
            else:
                leaves = recent[0].start + ALLOWANCE_WINDOW_MS if recent else span.end
                if used == ALLOWANCE_MS:
                    t = leaves
                    continue
                until = min(span.end, leaves, t + ALLOWANCE_MS - used)
            allowed.append(Span(t, until))
            recent.append(Span(t, until))
            used += until - t
            t = until
    return unite(allowed)
