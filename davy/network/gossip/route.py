"""A node's end of the libp2p route: it starts the gossip process, tells it orders, takes in what it hears.

The process is watched: when it ends, or says nothing for long, it is ended for good and started again, after a pause
that grows from one second to a minute. The node's brake does not depend on it: nothing is permitted or stopped because
the process lives or dies, and what it brings is verified by the guard as if a stranger had brought it. That does not
count as a pull (`Guard.pulled`): peers of gossip may all be one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, cast

import anyio
import anyio.abc

from davy.killswitch.guard import Guard
from davy.network.gossip.pipe import (
    MAX_MET,
    Begin,
    Frames,
    FromProcess,
    Give,
    Heard,
    Meet,
    Met,
    Settled,
    State,
    Up,
    batches,
    framed,
)
from davy.protocol.encoding import Wire, decode
from davy.protocol.errors import DavyError, Malformed, Misconfigured
from davy.protocol.gossip import MAX_GOSSIP_FRAME_BYTES, GossipPlace
from davy.protocol.order import OrderId
from davy.protocol.ports import Clock, KeyStore
from davy.protocol.signing import Domain, digest
from davy.protocol.words import KeyRole

_FIRST_PAUSE_MS: Final = 1_000
_LONGEST_PAUSE_MS: Final = 60_000
_STEADY_MS: Final = 120_000
"""After living so long a process that ends is started again after the first pause."""
_START_S: Final = 300.0
"""To load its packages and to listen, on a machine that has other things to do."""
_SILENCE_S: Final = 60.0
_FAREWELL_S: Final = 2.0
_REMEMBERED: Final = 8_192

_WORD: Final[Any] = FromProcess
_log = logging.getLogger(__name__)


class Listening(NamedTuple):
    """Where the gossip process listens; port 0 takes a free one."""

    host: str
    port: int


def gossip_seed(keys: KeyStore, chain: bytes) -> bytes:
    """The secret of a node's libp2p identity on a chain, 32 bytes: it follows from the hotkey, and is stored nowhere.

    Ed25519 signs the same bytes the same way each time, so the identity lasts. From the seed nothing follows about the
    hotkey; whoever steals it can only pose as this peer.
    """
    return digest(Domain.GOSSIP, keys.sign(KeyRole.HOTKEY, Domain.GOSSIP, chain))


class GossipRoute:
    """Orders by libp2p, both ways; `run` lives as long as the node.

    Parameters
    ----------
    keys
        With an open hotkey.
    launch
        The words that start a gossip process.
    """

    def __init__(self, guard: Guard, keys: KeyStore, clock: Clock, launch: Sequence[str], at: Listening) -> None:
        self._guard, self._keys, self._clock = guard, keys, clock
        self._launch, self._at = tuple(launch), at
        self._met: tuple[Met, ...] = ()
        self._changed, self._wake = anyio.Event(), anyio.Event()
        self.place: GossipPlace | None = None
        """Where peers reach the process; None while there is none."""
        self.state = State(0, 0, 0)
        """What the process said last of its peers."""
        self.pid: int | None = None
        self.starts = 0

    def meet(self, peers: Iterable[Met]) -> None:
        """Let the process dial these, `MAX_MET` at most, and no others."""
        met = tuple(peers)[:MAX_MET]
        if met != self._met:
            self._met = met
            self._wake.set()

    async def run(self) -> None:
        """Keep a process going until cancelled; nothing that it does ends this."""
        if self._guard.state.first is None:
            await anyio.sleep_forever()  # nobody can halt this chain
        pause = _FIRST_PAUSE_MS
        while True:
            began = self._clock.now()
            why = "it ended"
            try:
                await self._live()
            except Exception as e:
                why = _first(e)
            self.place, self.pid, self.state = None, None, State(0, 0, 0)
            self._notify()
            if self._clock.now() - began >= _STEADY_MS:
                pause = _FIRST_PAUSE_MS
            _log.warning("no orders by libp2p for %d s: %s; the other routes go on", pause // 1000, why)
            await self._clock.sleep_until(self._clock.now() + pause)
            pause = min(2 * pause, _LONGEST_PAUSE_MS)

    async def change(self) -> None:
        """Wait until a process begins, ends, or says something new of its peers."""
        await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _live(self) -> None:
        process = await anyio.open_process(self._launch, stderr=None, start_new_session=True)
        self.starts += 1
        self.pid = process.pid
        try:
            if process.stdin is None or process.stdout is None:
                raise Misconfigured("the gossip process was started without pipes")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch)
                tasks.start_soon(self._talk, process.stdin)
                await self._listen(process.stdout)
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)

    async def _talk(self, to: anyio.abc.ByteSendStream) -> None:
        chain, first = self._guard.chain, self._guard.state.first
        roster = () if first is None else (first,)
        begin = Begin(1, chain, roster, gossip_seed(self._keys, chain), self._at.host, self._at.port)
        await _say(to, begin)
        given: dict[OrderId, None] = {}
        settled: set[OrderId] = set()
        met: tuple[Met, ...] = ()
        while True:
            self._wake = anyio.Event()
            if met != self._met:
                met = self._met
                await _say(to, Meet(met))
            state = self._guard.state
            installs = [link.install for link in state.succession.links if link.install in state.recorded]
            for part in batches(state.orders[i].raw for i in installs if i not in settled):
                await _say(to, Settled(part))
            settled = set(installs)
            known = {v.id: v.raw for v in (*state.orders.values(), *self._guard.obeyed)}
            for part in batches(raw for i, raw in known.items() if i not in given):
                await _say(to, Give(part))
            given = dict.fromkeys(known)
            await self._wake.wait()

    async def _watch(self) -> None:
        while True:
            self._wake.set()
            await self._guard.change()

    async def _listen(self, source: anyio.abc.ByteReceiveStream) -> None:
        frames = Frames()
        patience = _START_S
        while True:
            with anyio.fail_after(patience):
                data = await source.receive()
            for body in frames.cut(data):
                await self._hear(decode(body, _WORD, limit=MAX_GOSSIP_FRAME_BYTES))
            if self.place is not None:
                patience = _SILENCE_S

    async def _hear(self, word: FromProcess) -> None:
        match word:
            case Up(port, peer):
                if self.place is not None or port == 0:
                    raise Malformed("the gossip process says twice where it listens")
                self.place = GossipPlace(1, port, peer)
                self._notify()
            case State():
                if word != self.state:
                    self.state = word
                    _log.info("peers by libp2p: %d", word.dialled + word.accepted)
                    self._notify()
            case Heard(orders):
                await self._guard.hear(orders)


def _first(e: BaseException) -> str:
    while isinstance(e, BaseExceptionGroup):
        e = cast("BaseExceptionGroup[BaseException]", e).exceptions[0]
    if isinstance(e, anyio.EndOfStream | anyio.BrokenResourceError | BrokenPipeError):
        return "its process ended"
    return str(e) if isinstance(e, DavyError) else repr(e)


async def _say(to: anyio.abc.ByteSendStream, word: Wire) -> None:
    with anyio.fail_after(_SILENCE_S):
        await to.send(framed(word))


async def _end(process: anyio.abc.Process) -> None:
    if process.stdin is not None:
        with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            await process.stdin.aclose()
    with anyio.move_on_after(_FAREWELL_S) as patience:
        await process.wait()
    if patience.cancelled_caught:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    await process.aclose()
