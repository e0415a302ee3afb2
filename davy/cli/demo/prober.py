"""An outsider with a little stake, who asks nodes directly: whether a stream at them ends, and what orders they know.

A miner is watched as `davy brake probe` does it. Times are the demo's own clock in milliseconds; a look takes some, so
what is measured is an upper bound.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import anyio

from davy.cli.ask import ask
from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.ledger.client import RpcLedger
from davy.network.http_client import HttpTransport
from davy.network.node_brake import subject_of
from davy.network.openai import CompletionRequest
from davy.network.probing import Orders, Probed, Stops, Watch, keyholders_known
from davy.network.receipts import Testimony
from davy.network.signed_client import SignedClient
from davy.protocol.brake_messages import OrderPage
from davy.protocol.chain import Neuron
from davy.protocol.encoding import decode
from davy.protocol.errors import DavyError, ModelHalted
from davy.protocol.limits import MAX_RESPONSE_BYTES
from davy.protocol.order import SignedOrder, order_id
from davy.protocol.ports import SignedRequest
from davy.protocol.receipt import Anchor
from davy.protocol.transaction import Endpoint
from davy.protocol.words import Hotkey, KeyRole

_LOOK_S: Final = 0.1
_PATIENCE_MS: Final = 5_000


class Answers(NamedTuple):
    """What somebody who asked one miner again and again got."""

    served: int
    halted: int
    other: int


class Prober:
    """See the head of this file."""

    def __init__(self, keys: FileKeyStore, ledger: RpcLedger, transport: HttpTransport, netuid: int) -> None:
        self._ledger, self._transport, self._netuid = ledger, transport, netuid
        self._clock = SystemClock()
        self._client = SignedClient(keys, ledger.chain, transport, self._clock, OsEntropy())
        self.held: dict[Hotkey, Watch] = {}
        """By miner: the stream that is held open at it."""
        self.knew_at: dict[tuple[str, bytes], int] = {}
        """By node and order: when the node first told of it."""

    async def watch_miner(self, miner: Neuron) -> None:
        """Hold a stream open at a miner until an order of the keyholders has stopped it for the first time."""
        orders = Orders(keyholders_known(await self._ledger.genesis(), await self._ledger.brake()))
        to = Probed(miner.endpoint[0], miner.hotkey, miner.model[0].model_id)
        stops = Stops(orders, (subject_of(await self._ledger.subject(self._netuid, to.miner, to.model)),))
        head = await self._ledger.head()
        watch = Watch(to, self._client, self._clock, Anchor(head.height, head.hash), stops)
        self.held[miner.hotkey] = watch
        await watch.run()

    async def watch_node(self, name: str, to: Endpoint) -> None:
        """Ask a node what orders it knows, again and again, until cancelled."""
        while True:
            asked = SignedRequest("GET", "/brake", (), b"")
            try:
                answer = await self._transport.call(to, asked, deadline=self._clock.now() + _PATIENCE_MS)
                page = decode(answer.body, OrderPage, limit=MAX_RESPONSE_BYTES)
                now = self._clock.now()
                for raw in page.orders:
                    self.knew_at.setdefault((name, order_id(decode(raw, SignedOrder, limit=len(raw)).order)), now)
            except DavyError:
                pass
            await anyio.sleep(_LOOK_S)

    async def ask(self, miner: Hotkey, max_tokens: int = 1) -> Testimony:
        """Ask a miner for what it serves now; what it signed for.

        Raises
        ------
        DavyError
            It does not answer; ModelHalted where it says that it is halted.
        """
        graph, head = await self._ledger.metagraph(self._netuid), await self._ledger.head()
        found = next(n for n in graph.neurons if n.hotkey == miner)
        request = CompletionRequest("any", "The module defines", max_tokens=max_tokens, temperature=0.0)
        _, kept = await ask(self._client, found, request, head, deadline=self._clock.now() + _PATIENCE_MS)
        return kept

    async def tally(self, miner: Hotkey, halted: int, patience_s: float) -> Answers:
        """Ask a miner until it said so many times that it is halted."""
        served = refused = other = 0
        with anyio.move_on_after(patience_s):
            while refused < halted:
                try:
                    await self.ask(miner)
                    served += 1
                except ModelHalted:
                    refused += 1
                except DavyError:
                    other += 1
                await anyio.sleep(_LOOK_S)
        return Answers(served, refused, other)


@asynccontextmanager
async def prober(home: Home, password: str, ledger: RpcLedger, netuid: int) -> AsyncGenerator[Prober]:
    """Open an outsider's keys and connections."""
    keys = FileKeyStore(home.keys)
    keys.unlock(KeyRole.HOTKEY, password)
    async with HttpTransport(SystemClock(), pinned=False) as transport:
        yield Prober(keys, ledger, transport, netuid)
