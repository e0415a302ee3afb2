"""A ledger whose blocks an engine decides: `davy.ledger.driver.node.Node` over the application and the engine's RPC.

A block is told to clients when its header has come with the commit for it, which the engine has as soon as the block is
kept here; after a restart, those that are missing are asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final

import anyio
import msgspec
from anyio import to_thread

from davy.ledger.commits import CommittedHeader
from davy.ledger.driver.cometbft.application import PRODUCERS_FROM, SUCCESSION_FROM, Application, at_height
from davy.ledger.driver.cometbft.engine import Engine, EngineRefused
from davy.ledger.driver.news import News
from davy.ledger.driver.node import Proved
from davy.ledger.driver.subscribers import Subscriber, Subscribers
from davy.ledger.headers import Authority, OpenedHeader, check_follows, open_header, origin
from davy.ledger.rules.machine import Verdict
from davy.protocol.chain import Head, Succession
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Busy, Refused, Replayed, TxCode, Unreachable
from davy.protocol.genesis import chain_id
from davy.protocol.limits import MAX_COMMITTED_HEADER_BYTES, MAX_RPC_PAGE
from davy.protocol.words import Height, PublicKey

_log: Final = logging.getLogger(__name__)
_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 2.0


class EngineNode:
    """One producer's ledger."""

    engine = "cometbft"

    def __init__(self, app: Application, engine: Engine, public: PublicKey) -> None:
        self.genesis, self.chain, self.public = app.genesis, chain_id(app.genesis), public
        self.store = app.store
        self._app, self._engine = app, engine
        self._subscribers = Subscribers()
        self.authority, self.head = self._known()

    async def hand_in(self, raw: bytes) -> Verdict:
        """Check a transaction at the door and hand it to the engine, which tells the other producers.

        An order of keyholders waits here as well, whether the engine takes it or not.

        Raises
        ------
        Replayed
            It waits already.
        Busy
            No room, or the engine is not there; later it may be.
        """
        machine = await self._app.settled()
        verdict = self._app.door.check(machine, raw)
        if verdict.code is not TxCode.OK:
            return verdict
        kept = bool(verdict.order) and self._app.door.keep(verdict, raw)
        try:
            said = await self._engine.broadcast(raw)
        except EngineRefused as e:
            if "already exists" in str(e):
                raise Replayed(str(e)) from None
            if kept:
                return verdict
            raise (Busy(str(e)) if "full" in str(e) else e) from None
        except Unreachable as e:
            if kept:
                return verdict
            raise Busy(f"mempool is full as long as {e}; hand it in again") from None
        if said.code:
            return verdict._replace(code=TxCode(said.code), message=said.log)
        return verdict

    async def query(self, path: str, data: bytes) -> tuple[int, bytes]:
        """Answer from the newest durable state: (height, canonical bytes).

        Raises
        ------
        TxFailed, Malformed
            See `davy.ledger.rules.machine.Machine.query`.
        """
        machine = await self._app.settled()
        return machine.height, machine.query(path, data)

    async def prove(self, key: bytes) -> Proved:
        """Prove what the newest durable state holds at a key."""
        machine = await self._app.settled()
        value, proof = machine.prove(key)
        return Proved(machine.height, value, proof)

    def succession(self, after: Height) -> list[bytes]:
        """The changes of the producers that hold from above a height on: one page."""
        return self._app.changes(after, MAX_RPC_PAGE)

    async def relay(self, method: str, params: Mapping[str, str]) -> msgspec.Raw:
        """Pass a question of another producer's engine to this one's, and its answer back as it is.

        Raises
        ------
        EngineRefused, Unreachable, TooLarge, Malformed
        """
        return await self._engine.relay(method, params)

    def news(self, height: Height) -> News | None:
        """What a block changed; None where that is no longer kept."""
        return self._app.news.about(height)

    def waiting(self) -> tuple[int, int]:
        """How many transactions wait here, and their bytes."""
        return self._app.door.waiting()

    def subscribed(self, address: str = "") -> AbstractContextManager[Subscriber]:
        """Hear of every height from now on.

        Raises
        ------
        Busy
            Too many listen already.
        """
        return self._subscribers.subscribed(address)

    async def follow(self) -> None:
        """Learn the headers of kept blocks, until cancelled."""
        pause = _PAUSE_S
        while True:
            kept = self._app.kept
            if self.head.height < self.store.base():  # a snapshot has come
                self.authority, self.head = self._known()
            if self.head.height >= self.store.height():
                await kept.wait()
            try:
                await self._learn(self.head.height + 1)
                pause = _PAUSE_S
            except (Unreachable, EngineRefused):
                await anyio.sleep(pause)  # it starts, or is about to know
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            except Refused as e:
                _log.error("header %d of the engine is not this chain's: %s", self.head.height + 1, e)
                await anyio.sleep(_LONGEST_PAUSE_S)

    async def _learn(self, height: int) -> None:
        authority, facts = self.authority, dict[str, bytes]()
        change = await self._change(height)
        if change is not None:
            facts[at_height(SUCCESSION_FROM, height)] = encode(change)
            authority = authority.after(change)
        opened = self._checked(await self._engine.header(height), authority)
        await to_thread.run_sync(self.store.put_header, height, opened.raw, facts)
        self.authority, self.head = authority, opened.head
        self._subscribers.tell(height)

    async def _change(self, height: int) -> Succession | None:
        """What shows who signs from this block on, if others than before do.

        The votes for the header before it are asked for once more: this block holds those that count, so each producer
        shows the change by the same bytes, and a snapshot can be fetched from all of them at once.
        """
        named = self.store.fact(at_height(PRODUCERS_FROM, height))
        if named is None or (self.authority.changes and self.authority.changes[-1][0] >= height):
            return None
        before = encode(await self._engine.header(height - 1))
        return Succession(before, tuple(named[n : n + 32] for n in range(0, len(named), 32)))

    def _checked(self, c: CommittedHeader, authority: Authority) -> OpenedHeader:
        """Check that the engine tells of the block that is kept here."""
        opened = open_header(encode(c), authority)
        if self.head.hash != bytes(32) or not self.head.height:  # the first one after a snapshot follows a block unseen
            check_follows(self.head, opened)
        before = self.store.app_hash(self.head.height)
        if not opened.names(self.store.tx_hashes(opened.header.height)) or before not in (None, opened.header.app_hash):
            raise Refused("it names other transactions or another state than were kept")
        return opened

    def _known(self) -> tuple[Authority, Head]:
        """Who signs, and the last block whose header, and all before it, are known."""
        authority, last = Authority.of(self.genesis), 0
        while changes := self.succession(last):
            for change in changes:
                authority = authority.after(decode(change, Succession, limit=2 * MAX_COMMITTED_HEADER_BYTES))
            last = authority.changes[-1][0]
        told = self.store.told()
        raw = self.store.header(told)
        if raw:
            return authority, open_header(raw, authority).head
        unseen = Head(told, self._app.machine.time, bytes(32), self._app.machine.app_hash)
        return authority, unseen if told else origin(self.genesis)
