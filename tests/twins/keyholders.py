"""Keyholders without a ceremony: group keys from a seed sign as a quorum would, since FROST verifies as Ed25519."""

from __future__ import annotations

import hashlib

from nacl import bindings

from davy.protocol.encoding import encode
from davy.protocol.order import GroupKey, Install, Order, OrderAction, SignedOrder, reason_digest, signing_key
from davy.protocol.roster import Roster, roster_digest
from davy.protocol.signing import Domain, sign
from davy.protocol.words import ChainId


def pair(seed: str) -> tuple[bytes, bytes]:
    return bindings.crypto_sign_seed_keypair(hashlib.sha256(seed.encode()).digest())


class Keyholders:
    """Five of them, three to halt and four to lift; `name` makes another roster of the same epoch."""

    def __init__(self, epoch: int = 0, name: str = "") -> None:
        self.secrets: dict[GroupKey, bytes] = {}
        public: dict[GroupKey, bytes] = {}
        for key in GroupKey:
            public[key], self.secrets[key] = pair(f"{key} {epoch} {name}")
        members = tuple(pair(f"member {n} {epoch} {name}")[0] for n in range(5))
        self.roster = Roster(1, epoch, public[GroupKey.HALT], public[GroupKey.LIFT], 3, 4, members)
        self.digest = roster_digest(self.roster)
        self._nonce = 0

    def order(self, chain: ChainId, action: OrderAction, issued: int, end: int = 0, reason: str = "a drill") -> Order:
        """Each has the next nonce, so two are never the same."""
        self._nonce += 1
        nonce = self._nonce.to_bytes(16, "big")
        return Order(1, chain, self.roster.epoch, self.digest, action, reason_digest(reason), issued, end, nonce)

    def sign(self, o: Order, successor: Keyholders | None = None) -> bytes:
        """The signed order's bytes; an INSTALL needs the keyholders that it installs."""
        body = encode(o)
        secrets = [self.secrets[signing_key(o.action)]]
        if isinstance(o.action, Install):
            assert successor is not None
            secrets += [successor.secrets[GroupKey.HALT], successor.secrets[GroupKey.LIFT]]
        return encode(SignedOrder(1, body, tuple(sign(s, Domain.ORDER, body) for s in secrets)))
