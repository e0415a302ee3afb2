"""A subnet's time stands still while it is halted: no epoch ends, and nothing that is counted in blocks goes on.

A block is frozen for a subnet that is halted at its beginning and at its end, or at its end if an epoch was to end with
it. The end of the running epoch moves by the frozen blocks, and on to the next height that the subnet's epochs end at:
by a whole tempo with the first of each tempo of them. So its deadlines become later, never sooner, and no epoch is
cut short.
"""

from __future__ import annotations

from msgspec.structs import replace

from davy.ledger.rules.halts import permitted, subnet_subject
from davy.ledger.rules.records import CHAIN, RUNNING, SUBNETS, RunningRecord, subnet_key
from davy.ledger.rules.state import State
from davy.protocol.words import Moment


def halted_subnets(s: State, at: Moment) -> frozenset[int]:
    """The netuids that do nothing now."""
    netuids = s.need(CHAIN, b"", "the chain has no id").netuids
    return frozenset(n for n in netuids if not permitted(s, at, subnet_subject(s, n)))


def freeze(s: State, netuid: int) -> None:
    """Let a block not count for a subnet."""
    key = subnet_key(netuid)
    r = s.need(RUNNING, key, "a subnet without epochs")
    tempo = s.need(SUBNETS, key, "no such subnet").hyperparameters.tempo
    ends = r.ends if r.paused % tempo else r.ends + tempo
    s.put(RUNNING, key, replace(r, frozen=r.frozen + 1, paused=r.paused + 1, ends=ends))


def counted_blocks(running: RunningRecord, since: int, frozen: int, now: int) -> int:
    """Blocks from height `since`, when the subnet had been frozen for `frozen`, to `now`, without frozen ones."""
    return now - since - (running.frozen - frozen)
