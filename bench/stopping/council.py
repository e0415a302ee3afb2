"""Five keyholders whose HALT key is dealt: three sign as a ceremony would, and the clock starts at the last share."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from davy.killswitch import frost
from davy.protocol.encoding import encode
from davy.protocol.order import Global, GroupKey, Halt, Lift, Order, OrderId, SignedOrder, order_id, reason_digest
from davy.protocol.roster import Roster, roster_digest
from davy.protocol.signing import Domain, prefix, sign
from davy.protocol.words import ChainId, UnixMillis
from tests.twins.dealer import begin, deal
from tests.twins.keyholders import pair

TERM_MS = 3_600_000


class Given(NamedTuple):
    """A signed order, and when its last share was asked for, in nanoseconds of the monotonic clock."""

    raw: bytes
    id: OrderId
    at: int


class Council:
    """Holds all shares, which no real one does; what it signs is what a ceremony over the network signs."""

    def __init__(self) -> None:
        self._halt = deal(3, 5)
        lift, self._lift = pair("lift")
        members = tuple(sorted(pair(f"member {n}")[0] for n in range(5)))
        self.roster = Roster(1, 0, self._halt.public.group_key, lift, 3, 4, members)

    def halt(self, chain: ChainId, now: UnixMillis) -> Given:
        """Halt everything; three of five sign."""
        body = self._body(chain, Halt(Global(), GroupKey.HALT), now, now + TERM_MS)
        message, (*others, last) = prefix(Domain.ORDER) + body, self._halt.some(3)
        begun = begin([*others, last], self._halt.public, message)

        def share(key: frost.KeyPackage) -> frost.SignatureShare:
            return frost.sign(key, self._halt.public, begun.nonces[key.identifier], begun.package, message)

        shares = [share(key) for key in others]
        at = time.monotonic_ns()
        shares.append(share(last))
        signature = frost.aggregate(self._halt.public, begun.package, shares)
        return Given(encode(SignedOrder(1, body, (signature,))), order_id(body), at)

    def lift(self, chain: ChainId, now: UnixMillis, halt: OrderId) -> bytes:
        """Let everything run again, so that the same hosts can be stopped once more."""
        body = self._body(chain, Lift((halt,)), now, 0)
        return encode(SignedOrder(1, body, (sign(self._lift, Domain.ORDER, body),)))

    def _body(self, chain: ChainId, action: Halt | Lift, now: UnixMillis, end: UnixMillis) -> bytes:
        digest, nonce = roster_digest(self.roster), os.urandom(16)
        return encode(Order(1, chain, 0, digest, action, reason_digest("a measurement"), now, end, nonce))
