"""A gossip process among peers that do not speak as they should: it goes on, the same one, and serves the honest."""

# The library is typed in part only, and is not there everywhere.
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import os
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

pytest.importorskip("libp2p", reason="the extra gossip is not installed (make gossip)")

import trio
from libp2p.custom_types import TProtocol
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from libp2p.security.secio.transport import ID as SECIO
from libp2p.security.secio.transport import Transport as Secio
from libp2p.stream_muxer.mplex.mplex import MPLEX_PROTOCOL_ID, Mplex
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.exceptions import SecurityUpgradeFailure
from libp2p.transport.upgrader import TransportUpgrader

from davy.network.gossip.holding import Holding, Learned
from davy.network.gossip.link import Identity, Limits, Stream, connected
from davy.network.gossip.mesh import Mesh
from davy.network.gossip.pipe import Met
from davy.network.gossip.standing import Bounds
from davy.network.meter import Rate
from davy.protocol.encoding import decode
from davy.protocol.gossip import Ask, Page, PeerMessage, Tell, gossip_protocol
from tests.killswitch.story import Story
from tests.network.gossip.peers import PATIENCE_S, nodes
from tests.twins import WallClock
from tests.twins.keyholders import Keyholders

pytestmark = pytest.mark.anyio
LIMITS = Limits(Rate(1e8, 10**8), PATIENCE_S, PATIENCE_S)
MESSAGE: Any = PeerMessage


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


class Target:
    """A process, and how it is reached from here."""

    def __init__(self, story: Story, at: Met) -> None:
        self.story, self.at = story, at
        self.protocol = gossip_protocol(story.chain)
        self.open: list[trio.SocketStream] = []
        self._seed = 0

    def seed(self) -> bytes:
        """Nobody's yet."""
        self._seed += 1
        return self._seed.to_bytes(32, "big")

    async def __aenter__(self) -> Target:
        return self

    async def __aexit__(self, *_: object) -> None:
        for tcp in self.open:
            await trio.aclose_forcefully(tcp)

    async def tcp(self) -> trio.SocketStream:
        self.open.append(await trio.open_tcp_stream(self.at.host, self.at.port))
        return self.open[-1]

    @asynccontextmanager
    async def stream(self, seed: bytes = b"", **changes: Any) -> AsyncGenerator[Stream]:
        given = {"protocol": self.protocol, "limits": LIMITS, "to": self.at.peer} | changes
        async with connected(await self.tcp(), Identity(seed or self.seed()), **given) as stream:
            yield stream

    async def page(self, seed: bytes = b"") -> Page:
        """What it answers to an honest peer, who dials again where attackers have used up what their address may."""
        with trio.fail_after(PATIENCE_S):
            while True:
                try:
                    async with self.stream(seed) as stream:
                        await stream.send(Ask(bytes(32), ()))
                        return await answered(stream)
                except* SecurityUpgradeFailure:
                    await trio.sleep(1)

    async def secured(self, seed: bytes) -> Any:
        """Noise, and nothing above it yet."""
        own = Identity(seed)
        tcp = RawConnection(TrioStream(await self.tcp()), True)
        return await own.upgrader.upgrade_security(tcp, True, peer_id(self.at.peer))


def peer_id(key: bytes) -> Any:
    from libp2p.crypto.ed25519 import Ed25519PublicKey
    from libp2p.peer.id import ID

    return ID.from_pubkey(Ed25519PublicKey.from_bytes(key))


def TrioStream(tcp: trio.SocketStream) -> Any:  # noqa: N802 - the library's class by a shorter name
    from libp2p.io.trio import TrioTCPStream

    return TrioTCPStream(tcp)


async def answered(stream: Stream) -> Page:
    while True:
        message = decode(await stream.receive(), MESSAGE, limit=1 << 16)
        if isinstance(message, Page):
            return message


async def ended(target: Target, seed: bytes, write: Callable[[Stream], Awaitable[None]]) -> bool:
    """Whether the process ends a connection after something was written, and answers nothing before."""
    with trio.move_on_after(PATIENCE_S):
        try:
            async with target.stream(seed) as stream:
                await write(stream)
                await answered(stream)
                return False
        except Exception:  # whatever the library makes of it
            return True
    return False


HELLO = b"\x13/multistream/1.0.0\n"
JUNK = (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4_096), HELLO + os.urandom(99), HELLO + b"\xff" * 64, HELLO)


async def raw_junk(target: Target) -> None:
    """All of it is let go, at the latest when it has not said who it is for ten seconds."""

    async def send(junk: bytes) -> None:
        async with await target.tcp() as tcp:
            try:
                await tcp.send_all(junk)
                with trio.fail_after(PATIENCE_S):
                    while await tcp.receive_some(4_096):
                        pass
            except trio.BrokenResourceError:
                pass

    async with trio.open_nursery() as tasks:
        for junk in JUNK:
            tasks.start_soon(send, junk)


