"""Whose headers a client believes: the producers of the genesis, and who came after them, as far as headers were shown.

A change is learned when a header names producers that are not known: the ledger is asked for the changes, and each is
signed by those before it. So a client that knows nothing but the chain's id gets to the producers of today, and whoever
shows it a header of others, or of producers of long ago under a new height, is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from davy.ledger.client.answers import Successions
from davy.ledger.client.rpc import RpcCaller, to_bytes
from davy.ledger.headers import Authority, OpenedHeader, open_header
from davy.protocol.chain import Succession
from davy.protocol.encoding import decode
from davy.protocol.errors import Refused, Unauthorised
from davy.protocol.genesis import Genesis
from davy.protocol.limits import MAX_COMMITTED_HEADER_BYTES, MAX_PRODUCER_CHANGES

_MAX_SUCCESSION_BYTES: Final = 2 * MAX_COMMITTED_HEADER_BYTES


class Believed:
    """What one client knows of the producers; shared by all that read headers for it."""

    def __init__(self, rpc: RpcCaller, genesis: Callable[[], Awaitable[Genesis]]) -> None:
        self._rpc, self._genesis = rpc, genesis
        self._authority: Authority | None = None
        self._learning = anyio.Lock()
        self.changes: tuple[Succession, ...] = ()

    async def open(self, raw: bytes) -> OpenedHeader:
        """Open a header (`davy.ledger.headers.open_header`); where it is of unknown producers, ask who they are first.

        Raises
        ------
        TooLarge, Malformed, BadSignature, Misdirected, Unauthorised, Refused, Unreachable
        """
        authority = await self._known()
        try:
            return open_header(raw, authority)
        except Unauthorised:
            async with self._learning:
                await self._learn()
            return open_header(raw, await self._known())

    async def _known(self) -> Authority:
        if self._authority is None:
            self._authority = Authority.of(await self._genesis())
        return self._authority

    async def _learn(self) -> None:
        while True:
            authority = await self._known()
            last = authority.changes[-1][0] if authority.changes else 0
            page = (await self._rpc.call("succession", Successions, after=str(last))).changes
            for text in page:
                change = decode(to_bytes(text), Succession, limit=_MAX_SUCCESSION_BYTES)
                if len(self.changes) >= MAX_PRODUCER_CHANGES:
                    raise Refused(f"the producers changed more than {MAX_PRODUCER_CHANGES} times; ask another ledger")
                authority = authority.after(change)
                self._authority, self.changes = authority, (*self.changes, change)
            if not page:
                return
