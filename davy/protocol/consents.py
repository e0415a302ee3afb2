"""What one key signs so that another may name it: as a hotkey's child, a coldkey's successor, its producer."""

from __future__ import annotations

from davy.protocol.encoding import Wire, encode
from davy.protocol.signing import Domain, digest
from davy.protocol.words import ChainId, Coldkey, Digest, Height, Hotkey, Netuid, PublicKey


class _Child(Wire):
    version: int
    chain: ChainId
    netuid: Netuid
    parent: Hotkey
    child: Hotkey
    epoch: Height


def child_consent(chain: ChainId, netuid: Netuid, parent: Hotkey, child: Hotkey, epoch: Height) -> bytes:
    """What a hotkey signs, in the domain CHILD, to be lent another's stake; it is good in one epoch of the subnet."""
    return encode(_Child(1, chain, netuid, parent, child, epoch))


class _Succession(Wire):
    version: int
    chain: ChainId
    coldkey: Coldkey
    successor: Coldkey


def successor_digest(chain: ChainId, coldkey: Coldkey, successor: Coldkey) -> Digest:
    """What a coldkey announces of its successor, in the domain SUCCESSOR: nobody can tell which key it is."""
    return digest(Domain.SUCCESSOR, encode(_Succession(1, chain, coldkey, successor)))


def succession_consent(chain: ChainId, coldkey: Coldkey, successor: Coldkey) -> bytes:
    """What a coldkey's successor signs, in the domain SUCCESSION."""
    return encode(_Succession(1, chain, coldkey, successor))


class _Producer(Wire):
    version: int
    chain: ChainId
    coldkey: Coldkey
    producer: PublicKey


def producer_consent(chain: ChainId, coldkey: Coldkey, producer: PublicKey) -> bytes:
    """What a producer's key signs, in the domain PRODUCER, for the coldkey that registers it."""
    return encode(_Producer(1, chain, coldkey, producer))
