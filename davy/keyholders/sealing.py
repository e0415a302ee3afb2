"""Shares on their way from one keyholder to another, past whoever carries them: boxes with keys of one ceremony."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeVar

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey
from nacl.public import PublicKey as BoxKey

from davy.keyholders.circle import Circle
from davy.keyholders.messages import Sealed
from davy.killswitch.dkg import Round2Share
from davy.killswitch.group import number
from davy.killswitch.repair import Delta, Sigma
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Malformed, Misbehaved, Misdirected
from davy.protocol.limits import MAX_CEREMONY_BYTES
from davy.protocol.ports import Entropy
from davy.protocol.words import PublicKey

S = TypeVar("S", Round2Share, Delta, Sigma)

_NONCE_BYTES: Final = 24


class Envelopes(NamedTuple):
    """One keyholder's in one ceremony: `keys` are the X25519 keys that the others signed for it."""

    circle: Circle
    own: PublicKey
    private: PrivateKey
    keys: Mapping[PublicKey, bytes]

    def seal(self, share: Round2Share | Delta | Sigma, recipient: PublicKey, entropy: Entropy) -> Sealed:
        box = Box(self.private, BoxKey(self.keys[recipient]))
        return Sealed(self.own, recipient, bytes(box.encrypt(encode(share), entropy.bytes(_NONCE_BYTES))))

    def seal_to_member(self, share: Round2Share | Delta, entropy: Entropy) -> Sealed:
        return self.seal(share, self.circle.keys[number(share.recipient) - 1], entropy)

    def open(self, sealed: Sealed, kind: type[S]) -> S:
        """Decrypt what another keyholder of the ceremony sent.

        Raises
        ------
        Misdirected
            It is for another keyholder, or of one who takes no part.
        Misbehaved
            It cannot be read, or its sender writes in another's name.
        Unauthorised
            It is of a stranger.
        """
        sender = self.circle.holder(sealed.sender)
        if sealed.recipient != self.own or sender.key not in self.keys:
            raise Misdirected("a share is for another keyholder, or of one who takes no part; drop it")
        culprit = [self.circle.identifier(sender.key)]
        try:
            inside = Box(self.private, BoxKey(self.keys[sender.key])).decrypt(sealed.box)
            share = decode(inside, kind, limit=MAX_CEREMONY_BYTES)
        except (CryptoError, ValueError, Malformed):
            told = f"the share of {sender.name} cannot be read: its box was changed on the way, or {sender.name} cheats"
            raise Misbehaved(f"{told}; begin again", culprit) from None
        if share.sender != culprit[0]:
            raise Misbehaved(f"{sender.name} sent a share in another's name; begin again", culprit)
        return share
