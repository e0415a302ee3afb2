"""The gossip process itself: what `davy gossip` runs, started by a node and spoken to over standard input and output.

It ends when its input ends, so none is left behind by a node that was killed. It holds no key of the node's, only the
seed of its own libp2p identity, and it is bounded in memory and open files: what a stranger makes it spend ends this
process at worst, and its node starts it again.
"""

# trio types what it starts in a way that the type checker cannot resolve yet.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import contextlib
import logging
import os
import resource
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import trio

from davy.network.gossip.holding import Holding
from davy.network.gossip.link import Identity, quieten
from davy.network.gossip.mesh import Mesh
from davy.network.gossip.pipe import Begin, Frames, FromNode, FromProcess, Give, Heard, Meet, Settled, Up, framed
from davy.protocol.encoding import decode
from davy.protocol.errors import Malformed, Misconfigured
from davy.protocol.gossip import MAX_GOSSIP_FRAME_BYTES
from davy.protocol.ports import Clock

_BEGIN_S: Final = 30.0
_STATE_S: Final = 1.0
_MEMORY: Final = 2 * 1024 * 1024 * 1024
"""Of addresses; what is resident is a tenth of that."""
_FILES: Final = 256
_WAITING: Final = 1_024
"""Messages to the node that wait; a node that takes none any more is as good as gone."""

_WORD: Final[Any] = FromNode
_log = logging.getLogger(__name__)


def run_process(clock: Clock) -> None:
    """Speak with the node at standard input and output until it goes away.

    Raises
    ------
    Malformed, TooLarge
        What is at standard input is no node.
    Misconfigured
        The address cannot be listened on.
    """
    _bound(resource.RLIMIT_AS, _MEMORY)
    _bound(resource.RLIMIT_NOFILE, _FILES)
    quieten()
    out = os.dup(1)
    os.dup2(2, 1)  # what anything prints must not be taken for a message
    trio.run(_Process(clock, os.dup(0), out).run)


def _bound(which: int, most: int) -> None:
    _, hard = resource.getrlimit(which)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(which, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


class _Process:
    def __init__(self, clock: Clock, into: int, out: int) -> None:
        self._clock, self._in, self._out = clock, into, out
        self._all = trio.CancelScope()  # pyright: ignore[reportCallIssue]

    async def run(self) -> None:
        """Live as long as the node; it hears everything, or this ends."""
        with self._all:
            await self._live()

    async def _live(self) -> None:
        self._say, saying = trio.open_memory_channel[FromProcess](_WAITING)
        words = _words(trio.lowlevel.FdStream(self._in))
        with trio.fail_after(_BEGIN_S):
            begin = await anext(words, None)
        if begin is None:
            return
        if not isinstance(begin, Begin):
            raise Malformed("the first word of a node is how to begin")
        own = Identity(begin.seed)
        holding = Holding(begin.chain, begin.first[0], self._clock)
        mesh = Mesh(own, begin.chain, holding, self._clock, self._heard)
        try:
            listeners = await trio.open_tcp_listeners(begin.port, host=begin.host)
        except OSError as e:
            raise Misconfigured(f"cannot listen on {begin.host}:{begin.port} for gossip ({e.strerror})") from None
        port = int(listeners[0].socket.getsockname()[1])
        self._say.send_nowait(Up(port, own.public))
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._send, saying)
            tasks.start_soon(mesh.run, listeners[:1] if begin.port == 0 else listeners)
            tasks.start_soon(self._tell_state, mesh)
            async for word in words:
                match word:
                    case Meet(peers):
                        mesh.meet(peers)
                    case Give(orders):
                        mesh.give(orders)
                    case Settled(installs):
                        mesh.give(installs, on_record=True)
                    case Begin():
                        raise Malformed("a node says only once how to begin")
            tasks.cancel_scope.cancel()

    def _heard(self, news: Sequence[bytes]) -> None:
        try:
            self._say.send_nowait(Heard(tuple(news)))
        except trio.WouldBlock:
            _log.error("the node takes nothing more; ending, so that it begins anew with all of it")
            self._all.cancel()

    async def _tell_state(self, mesh: Mesh) -> None:
        while True:
            with contextlib.suppress(trio.WouldBlock):
                self._say.send_nowait(mesh.state)
            await trio.sleep(_STATE_S)

    async def _send(self, saying: trio.MemoryReceiveChannel[FromProcess]) -> None:
        out = trio.lowlevel.FdStream(self._out)
        async for message in saying:
            try:
                await out.send_all(framed(message))
            except trio.BrokenResourceError:
                self._all.cancel()


async def _words(stream: trio.lowlevel.FdStream) -> AsyncIterator[FromNode]:
    frames = Frames()
    async for data in stream:
        for body in frames.cut(bytes(data)):
            word: FromNode = decode(body, _WORD, limit=MAX_GOSSIP_FRAME_BYTES)
            yield word


def log_to_stderr() -> None:
    """Let warnings through, and nothing that a peer can cause at will."""
    logging.basicConfig(level=logging.WARNING, format="gossip: %(levelname)s %(message)s")
