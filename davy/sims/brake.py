"""A brake and its keyholders in a simulation: real orders, the live join, the live verdict, and days instead of nodes.

FROST signatures verify as plain Ed25519, so a group key made from a seed signs as a quorum would; who is in the quorum
is for the attack to say. The ledger records each order as it is given.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from nacl import bindings

from davy.killswitch.brake import BrakeState, record, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.scope import ModelFacts, Subject
from davy.killswitch.verdict import Permitted, verdict
from davy.protocol.encoding import encode
from davy.protocol.limits import HALT_TERM_MS, LEASE_TERM_MS
from davy.protocol.manifest import ModelClass
from davy.protocol.order import (
    GroupKey,
    Halt,
    Lease,
    Lift,
    Models,
    Order,
    OrderAction,
    OrderId,
    SignedOrder,
    order_id,
    reason_digest,
    signing_key,
)
from davy.protocol.roster import Roster, check_roster, check_thresholds, roster_digest
from davy.protocol.signing import Domain, sign
from davy.protocol.words import UnixMillis

START: Final = 1_800_000_000_000
HOUR_MS: Final = 3_600_000
_CHAIN: Final = hashlib.sha256(b"a simulated chain").digest()
_MODEL: Final = hashlib.sha256(b"a simulated model").digest()


class Brake:
    """One model under one roster, on a ledger that records everything at once.

    Raises
    ------
    davy.protocol.errors.Malformed
        Thresholds that a roster cannot have.
    """

    def __init__(self, keyholders: int, halt: int, lift: int, *, systemic: bool) -> None:
        check_thresholds(halt, lift, keyholders)
        self._secrets, roster = _roster(keyholders, halt, lift)
        self._digest = roster_digest(roster)
        self._state = BrakeState(_CHAIN, roster)
        kind = ModelClass.SYSTEMIC if systemic else ModelClass.ORDINARY
        self._subject = Subject(1, b"\x01" * 32, ModelFacts(_MODEL, frozenset(), b"\x02" * 32), model_class=kind)
        self._given = 0

    def halt(self, at: UnixMillis, *, authority: GroupKey = GroupKey.HALT) -> OrderId:
        """For the longest term that there is."""
        return self._give(Halt(Models((_MODEL,), (), ()), authority), at, at + HALT_TERM_MS)

    def lift(self, at: UnixMillis, halts: list[OrderId]) -> None:
        self._give(Lift(tuple(sorted(halts))), at, 0)

    def lease(self, at: UnixMillis) -> None:
        """For the longest term that there is."""
        self._give(Lease((_MODEL,)), at, at + LEASE_TERM_MS)

    def runs(self, at: UnixMillis) -> bool:
        """Whether the verdict permits the model at a block of this time."""
        return isinstance(verdict(self._state, self._subject, Clocks(at, at)), Permitted)

    def _give(self, action: OrderAction, at: UnixMillis, end: UnixMillis) -> OrderId:
        self._given += 1
        nonce = self._given.to_bytes(16, "big")
        body = encode(Order(1, _CHAIN, 0, self._digest, action, reason_digest("a simulation"), at, end, nonce))
        raw = encode(SignedOrder(1, body, (sign(self._secrets[signing_key(action)], Domain.ORDER, body),)))
        taken = take(self._state, [raw])
        for _, error in taken.refused:
            raise error
        self._state = record(taken.state, {order_id(body): at})
        return order_id(body)


@lru_cache(maxsize=64)
def _roster(keyholders: int, halt: int, lift: int) -> tuple[dict[GroupKey, bytes], Roster]:
    pairs = {key: _pair(f"simulated {key}") for key in GroupKey}
    members = tuple(_pair(f"simulated member {n}")[0] for n in range(keyholders))
    roster = Roster(1, 0, pairs[GroupKey.HALT][0], pairs[GroupKey.LIFT][0], halt, lift, members)
    check_roster(roster)
    return {key: pair[1] for key, pair in pairs.items()}, roster


def _pair(seed: str) -> tuple[bytes, bytes]:
    return bindings.crypto_sign_seed_keypair(hashlib.sha256(seed.encode()).digest())
