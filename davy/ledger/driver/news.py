"""What is told of a new block beside its header, so that whoever follows the chain need not ask after every block.

The brake as it stands after the block, with its proof, which the next header completes; and the subnets on which nodes
have something to look up. The second is a hint, as good as the ledger that gives it, and so is what would be looked up.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from davy.ledger.rules.machine import Machine
from davy.ledger.rules.records import (
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

_OF_ALL: Final = frozenset({BRAKE.tag, CHAIN.tag, MODELS.tag, REGISTRANTS.tag})
"""What orders can know of a model hangs on these, whatever subnet it is served on."""
_OF_ONE: Final = frozenset({NEURONS.tag, OUTCOMES.tag, SUBNETS.tag})
"""Their keys begin with a netuid."""


class News(NamedTuple):
    """Of one block. `changed` is None where it may be every subnet; `brake` is empty on a chain without keyholders."""

    height: Height
    changed: tuple[Netuid, ...] | None
    brake: bytes
    proof: bytes


class NewsOfBlocks:
    """Reads them off a machine, block after block."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._running: dict[Netuid, tuple[int, int, int]] = {}
        self._run(self._machine.state.need(CHAIN, b"", "the chain has no id").netuids)

    def of(self, changes: Changes) -> News:
        """Of the block that was applied last, by what it changed."""
        value, proof = self._machine.prove(BRAKE_KEY)
        brake, shown = (b"", b"") if value is None else (value, encode(proof))
        return News(self._machine.height, self._changed(changes), brake, shown)

    def _changed(self, changes: Changes) -> tuple[Netuid, ...] | None:
        state = self._machine.state
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
                hotkey = state.get(HOTKEYS, key[1:33])
                netuids |= set(hotkey.netuids) if hotkey else set()
        netuids |= self._run(ran)
        return None if everywhere or len(netuids) > MAX_NEWS_SUBNETS else tuple(sorted(netuids))

    def _run(self, netuids: set[Netuid] | tuple[Netuid, ...]) -> set[Netuid]:
        """Those whose epoch, its end or the number of neurons is another; what is pending grows all the time."""
        other: set[Netuid] = set()
        for netuid in netuids:
            r = self._machine.state.get(RUNNING, netuid.to_bytes(2, "big"))
            now = (0, 0, 0) if r is None else (r.epoch, r.ends, r.neurons)
            if self._running.get(netuid) != now:
                self._running[netuid] = now
                other.add(netuid)
        return other
