"""A gateway's life beside the answering: it follows the ledger, and puts sampled exchanges away for whoever scores."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import anyio

from davy.gateway.directory import Directory
from davy.gateway.guarding import Permission
from davy.gateway.sampling import Sample
from davy.network.exchange import BATCH, Exchanges
from davy.network.graphs import Graphs
from davy.network.node_brake import NodeBrake
from davy.protocol.chain import Head
from davy.protocol.errors import DavyError, StoreFailed
from davy.protocol.ports import Clock, LedgerClient
from davy.protocol.words import Netuid

_log = logging.getLogger(__name__)

RETRY_MS: Final = 1_000
COLLECT_MS: Final = 2_000


class GatewayNode:
    """Keeps a gateway and the ledger of one mind.

    Parameters
    ----------
    netuids
        Whose miners are asked.
    brake
        Looks at each block before the directory does. Whoever owns it runs it.
    exchanges
        Where sampled exchanges are put.
    """

    def __init__(
        self,
        netuids: Sequence[Netuid],
        *,
        ledger: LedgerClient,
        clock: Clock,
        directory: Directory,
        brake: NodeBrake,
        guard: Permission,
        sample: Sample,
        exchanges: Exchanges,
    ) -> None:
        self._graphs, self._ledger, self._clock = Graphs(ledger, netuids), ledger, clock
        self._directory, self._brake, self._guard = directory, brake, guard
        self._sample, self._exchanges = sample, exchanges

    async def run(self) -> None:
        """Follow and collect until cancelled; nothing the ledger or the disk does ends it."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow)
            tasks.start_soon(self._collect)

    async def look(self) -> None:
        """Read the ledger once.

        Raises
        ------
        Unreachable, TxFailed
        """
        await self._at_block(await self._ledger.head())

    async def _at_block(self, head: Head) -> None:
        await self._brake.look(head)
        self._directory.see(head, self._clock.now())
        await self._directory.update(tuple((await self._graphs.look(head)).values()))
        places = self._directory.places
        await self._guard.learn(places)
        listening = {p.neuron.hotkey: p.neuron.endpoint[0] for p in places}
        await self._brake.peers.know([(endpoint, hotkey) for hotkey, endpoint in listening.items()])

    async def _follow(self) -> None:
        told = False
        while True:
            try:
                await self.look()
                told = False
                head = self._directory.head
                async with self._ledger.blocks(head.height if head else 0, newest=True) as heads:
                    async for h in heads:
                        await self._at_block(h)
            except DavyError as e:
                if not told:
                    _log.warning("the ledger cannot be followed: %s; still answering, and trying again", e)
                    told = True
            await self._clock.sleep_until(self._clock.now() + RETRY_MS)

    async def _collect(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + COLLECT_MS)
            found = self._sample.collect()
            try:
                for at in range(0, len(found), BATCH):
                    await self._exchanges.add(tuple(found[at : at + BATCH]))
            except StoreFailed as e:
                _log.warning("exchanges could not be kept: %s", e)
