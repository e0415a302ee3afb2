"""What a miner does besides answering: it follows the ledger, and keeps its record there right.

Following: each new head moves the chain's view, once the brake's orders up to it were taken in; the metagraph tells
admission who has stake, the ledger tells it whom the model's registrant lets ask, and the guard what orders can know of
the model. Recording: whenever
the ledger's `serve` record differs from what is served (address, certificate, model), it is written anew. A model is
changed in that order too: the ledger names the new one before any answer comes from it; a halted one is not changed to.

When the ledger cannot be reached the miner goes on answering with what it knows, for as long as `ChainView` allows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

import anyio

from davy.killswitch.scope import Subject
from davy.ledger.submit import send
from davy.miners.admission import Admission
from davy.miners.backend import Backend
from davy.miners.chain_view import ChainView
from davy.miners.server import MinerHandler
from davy.miners.serving import Serving
from davy.network.graphs import Graphs
from davy.network.node_brake import NodeBrake
from davy.protocol.chain import Head, Metagraph, Neuron
from davy.protocol.errors import DavyError, TxCode, TxFailed
from davy.protocol.ports import Ports
from davy.protocol.recorded import AccessRecord
from davy.protocol.transaction import Endpoint, Serve, Served
from davy.protocol.words import Digest, Height, KeyRole, Netuid

log = logging.getLogger(__name__)

RETRY_MS: Final = 1_000
LONGEST_RETRY_MS: Final = 60_000
"""While a model is under review, for a day maybe: each try is a transaction, and the pauses between them double."""
FAREWELL_S: Final = 5.0
"""For streams that were interrupted to send their last events."""


class MinerNode:
    """Keeps what a miner serves and what the ledger says of it the same.

    Parameters
    ----------
    netuids
        The subnets that the model is served on, where the hotkey is registered.
    endpoint
        Where the handler is reached, as other nodes see it.
    """

    def __init__(
        self,
        own: Ports,
        netuids: Sequence[Netuid],
        *,
        endpoint: Endpoint,
        handler: MinerHandler,
        view: ChainView,
        admission: Admission,
        brake: NodeBrake,
    ) -> None:
        self._keys, self._ledger, self._clock = own.keys, own.ledger, own.clock
        self._netuids = tuple(netuids)
        self._graphs = Graphs(own.ledger, netuids)
        self._endpoint = endpoint
        self._handler = handler
        self._view = view
        self._admission = admission
        self._brake = brake
        self._hotkey = own.keys.public(KeyRole.HOTKEY)
        self._wanted = handler.serving
        self._leaving: set[Serving] = set()
        """What was changed, and still ends its answers."""
        self._neurons: dict[Netuid, Neuron] = {}
        """Our own, on the subnets where we are registered."""
        self._missing: frozenset[Netuid] = frozenset()
        self._recorded_at = 0
        self._seen_at: Height = 0
        """Of the metagraphs that were looked at last."""
        self._learned: tuple[Serving, Digest] | None = None
        """For which model, and after which orders, facts were read; they are read again when something changed."""
        self._differs = anyio.Event()
        self._writing = anyio.Lock()

    async def run(self) -> None:
        """Follow and record until cancelled; nothing the ledger does ends it."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._brake.run)
            tasks.start_soon(self._follow)
            tasks.start_soon(self._record)

    async def swap(self, backend: Backend, grace_s: float) -> None:
        """Write the new model into the ledger, then answer from it; the old one's answers may end in `grace_s` seconds.

        Raises
        ------
        DavyError
            It is halted, or the ledger did not take it; the old model goes on, and the new one was closed.
        """
        new = Serving(backend)
        async with self._writing:
            before, self._wanted = self._wanted, new
            try:
                new.subjects, new.access = await self._subjects(new), await self._access(new)
                for subject in new.subjects:
                    self._brake.guard.permit(subject)
                if self._neurons:
                    await self._write()
            except BaseException:
                self._wanted = before
                with anyio.CancelScope(shield=True):
                    await backend.aclose()
                raise
            old = self._handler.swap(new)
            self._leaving.add(old)
            self._tell_guard()
        log.info("now serving %s", new.model_id.hex())
        try:
            await old.close(grace_s)
        finally:
            self._leaving.discard(old)
            self._tell_guard()

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, let answers end for `grace_s` seconds, interrupt the rest, and close the model."""
        self._handler.refuse()
        with anyio.move_on_after(grace_s):
            await self._handler.serving.idle()
        self._handler.interrupt()
        await self._handler.serving.close(FAREWELL_S)

    async def _follow(self) -> None:
        told = False
        while True:
            try:
                head = await self._ledger.head()
                await self._see(head)
                told = False
                async with self._ledger.blocks(head.height, newest=True) as heads:
                    async for head in heads:
                        await self._see(head)
            except DavyError as e:
                if not told:
                    log.warning("the ledger cannot be followed: %s; still answering, and trying again", e)
                    told = True
            await self._clock.sleep_until(self._clock.now() + RETRY_MS)

    async def _see(self, head: Head) -> None:
        """Take a block for seen once the orders up to it are known, and our model's class and kin as of then."""
        await self._brake.look(head)
        graphs = await self._graphs.look(head)
        if self._graphs.anew or self._learned != (self._handler.serving, self._brake.guard.head):
            await self._learn()
        self._view.see(head, self._clock.now())
        registered = self._neurons.keys()
        await self._look(graphs)
        if not self._handler.serving.subjects or self._neurons.keys() != registered:
            await self._learn()

    async def _look(self, graphs: Mapping[Netuid, Metagraph]) -> None:
        self._admission.update(*graphs.values())
        others = {n.hotkey: n.endpoint[0] for g in graphs.values() for n in g.neurons if n.endpoint}
        others.pop(self._hotkey, None)
        await self._brake.peers.know([(endpoint, hotkey) for hotkey, endpoint in others.items()])
        oldest = min(g.height for g in graphs.values())
        if oldest < self._recorded_at:
            return  # they do not know what we wrote last
        self._seen_at = oldest
        ours = {netuid: n for netuid, g in graphs.items() for n in g.neurons if n.hotkey == self._hotkey}
        missing = graphs.keys() - ours.keys()
        for netuid in missing - self._missing:
            log.warning("this hotkey has no UID on subnet %d: register it, or nobody there will ask", netuid)
        self._neurons, self._missing = ours, frozenset(missing)
        if not self._agrees():
            self._differs.set()

    async def _learn(self) -> None:
        serving, orders = self._handler.serving, self._brake.guard.head
        for each in (serving, *self._leaving):
            each.subjects = await self._subjects(each) or (each.subjects if each is not serving else ())
        serving.access = await self._access(serving)
        self._learned = serving, orders
        self._tell_guard()  # it may have been changed meanwhile

    def _tell_guard(self) -> None:
        """What this node serves, and what it still answers from since it was changed."""
        every = [x for each in (self._handler.serving, *self._leaving) for x in each.subjects]
        self._brake.guard.serving = tuple(dict.fromkeys(every))

    async def _subjects(self, serving: Serving) -> tuple[Subject, ...]:
        """What the guard is asked about before this model answers: it on every subnet where we are registered.

        Empty where the ledger does not know the model: a guard permits registered ones only.
        """
        netuids = self._netuids if self._brake.guard.state.first is None else sorted(self._neurons)
        try:
            known = [await self._brake.subject(n, self._hotkey, serving.model_id, anew=True) for n in netuids]
        except TxFailed as e:
            log.warning("the ledger cannot say what orders know of our model: %s", e)
            return ()
        return tuple(known)

    async def _access(self, serving: Serving) -> AccessRecord | None:
        """Whom the registrant lets ask for this model; None where the ledger does not know the model."""
        try:
            (said,) = await self._ledger.accesses((serving.model_id,))
        except TxFailed as e:
            log.warning("the ledger cannot say who may ask for our model: %s", e)
            return None
        return said

    def _agrees(self) -> bool:
        """Whether the ledger says of us what is so, on every subnet where we are registered."""
        wanted = [(self._wanted.model_id, self._wanted.identity)]
        return all(
            n.endpoint == (self._endpoint,) and [(m.model_id, m.identity) for m in n.model] == wanted
            for n in self._neurons.values()
        )

    async def _record(self) -> None:
        said, pause = "", RETRY_MS
        while True:
            await self._differs.wait()
            try:
                async with self._writing:
                    # What was seen before the last write tells nothing of it.
                    if self._seen_at >= self._recorded_at and not self._agrees():
                        await self._write()
                        log.info("the ledger names %s:%d", self._endpoint.host, self._endpoint.port)
                self._differs = anyio.Event()
                said, pause = "", RETRY_MS
            except DavyError as e:
                if str(e) != said:
                    said = str(e)
                    log.warning("the ledger does not take our serve record: %s", e)
                await self._clock.sleep_until(self._clock.now() + pause)
                reviewed = isinstance(e, TxFailed) and e.code is TxCode.WRONG_TIME
                pause = min(2 * pause, LONGEST_RETRY_MS) if reviewed else RETRY_MS

    async def _write(self) -> None:
        """Write what is wanted into the ledger, and wait until it stands in a block."""
        w = self._wanted
        models = tuple(Served(netuid, w.model_id, w.identity) for netuid in sorted(self._neurons))
        result = await send(self._ledger, self._keys, KeyRole.HOTKEY, Serve(self._endpoint, models))
        if result.code != 0:
            raise TxFailed(TxCode(result.code), result.log)
        self._recorded_at = result.height
