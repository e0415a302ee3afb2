"""A validator's node: follows the ledger, commits its source's weights once an epoch, and reveals them when due.

Whatever fails (the ledger away, a transaction turned down) is logged and tried again with the next block: nothing here
ends the node but cancellation or a store that cannot be written.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import anyio

from davy.killswitch.scope import Subject
from davy.network.graphs import Graphs
from davy.network.node_brake import NodeBrake
from davy.protocol.chain import Head, Metagraph
from davy.protocol.errors import Busy, DavyError, ModelHalted, StoreFailed, TxCode, TxFailed
from davy.protocol.ports import Ports
from davy.protocol.transaction import Endpoint
from davy.protocol.words import Hotkey, KeyRole
from davy.validators.committer import Committer
from davy.validators.source import WeightSource

_log = logging.getLogger(__name__)


class Timing(NamedTuple):
    """When in an epoch a validator acts."""

    commit_at: float = 0.6
    """Fraction of the tempo after which the row is put forward: late enough to hold this epoch's answers."""
    retry_ms: int = 1_000
    """Pause before a ledger that does not answer is asked again."""


class ValidatorNode:
    """One hotkey's validator on one or more subnets of one task.

    Parameters
    ----------
    source
        What is committed; its `run` lives as long as the node.
    """

    def __init__(
        self,
        netuids: Sequence[int],
        own: Ports,
        source: WeightSource,
        brake: NodeBrake,
        timing: Timing | None = None,
    ) -> None:
        self._netuids, self._ledger, self._clock, self._source = tuple(netuids), own.ledger, own.clock, source
        self._own = own.keys.public(KeyRole.HOTKEY)
        self._brake, self._timing = brake, timing or Timing()
        self._graphs = Graphs(own.ledger, netuids)
        self._committers = {n: Committer(n, own.keys, own.ledger, own.store, own.entropy) for n in netuids}
        self._done: dict[int, int] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._brake.run)
            tasks.start_soon(self._source.run)
            tasks.start_soon(self._follow)

    async def _follow(self) -> None:
        while True:
            try:
                # What was due in blocks that passed meanwhile is due still, or not any more.
                newest = await self._ledger.head()
                await self.at_block(newest)
                async with self._ledger.blocks(newest.height, newest=True) as heads:
                    async for head in heads:
                        await self.at_block(head)
            except StoreFailed:
                raise
            except DavyError as e:
                _log.warning("the ledger cannot be followed, trying again: %s", e)
            await self._clock.sleep_until(self._clock.now() + self._timing.retry_ms)

    async def at_block(self, head: Head) -> None:
        """Do what this block calls for, on every subnet: reveal what is due, put forward what is not yet.

        Nothing of a subnet that is halted, or of any while all is: deadlines stand still as long.
        """
        await self._brake.look(head)
        self._source.see(head)
        listening: dict[Hotkey, Endpoint] = {}
        for netuid in self._netuids:
            try:
                m = await self._graphs.of(netuid, head)
                listening |= {n.hotkey: n.endpoint[0] for n in m.neurons if n.endpoint and n.hotkey != self._own}
                self._brake.guard.permit(Subject(netuid))
                await self._act(m, head)
            except (ModelHalted, Busy) as e:
                _log.info("subnet %d: neither committed nor revealed: %s", netuid, e)
            except TxFailed as e:
                if e.code is TxCode.WRONG_NONCE or e.code is TxCode.WRONG_TIME:
                    _log.info("subnet %d: %s; again with the next block", netuid, e)
                else:
                    _log.warning("subnet %d: %s", netuid, e)
        await self._brake.peers.know([(endpoint, hotkey) for hotkey, endpoint in listening.items()])

    async def _act(self, m: Metagraph, head: Head) -> None:
        me = next((n for n in m.neurons if n.hotkey == self._own), None)
        if me is None:
            _log.info("subnet %d: this hotkey is not registered; `davy register` makes it a neuron", m.subnet.netuid)
            return
        committer = self._committers[m.subnet.netuid]
        for lost in await committer.reveal_due(m):
            _log.warning("subnet %d: the weights of epoch %d are lost: %s", m.subnet.netuid, lost.epoch, lost.why)
        s = m.subnet
        begun = s.next_epoch_at - s.hyperparameters.tempo
        due = begun + int(s.hyperparameters.tempo * self._timing.commit_at)
        if head.height < due or self._done.get(s.netuid) == s.epoch or not me.permit:
            return
        weights = await self._source.weights(m)
        if weights:
            result = await committer.put_forward(m, weights)
            if result.code != TxCode.OK:
                raise TxFailed(TxCode(result.code), result.log)
            self._done[s.netuid] = s.epoch
