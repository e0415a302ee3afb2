"""What is told of a new block beside its header, so that whoever follows the chain need not ask after every block.

The brake as it stands after the block, with its proof, which the next header completes; and the subnets on which nodes
have something to look up. The second is a hint, as good as the ledger that gives it, and so is what would be looked up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from davy.ledger.rules.machine import Machine
from davy.ledger.rules.records import (
    ACCESS,
    BRAKE,
    CHAIN,
    HOTKEYS,
    MODELS,
    NEURONS,
    OUTCOMES,
    REGISTRANTS,
    RUNNING,
    STAKES,
    SUBNETS,
)
from davy.ledger.rules.state import Changes
from davy.protocol.encoding import encode
from davy.protocol.limits import MAX_NEWS_SUBNETS
from davy.protocol.recorded import BRAKE_KEY
from davy.protocol.words import Height, Netuid

KEPT: Final = 64
"""As many as heads may wait for a subscriber."""
_OF_ALL: Final = frozenset({ACCESS.tag, BRAKE.tag, CHAIN.tag, MODELS.tag, REGISTRANTS.tag})
"""What orders can know of a model, and who may ask for it, hang on these, whatever subnet it is served on."""
_OF_ONE: Final = frozenset({NEURONS.tag, OUTCOMES.tag, SUBNETS.tag})
"""Their keys begin with a netuid."""


class News(NamedTuple):
    """Of one block. `changed` is None where it may be every subnet; `brake` is empty on a chain without keyholders."""

    height: Height
    changed: tuple[Netuid, ...] | None
    brake: bytes
    proof: bytes


class NewsOfBlocks:
    """Reads them off a machine, block after block, and keeps those of the last `KEPT`."""

    def __init__(self) -> None:
        self._machine: Machine | None = None
        self._running: dict[Netuid, tuple[int, int, int]] = {}
        self._told: dict[Height, News] = {}

    def note(self, machine: Machine, changes: Changes) -> News:
        """Take in the block that a machine applied last, by what it changed.

        Of the first one, and of the first of another machine, anything may have changed.
        """
        began = self._machine is not machine
        if began:
            self._machine, self._running = machine, {}
            self._run(machine, machine.state.need(CHAIN, b"", "the chain has no id").netuids)
        value, proof = machine.prove(BRAKE_KEY)
        brake, shown = (b"", b"") if value is None else (value, encode(proof))
        news = News(machine.height, None if began else self._changed(machine, changes), brake, shown)
        self._told[news.height] = news
        self._told.pop(news.height - KEPT, None)
        return news

    def about(self, height: Height) -> News | None:
        """What is kept of a block."""
        return self._told.get(height)

    def _changed(self, machine: Machine, changes: Changes) -> tuple[Netuid, ...] | None:
        netuids: set[Netuid] = set()
        ran: set[Netuid] = set()
        everywhere = False
        for key in (*changes.puts, *changes.deletes):
            tag = key[:1]
            if tag in _OF_ALL:
                everywhere = True
            elif tag in _OF_ONE:
                netuids.add(int.from_bytes(key[1:3], "big"))
            elif tag == RUNNING.tag:
                ran.add(int.from_bytes(key[1:3], "big"))
            elif tag in (HOTKEYS.tag, STAKES.tag):
                hotkey = machine.state.get(HOTKEYS, key[1:33])
                netuids |= set(hotkey.netuids) if hotkey else set()
        netuids |= self._run(machine, ran)
        return None if everywhere or len(netuids) > MAX_NEWS_SUBNETS else tuple(sorted(netuids))

    def _run(self, machine: Machine, netuids: Iterable[Netuid]) -> set[Netuid]:
        """Those whose epoch, its end or the number of neurons is another; what is pending grows all the time."""
        other: set[Netuid] = set()
        for netuid in netuids:
            r = machine.state.get(RUNNING, netuid.to_bytes(2, "big"))
            now = (0, 0, 0) if r is None else (r.epoch, r.ends, r.neurons)
            if self._running.get(netuid) != now:
                self._running[netuid] = now
                other.add(netuid)
        return other
