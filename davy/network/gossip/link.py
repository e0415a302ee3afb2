"""One connection by libp2p: TCP, Noise, Yamux, one stream, messages. This file alone knows that library.

What is used of it are the parts from which it builds its own hosts, not the host: that one ends the process on what a
stranger sends, and never gives back the place of a connection that came in (docs/decisions/gossip.md). Here every
connection lives in a block of its own, with all of its tasks; what goes wrong in it leaves that block as an exception.

Noise is the only security that is offered, to both sides: no peer can be talked into plain text.
"""

# The library is typed in part only.
# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUntypedBaseClass=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import trio
from libp2p.crypto.ed25519 import Ed25519PublicKey, create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_keys
from libp2p.custom_types import TProtocol
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.upgrader import TransportUpgrader

from davy.network.gossip.pipe import LENGTH, framed
from davy.network.meter import Bucket, Rate, refilled
from davy.protocol.encoding import Wire
from davy.protocol.errors import TooLarge, Unauthorised, Unreachable
from davy.protocol.gossip import MAX_GOSSIP_FRAME_BYTES
from davy.protocol.words import PublicKey

_READ: Final = 16 * 1024
_FAREWELL_S: Final = 1.0


class Limits(NamedTuple):
    """What one connection may take."""

    rate: Rate
    """Bytes that are read; what is beyond waits in the peer's own kernel."""
    greeting_s: float
    silence_s: float


class Identity:
    """A peer's own keys. Noise's are made anew each time and signed with the lasting one, as libp2p has it."""

    def __init__(self, seed: bytes) -> None:
        keys = create_new_key_pair(seed)
        noise = NoiseTransport(keys, noise_privkey=create_noise_keys().private_key)
        self.public: PublicKey = keys.public_key.to_bytes()
        self.upgrader = TransportUpgrader({NOISE: noise}, {TProtocol(YAMUX): Yamux})


class Stream:
    """Messages over one stream of one connection."""

    def __init__(self, peer: PublicKey, stream: Any, silence_s: float) -> None:
        self.peer = peer
        self._stream, self._silence_s = stream, silence_s
        self._kept = bytearray()

    async def send(self, message: Wire) -> None:
        """Send a message.

        Raises
        ------
        Unreachable
            The peer takes nothing more.
        """
        with trio.move_on_after(self._silence_s) as limit:
            await self._stream.write(framed(message))
        if limit.cancelled_caught:
            raise Unreachable("the peer takes nothing")

    async def receive(self) -> bytes:
        """Return the bytes of the next message.

        Raises
        ------
        TooLarge
            It announces more than `MAX_GOSSIP_FRAME_BYTES`.
        Unreachable
            The peer has been silent for too long.
        """
        with trio.move_on_after(self._silence_s):
            (length,) = LENGTH.unpack(await self._exactly(LENGTH.size))
            if length > MAX_GOSSIP_FRAME_BYTES:
                raise TooLarge(f"a message of {length} bytes, where at most {MAX_GOSSIP_FRAME_BYTES} are taken")
            return await self._exactly(length)
        raise Unreachable("the peer is silent")

    async def _exactly(self, n: int) -> bytes:
        while len(self._kept) < n:
            data = await self._stream.read(_READ)
            if not data:
                raise Unreachable("the peer has hung up")
            self._kept += data
        taken = bytes(self._kept[:n])
        del self._kept[:n]
        return taken


class _Slowed(TrioTCPStream):
    """TCP that reads no faster than `rate`, whatever the layers above ask for."""

    def __init__(self, stream: trio.SocketStream, rate: Rate) -> None:
        super().__init__(stream)
        self._rate = rate
        self._bucket = Bucket(float(rate.burst), _now())

    async def read(self, n: int | None = None) -> bytes:
        data = await super().read(_READ if n is None else min(n, _READ))
        now = _now()
        self._bucket.level, self._bucket.at = refilled(self._bucket, now, self._rate) - len(data), now
        if self._bucket.level < 0:
            await trio.sleep(-self._bucket.level / self._rate.a_second)
        return data


@asynccontextmanager
async def connected(
    tcp: trio.SocketStream, own: Identity, protocol: str, limits: Limits, to: PublicKey | None = None
) -> AsyncGenerator[Stream]:
    """Speak `protocol` over a TCP connection, which is closed at the end.

    Parameters
    ----------
    to
        Whom it was dialled to reach; None for one that came in.

    Raises
    ------
    Unauthorised
        Another peer answers, or one without an Ed25519 key.
    Exception
        Whatever the library raises where the other side does not speak as it should.
    """
    try:
        async with trio.open_nursery() as tasks:
            with trio.fail_after(limits.greeting_s):
                muxed, peer = await _secured(_Slowed(tcp, limits.rate), own, to)
                tasks.start_soon(_until_it_ends, muxed)
                await muxed.event_started.wait()
                stream = await _stream(muxed, protocol, dialled=to is not None)
            yield Stream(peer, stream, limits.silence_s)
            with trio.move_on_after(_FAREWELL_S):
                await stream.close()
            tasks.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(tcp)


async def _until_it_ends(muxed: Any) -> None:
    """Whoever reads from one of its streams may not be woken when the connection ends."""
    await muxed.start()
    raise Unreachable("the peer has hung up")


async def _secured(tcp: _Slowed, own: Identity, to: PublicKey | None) -> tuple[Any, PublicKey]:
    wanted = None if to is None else ID.from_pubkey(Ed25519PublicKey.from_bytes(to))
    secured = await own.upgrader.upgrade_security(RawConnection(tcp, wanted is not None), wanted is not None, wanted)
    name = secured.get_remote_peer()
    key = name.extract_public_key()  # the session's own public key is Noise's, not the peer's
    if not isinstance(key, Ed25519PublicKey):
        raise Unauthorised("the peer shows no Ed25519 key")
    peer = key.to_bytes()
    if to is not None and peer != to:
        raise Unauthorised("another peer answers there")
    return await own.upgrader.upgrade_connection(secured, name), peer


async def _stream(muxed: Any, protocol: str, *, dialled: bool) -> Any:
    if dialled:
        stream = await muxed.open_stream()
        await MultiselectClient().select_one_of([TProtocol(protocol)], MultiselectCommunicator(stream))
    else:
        stream = await muxed.accept_stream()
        await Multiselect({TProtocol(protocol): None}).negotiate(MultiselectCommunicator(stream))
    return stream


def quieten() -> None:
    """Leave unsaid what the library says of strangers: anybody could fill a log with it."""
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)


def _now() -> int:
    return int(trio.current_time() * 1000)