async def silent_connections(target: Target) -> None:
    """They stay open, and each costs the process a place for ten seconds."""
    for _ in range(4):
        await target.tcp()


async def junk_instead_of_yamux(target: Target) -> None:
    """Whoever has made a key can get so far."""
    for junk in (os.urandom(500), struct.pack("!BBHII", 0, 0, 1, 1, 2**32 - 1) + os.urandom(70_000)):
        secured = await target.secured(target.seed())
        muxer = await Identity(target.seed()).upgrader.muxer_multistream.select_transport(secured)
        assert muxer is Yamux
        await secured.write(junk)
        await secured.close()


async def many_streams(target: Target) -> None:
    own = Identity(target.seed())
    secured = await own.upgrader.upgrade_security(
        RawConnection(TrioStream(await target.tcp()), True), True, peer_id(target.at.peer)
    )
    muxed = await own.upgrader.upgrade_connection(secured, peer_id(target.at.peer))
    async with trio.open_nursery() as tasks:
        tasks.start_soon(muxed.start)
        await muxed.event_started.wait()
        for _ in range(100):
            await muxed.open_stream()
        tasks.cancel_scope.cancel()


async def another_chain(target: Target) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the library makes of a protocol that is refused
        async with target.stream(protocol=gossip_protocol(bytes(32))):
            raise AssertionError("a peer of another chain was let in")


async def banned(target: Target, write: Callable[[Stream], Awaitable[None]]) -> None:
    """Do it, and see that this peer is not talked with any more."""
    seed = target.seed()
    assert await ended(target, seed, write)
    assert await ended(target, seed, lambda s: s.send(Ask(bytes(32), ()))), "a banned peer came in again"


def raw(stream: Stream, data: bytes) -> Awaitable[None]:
    return stream._stream.write(data)  # pyright: ignore[reportPrivateUsage] - what no message is


async def oversized(target: Target) -> None:
    await banned(target, lambda s: raw(s, struct.pack(">I", 2**31)))


async def malformed(target: Target) -> None:
    await banned(target, lambda s: raw(s, struct.pack(">I", 3) + b"\xc1\xc1\xc1"))


async def unasked_page(target: Target) -> None:
    await banned(target, lambda s: s.send(Page(bytes(32), (), False)))


async def forged_order(target: Target) -> None:
    forged = bytearray(target.story.given[target.story.halt(0, 2, quietly=True)])
    forged[-3] ^= 1
    await banned(target, lambda s: s.send(Tell(bytes(32), (bytes(forged),))))


async def odd_orders(target: Target) -> None:
    """Of keyholders that nobody knows: not forged for sure, but only so many of them are looked at."""
    strangers = Keyholders(3)
    raws = [target.story.given[target.story.halt(0, 2 + n / 100, by=strangers, quietly=True)] for n in range(80)]

    async def send(stream: Stream) -> None:
        for one in raws:
            await stream.send(Tell(bytes(32), (one,)))

    await banned(target, send)


async def flood(target: Target) -> None:
    """More words than are taken in a second: they wait, and others are served meanwhile."""
    async with target.stream() as stream, trio.open_nursery() as tasks:

        async def pour() -> None:
            while True:
                await stream.send(Ask(bytes(32), ()))

        tasks.start_soon(pour)
        for _ in range(3):
            assert (await target.page()).orders
        tasks.cancel_scope.cancel()


ATTACKS = [
    raw_junk, silent_connections, junk_instead_of_yamux, many_streams, another_chain,
    oversized, malformed, unasked_page, forged_order, odd_orders, flood,
]  # fmt: skip


async def test_nothing_that_a_peer_sends_ends_the_process() -> None:
    story = Story()
    halt = story.given[story.halt(0, 3)]
    async with nodes(story, 1) as (node,), Target(story, node.met) as target:
        await node.guard.receive(halt)
        pid = node.route.pid
        for attack in ATTACKS:
            await attack(target)
            assert (await target.page()).orders == (halt,), attack.__name__
            assert (node.route.pid, node.route.starts) == (pid, 1), attack.__name__
        assert node.guard.head == story_head(node.guard), "nothing but the halt was taken in"
        await node.until(lambda: node.route.state.banned == 5)


def story_head(guard: Any) -> bytes:
    assert len(guard.state.orders) == 1
    return guard.head


