"""How long a halt takes to reach everybody, by who knows whom and how many pass nothing on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import ClassVar, Final, Literal

import numpy as np

from davy.incentive.fixed_point import Int64
from davy.network.brake_peers import AGAIN_MS, ASKED_AT_ONCE, KNOWN, ROUND_MS
from davy.sims.beyond.graphs import Graph, graph
from davy.sims.design import Float, Study, ratio
from davy.sims.market import within
from davy.sims.noise import Purpose, Stream, lognormal

_MS: Final = 1_000
"""Times are kept in microseconds."""
_NEVER: Final = -1
_PERCENTILES: Final = (50, 99, 100)


@dataclass(frozen=True, kw_only=True)
class TimeToStop(Study):
    """Some nodes take a halt in and pass it on to nobody.

    A HALT is signed; the keyholders tell `told` nodes, and the ledger, if it is there. The rest is the pull of
    `davy.network.brake_peers`, with its numbers: a node whose brake changed brings the news at once to 4 that it knows,
    and to 4 more after each of 250, 750 and 1750 ms, and every node settles with 4 every 5 seconds; to settle is to ask
    for what the other has and to bring what it lacks. A silent node takes news in, but answers nobody and asks nobody,
    which no peer can tell from a lost message. What a node knows of others decides the rest: a hub that is silent, or a
    cluster with one door, keeps a halt from all behind it. Anti-entropy of this kind is Demers et al. 1987 (push–pull
    reaches n nodes in about log n rounds); how graphs fall apart when nodes are taken out at random or by degree is
    Albert, Jeong and Barabási 2000. Answers to ordinary requests carry heads too and speed a real network up; they are
    left out, so this is a bound from above.

    Attributes
    ----------
    nodes
        Miners, validators and gateways together.
    topology
        `live`: up to 64 others at random. See `davy.sims.beyond.graphs` for the others.
    degree
        Others that a node knows, where the topology is not `live`.
    silent
        Part of the nodes that pass nothing on.
    worst
        Whether these are the best known ones, rather than random ones.
    told
        Nodes that the keyholders reach themselves, at random.
    ledger
        Whether the ledger records the order and all nodes see it there.
    block_ms
        Between two blocks.
    delay_ms, spread
        Of one message: median, and σ of its logarithm.
    loss
        Part of the messages that is lost.
    horizon_ms
        Whoever has not stopped by then counts as unreached.
    """

    nodes: int = 200
    topology: Literal["live", "random", "ring", "star", "clusters", "scale-free"] = "live"
    degree: int = 8
    silent: float = 0.3
    worst: bool = False
    told: int = 3
    ledger: bool = False
    block_ms: int = 1_000
    delay_ms: float = 50.0
    spread: float = 0.5
    loss: float = 0.01
    horizon_ms: int = 60_000

    kind: str = field(default="time-to-stop", init=False, repr=False)
    columns: ClassVar[tuple[str, ...]] = ("honest_nodes", "reached", "p50", "p99", "last", "messages")
    metrics: ClassVar[Mapping[str, tuple[str, str]]] = {
        "unreached": ("of honest nodes", "not stopped when the horizon ends"),
        "honest_unreached": ("of honest nodes", "the same, had nobody been silent"),
        "p50": ("ms", "from the order's signature until half of the honest nodes have stopped; inf: they never do"),
        "p99": ("ms", "until 99% of them have"),
        "last": ("ms", "until the last of them has"),
        "honest_last": ("ms", "the same, had nobody been silent"),
        "slowdown": ("ratio", "last / honest_last"),
        "messages": ("a node", "requests and answers of the pull until the last one stopped, or the horizon"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        within("nodes", self.nodes, 2, 10_000)
        within("degree", self.degree, 1, self.nodes - 1)
        within("silent", self.silent, 0, 0.99)
        within("told", self.told, 0, self.nodes)
        within("block_ms", self.block_ms, 1, 600_000)
        within("delay_ms", self.delay_ms, 0.01, 60_000)
        within("spread", self.spread, 0, 3)
        within("loss", self.loss, 0, 0.99)
        within("horizon_ms", self.horizon_ms, 1, 3_600_000)

    def play(self, runs: range) -> Int64:
        return np.stack([np.stack([self._one(run, arm) for run in runs]) for arm in (0.0, self.silent)])[:, :, None, :]

    def _one(self, run: int, silent: float) -> Int64:
        s = Stream(self.seed, run, Purpose.SPREAD)
        degree = min(KNOWN, self.nodes - 1) if self.topology == "live" else self.degree
        known = graph(self.topology, self.nodes, degree, s)
        order = s.sample(range(self.nodes), self.nodes)
        told = s.sample(range(self.nodes), self.told)
        if self.worst:
            fame = [0] * self.nodes
            for others in known:
                for other in others:
                    fame[other] += 1
            order.sort(key=lambda n: -fame[n])
        mute = frozenset(order[: round(silent * self.nodes)])
        spread = Spread(self, known, mute, s)
        spread.begin(told)
        spread.to_the_end()
        return spread.numbers()

    def measure(self, arrays: Mapping[str, Int64]) -> dict[str, Float]:
        def times(arm: str, name: str) -> Float:
            at = arrays[f"{arm}.{name}"][:, 0]
            return np.where(at == _NEVER, np.inf, at / _MS)

        def missing(arm: str) -> Float:
            return 1 - ratio(*(arrays[f"{arm}.{n}"][:, 0].astype(np.float64) for n in ("reached", "honest_nodes")))

        last, honest_last = times("attack", "last"), times("honest", "last")
        return {
            "unreached": missing("attack"),
            "honest_unreached": missing("honest"),
            "p50": times("attack", "p50"),
            "p99": times("attack", "p99"),
            "last": last,
            "honest_last": honest_last,
            "slowdown": ratio(last, np.where(np.isinf(honest_last), 0.0, honest_last)),
            "messages": arrays["attack.messages"][:, 0] / self.nodes,
        }


class Spread:
    """One order on its way, event by event: who has it since when, in microseconds from its signature."""

    def __init__(self, study: TimeToStop, known: Graph, mute: frozenset[int], s: Stream) -> None:
        self.study, self.known, self.mute, self._s = study, known, mute, s
        self.since = [_NEVER] * study.nodes
        self.messages = 0
        self._delays = lognormal(study.delay_ms * _MS, study.spread)
        self._loss = round(study.loss * (1 << 16))
        self._left = study.nodes - len(mute)
        self._events: list[tuple[int, int, str, int, int]] = []
        self._count = 0
        self._round = [0] * study.nodes
        self._brought: dict[int, set[int]] = {}
        """To whom a node has brought the news."""

    def begin(self, told: list[int]) -> None:
        """The keyholders tell some nodes, the ledger's next block all; every node's rounds have a phase of its own."""
        for n in told:
            self._send("know", 0, n, n)
        if self.study.ledger:
            block = self._s.below(self.study.block_ms * _MS)
            for n in range(self.study.nodes):
                self._at(block + self._delay(), "know", n, n)
        for n in range(self.study.nodes):
            if n not in self.mute:
                self._at(self._s.below(ROUND_MS * _MS), "round", n, 0)

    def to_the_end(self) -> None:
        """Until all honest nodes have the order, or the horizon."""
        end = self.study.horizon_ms * _MS
        while self._left and self._events and self._events[0][0] <= end:
            t, _, what, a, b = heappop(self._events)
            if what == "round":
                if self._round[a] == b:
                    self._ask_some(t, a)
            elif what == "again":
                self._bring_some(t, a)
            elif what == "know":
                self._know(t, b)
            elif what == "asked":
                self._answer(t, a, b)
            elif self.since[a] == _NEVER:
                self._know(t, a) if what == "full" else None
            elif what == "empty":  # b lacked it when it answered: bring it
                self._send("know", t, a, b)

    def _know(self, t: int, n: int) -> None:
        if self.since[n] != _NEVER:
            return
        self.since[n] = t
        if n not in self.mute:
            self._left -= 1
            self._bring_some(t, n)
            for later in AGAIN_MS:
                self._at(t + later * _MS, "again", n, n)
            self._rest(t + AGAIN_MS[-1] * _MS, n)

    def _bring_some(self, t: int, n: int) -> None:
        brought = self._brought.setdefault(n, set())
        left = [other for other in self.known[n] if other not in brought]
        for other in self._s.sample(left, min(ASKED_AT_ONCE, len(left))):
            brought.add(other)
            self._send("know", t, n, other)
            self.messages += other not in self.mute  # the answer, which tells nothing new

    def _ask_some(self, t: int, n: int) -> None:
        for other in self._s.sample(self.known[n], min(ASKED_AT_ONCE, len(self.known[n]))):
            self._send("asked", t, n, other)
        self._rest(t, n)

    def _rest(self, t: int, n: int) -> None:
        """The next round, instead of the one that was to come."""
        self._round[n] += 1
        self._at(t + ROUND_MS * _MS, "round", n, self._round[n])

    def _answer(self, t: int, a: int, b: int) -> None:
        if b not in self.mute:
            self._send("empty" if self.since[b] == _NEVER else "full", t, a, b)

    def _send(self, what: str, t: int, a: int, b: int) -> None:
        self.messages += 1
        if self._s.word() >> 48 >= self._loss:
            self._at(t + self._delay(), what, a, b)

    def _delay(self) -> int:
        return self._s.of(self._delays)

    def _at(self, t: int, what: str, a: int, b: int) -> None:
        self._count += 1
        heappush(self._events, (t, self._count, what, a, b))

    def numbers(self) -> Int64:
        """`TimeToStop.columns`; a time is −1 where too few have the order for it."""
        honest = [t for n, t in enumerate(self.since) if n not in self.mute]
        reached = sorted(t for t in honest if t != _NEVER)
        ranks = [max(1, -(-len(honest) * p // 100)) for p in _PERCENTILES]
        times = [reached[rank - 1] if rank <= len(reached) else _NEVER for rank in ranks]
        return np.array([len(honest), len(reached), *times, self.messages], dtype=np.int64)
