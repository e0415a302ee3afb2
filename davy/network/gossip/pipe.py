"""What a node and its gossip process say to each other, over the process' standard input and output.

Frames are four bytes of length, big end first, then one message. Each side decodes the other strictly, as anything
from outside: the process holds a large library and speaks to strangers, so its node believes nothing that it says, and
an order out of it is verified by the guard like any other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from davy.protocol.brake_messages import SignedOrderBytes
from davy.protocol.encoding import Wire, encode
from davy.protocol.errors import TooLarge
from davy.protocol.gossip import MAX_GOSSIP_FRAME_BYTES, MAX_GOSSIP_ORDERS
from davy.protocol.limits import MAX_HOST_CHARS
from davy.protocol.roster import Roster
from davy.protocol.words import ChainId, PublicKey

MAX_MET: Final = 64
"""Peers that a process is told of."""
LENGTH: Final = struct.Struct(">I")

Port: TypeAlias = Annotated[int, Meta(ge=0, le=65_535)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**32 - 1)]
HostName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_HOST_CHARS)]
_Orders: TypeAlias = Annotated[tuple[SignedOrderBytes, ...], Meta(min_length=1, max_length=MAX_GOSSIP_ORDERS)]


class Met(Wire):
    """A peer that can be dialled."""

    host: HostName
    port: Port
    peer: PublicKey


class Begin(Wire, tag="begin"):
    """The first word of a node.

    `seed` is the secret of the libp2p identity, and stands in no argument and no file; `first` is the genesis' roster.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    chain: ChainId
    first: Annotated[tuple[Roster, ...], Meta(min_length=1, max_length=1)]
    seed: Annotated[bytes, Meta(min_length=32, max_length=32)]
    host: HostName
    port: Port


class Meet(Wire, tag="meet"):
    """Whom to dial from now on."""

    peers: Annotated[tuple[Met, ...], Meta(max_length=MAX_MET)]


class Give(Wire, tag="give"):
    """Orders that the node has taken in by another route."""

    orders: _Orders


class Settled(Wire, tag="settled"):
    """INSTALLs that stand on the ledger, as the node has seen proved: no rivals take their place here either."""

    installs: _Orders


class Up(Wire, tag="up"):
    """It listens."""

    port: Port
    peer: PublicKey


class Heard(Wire, tag="heard"):
    """Orders that verified here, from peers."""

    orders: _Orders


class State(Wire, tag="state"):
    """Said every second or two; a process that is silent for long is taken for hung."""

    dialled: Count
    accepted: Count
    banned: Count


FromNode: TypeAlias = Begin | Meet | Give | Settled
FromProcess: TypeAlias = Up | Heard | State


def framed(message: Wire) -> bytes:
    """Return a message with its length before it."""
    body = encode(message)
    return LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a stream of bytes into messages. What it keeps is bounded by one frame and one read."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def cut(self, data: bytes) -> Iterator[bytes]:
        """Take bytes in; yield every message that is whole.

        Raises
        ------
        TooLarge
            A message announces more than `MAX_GOSSIP_FRAME_BYTES`: nothing after it can be read.
        """
        self._kept += data
        while len(self._kept) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._kept)
            if length > MAX_GOSSIP_FRAME_BYTES:
                raise TooLarge(f"a message of {length} bytes, where at most {MAX_GOSSIP_FRAME_BYTES} are taken")
            end = LENGTH.size + length
            if len(self._kept) < end:
                return
            body = bytes(self._kept[LENGTH.size : end])
            del self._kept[:end]
            yield body


def batches(raws: Iterable[bytes]) -> Iterator[tuple[bytes, ...]]:
    """Cut orders into parts that each fit into one message, in their sequence."""
    part: list[bytes] = []
    size = 0
    for raw in raws:
        size += len(raw) + 5
        if part and (size > MAX_GOSSIP_FRAME_BYTES - 1_024 or len(part) == MAX_GOSSIP_ORDERS):
            yield tuple(part)
            part, size = [], len(raw) + 5
        part.append(raw)
    if part:
        yield tuple(part)


def first_batch(raws: Sequence[bytes]) -> tuple[bytes, ...]:
    """As many of them, from the first on, as fit into one message."""
    return next(batches(raws), ())