@pytest.mark.parametrize("security", [PLAINTEXT_PROTOCOL_ID, SECIO])
async def test_only_noise_is_spoken(security: str) -> None:
    """Both sides' own defaults would be spoken by the library: plain text lets anybody pose as any peer."""
    story = Story()
    async with mesh(story) as (met, _), Target(story, met) as target:
        from libp2p.crypto.ed25519 import create_new_key_pair

        keys = create_new_key_pair(bytes(31) + b"\x07")
        transport = InsecureTransport(keys) if security == PLAINTEXT_PROTOCOL_ID else Secio(keys)
        other = TransportUpgrader({TProtocol(security): transport}, {TProtocol(YAMUX): Yamux})
        tcp = RawConnection(TrioStream(await target.tcp()), True)
        with trio.fail_after(PATIENCE_S), pytest.raises(Exception) as refused:  # noqa: PT011
            await other.upgrade_security(tcp, True, peer_id(met.peer))
        assert "negotiate" in str(refused.value)
        assert (await target.page()).orders == ()


async def test_only_yamux_is_spoken() -> None:
    story = Story()
    async with mesh(story) as (met, _), Target(story, met) as target:
        secured = await target.secured(target.seed())
        other = TransportUpgrader({}, {TProtocol(MPLEX_PROTOCOL_ID): Mplex})
        with trio.fail_after(PATIENCE_S), pytest.raises(Exception) as refused:  # noqa: PT011
            await other.upgrade_connection(secured, peer_id(met.peer))
        assert "negotiate" in str(refused.value)


async def test_who_poses_as_another_peer_is_not_talked_with() -> None:
    story = Story()
    async with mesh(story) as (met, _), Target(story, met) as target:
        wanted = Identity(bytes(32)).public
        with pytest.raises(Exception) as refused:  # noqa: PT011
            async with target.stream(to=wanted):
                raise AssertionError("another peer was taken for the one that was dialled")
        assert "AssertionError" not in repr(refused.value)


class Raising(Holding):
    """A handler with a fault in it."""

    raised = 0

    def learn(self, raws: Any, *, on_record: bool = False) -> Learned:
        self.raised += 1
        raise RuntimeError("a fault")


async def test_a_handler_that_raises_ends_its_own_connection_only() -> None:
    story = Story()
    holding = Raising(story.chain, story.keyholders.roster, WallClock())
    async with mesh(story, holding) as (met, _), Target(story, met) as target:
        async with target.stream() as other:
            assert await ended(target, target.seed(), lambda s: s.send(Tell(bytes(32), (b"order",))))
            assert holding.raised == 1
            await other.send(Ask(bytes(32), ()))
            assert (await answered(other)).orders == ()
        assert (await target.page()).orders == ()


async def test_strangers_take_no_place_from_peers_that_are_known() -> None:
    story = Story()
    few = mesh(story, bounds=Bounds(accepted=2))
    async with few as (met, one), Target(story, met) as target, trio.open_nursery() as tasks:

        async def stay() -> None:
            with suppress(Exception):
                async with target.stream():
                    await trio.sleep_forever()

        tasks.start_soon(stay)
        tasks.start_soon(stay)
        await until(lambda: one.state.accepted == 2)
        assert await ended(target, target.seed(), lambda s: s.send(Ask(bytes(32), ())))
        seed = target.seed()
        one.meet([Met("127.0.0.1", 1, Identity(seed).public)])
        assert (await target.page(seed)).orders == ()
        tasks.cancel_scope.cancel()


async def test_one_address_does_not_keep_others_out() -> None:
    """Connections that come in are counted by address; whom the process dials it goes on to dial."""
    story = Story()
    few = Bounds(address=Rate(0.001, 3), all_addresses=Rate(0.001, 3))
    shut, other = mesh(story, bounds=few), mesh(story, seed=b"\x02" * 32)
    async with shut as (met, one), other as (friend, _), Target(story, met) as target:
        for _ in range(3):
            await target.page()
        assert await ended(target, target.seed(), lambda s: s.send(Ask(bytes(32), ())))
        one.meet([friend])
        await until(lambda: one.state.dialled == 1)


async def until(so: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not so():  # noqa: ASYNC110 - a mesh tells nobody of its peers
            await trio.sleep(0.01)


@asynccontextmanager
async def mesh(
    story: Story, holding: Holding | None = None, bounds: Bounds | None = None, seed: bytes = b"\x01" * 32
) -> AsyncGenerator[tuple[Met, Mesh]]:
    """The process' inside, in this one."""
    own, clock = Identity(seed), WallClock()
    holding = holding or Holding(story.chain, story.keyholders.roster, clock)
    one = Mesh(own, story.chain, holding, clock, lambda _: None, bounds)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as tasks:
        tasks.start_soon(one.run, [listener])
        yield Met("127.0.0.1", listener.socket.getsockname()[1], own.public), one
        tasks.cancel_scope.cancel()
