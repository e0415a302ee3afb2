"""Every head after a height, in order, through lost connections and restarts of the ledger; none is left out unread.

A subscription only brings news early. What it brings is delivered when it is the very next header; whatever is missing
is read in pages, so a lost or doubled event changes nothing. Where the ledger takes no subscription (it has too many,
or a proxy before it knows none) all is read in pages, every two seconds.

Whoever waits for a block while it is followed reads ahead here, instead of asking the ledger again and again.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Self

import anyio
import msgspec

from davy.ledger.client.answers import Event, Headers
from davy.ledger.client.believed import Believed
from davy.ledger.client.news import Heard
from davy.ledger.client.rpc import RpcCaller, to_bytes
from davy.ledger.client.subscription import Subscription
from davy.ledger.headers import OpenedHeader, check_follows, origin
from davy.protocol.chain import Head
from davy.protocol.errors import Refused, Unreachable
from davy.protocol.genesis import Genesis
from davy.protocol.limits import MAX_RPC_PAGE
from davy.protocol.words import Height

_NEW_HEADER: Final = "tm.event='NewBlockHeader'"
_PATIENCE_S: Final = 2.0
"""Without news for so long the ledger is asked: a subscription may have died unnoticed."""
_POLL_S: Final = 2.0
_SUBSCRIBE_AGAIN_S: Final = 30.0
_SHORTEST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_TRIES_BEFORE_WORDS: Final = 6

_log = logging.getLogger(__name__)


class Heads:
    """An iterator of verified heads; `aclose` ends its subscription."""

    def __init__(
        self,
        rpc: RpcCaller,
        genesis: Callable[[], Awaitable[Genesis]],
        believed: Believed,
        after: int,
        *,
        newest: bool = False,
    ) -> None:
        self._rpc = rpc
        self._genesis = genesis
        self._believed = believed
        self._after = after
        self._skips = newest
        self._last: Head | None = None
        """The newest verified head; every next one must follow it."""
        self._ready: deque[Head] = deque()
        self._socket: Subscription | None = None
        self._subscribe_at = -math.inf
        """By the event loop's clock: the ledger took none before."""
        self._pause = _SHORTEST_PAUSE_S
        self._failed = 0
        self._behind = True
        self._reading = anyio.Lock()
        self.heard = Heard()
        """What came with the headers up to `newest`."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Head:
        while self._must_read():
            async with self._reading:
                if self._must_read():
                    await self._read()
        if self._skips:
            while len(self._ready) > 1:
                self._ready.popleft()
        return self._ready.popleft()

    def _must_read(self) -> bool:
        """Whether there is nothing to give, or something newer is at hand that is asked for."""
        if not self._ready or not self._skips or self._socket is None:
            return not self._ready
        return self._behind or self._socket.has_more

    @property
    def newest(self) -> Head | None:
        """The newest verified head, whether it was taken from here yet or not."""
        return self._last

    async def ahead(self, height: Height) -> Head:
        """Wait for a verified head above a height, which is still delivered in its turn; return the newest.

        Raises
        ------
        Refused
            The ledger tells another history.
        """
        while self._last is None or self._last.height <= height:
            async with self._reading:
                if self._last is None or self._last.height <= height:
                    await self._read()
        return self._last

    async def _read(self) -> None:
        try:
            await self._look()
            self._pause, self._failed = _SHORTEST_PAUSE_S, 0
        except Unreachable as e:
            self._behind, self._subscribe_at = True, -math.inf
            self._failed += 1
            if self._failed == _TRIES_BEFORE_WORDS:
                _log.warning("the ledger cannot be followed: %s; still trying", e)
            await self.aclose()
            await anyio.sleep(self._pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)

    async def aclose(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.aclose()

    async def _look(self) -> None:
        if self._last is None and self._after == 0:
            self._last = origin(await self._genesis())
        if self._socket is None:
            await self._subscribe()
        if not self._behind:
            if self._socket is not None:
                await self._hear(self._socket)
                return
            await anyio.sleep(_POLL_S)
        # The block `after` itself is read too, unless it is the origin: what follows must continue it.
        first = self._after if self._last is None else self._last.height + 1
        page = await self._rpc.call(
            "blockchain", Headers, minHeight=str(first), maxHeight=str(first + MAX_RPC_PAGE - 1)
        )
        for meta in reversed(page.block_metas):
            self._take(await self._believed.open(to_bytes(meta.signed_header)))
            self.heard.lose()
        self._behind = bool(page.block_metas)
        if not self._behind and int(page.last_height) >= first:
            raise Refused(f"the ledger has dropped block {first}, which should come next; follow it from its newest on")

    async def _subscribe(self) -> None:
        if anyio.current_time() < self._subscribe_at:
            return
        try:
            self._socket = await self._rpc.subscribe(_NEW_HEADER)
        except Unreachable:
            self._subscribe_at = anyio.current_time() + _SUBSCRIBE_AGAIN_S

    async def _hear(self, socket: Subscription) -> None:
        self._behind = True
        with anyio.move_on_after(_PATIENCE_S):
            try:
                text = await socket.text()
            except (OSError, ValueError) as e:
                raise Unreachable("the subscription broke off; it is opened again") from e
            try:
                event = msgspec.json.decode(text, type=Event)
            except msgspec.ValidationError:
                return  # the answer to `subscribe`
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                raise Unreachable("what the subscription told is not an event; it is opened again") from None
            told = event.result.data.value
            opened = await self._believed.open(to_bytes(told.signed_header))
            if self._last is not None and opened.header.height <= self._last.height:
                self._behind = False
            elif self._last is not None and opened.header.height == self._last.height + 1:
                self._take(opened)
                self.heard.note(opened.header.height, told.news)
                self._behind = False

    def _take(self, opened: OpenedHeader) -> None:
        if self._last is not None:
            check_follows(self._last, opened)
        elif opened.header.height != self._after:
            raise Refused(f"header {opened.header.height} came where {self._after} was asked for; ask another ledger")
        self._last = opened.head
        if self._last.height > self._after:
            self._ready.append(self._last)
