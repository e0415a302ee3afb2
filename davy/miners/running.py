"""A whole miner as one process runs it: backend, server, node, signals. Everything outside it is handed in."""

from __future__ import annotations

import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Final, NamedTuple

import anyio
import anyio.to_thread

from davy.miners.admission import Admission, Rules
from davy.miners.backend import AsksOthers, Backend, Neighbourhood
from davy.miners.chain_view import ChainView
from davy.miners.loading import load_backend, load_manifest, told_manifest
from davy.miners.node import RETRY_MS, MinerNode
from davy.miners.server import MinerHandler, Unsigned
from davy.miners.withheld import Withheld
from davy.network.brake_routes import BrakeRoutes
from davy.network.certificate import CertificateFiles, read_fingerprint
from davy.network.gossip.joining import Joining, join_gossip
from davy.network.http_server import serve
from davy.network.node_brake import NodeBrake, open_brake
from davy.network.signed import RequestVerifier
from davy.protocol.errors import DavyError, ModelHalted, Unreachable
from davy.protocol.genesis import Genesis
from davy.protocol.manifest import Manifest, model_id
from davy.protocol.ports import Handler, Ports
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole, ModelId, Netuid

log = logging.getLogger(__name__)

LOCAL: Final = "127.0.0.1"


class MinerOptions(NamedTuple):
    """What an operator says on the command line."""

    backend: str
    """See `davy.miners.loading`."""
    backend_options: Mapping[str, str] = {}
    netuids: tuple[Netuid, ...] = (1,)
    host: str = LOCAL
    port: int = 0
    """0 takes a free one, which the ledger is then told."""
    public_host: str = ""
    """Where other nodes reach `host`; the same when left out."""
    public_port: int = 0
    insecure_local: int | None = None
    """A port of this machine only, plain HTTP, where requests need no signature; 0 takes a free one."""
    rules: Rules = Rules()
    anchor_slack: int = 1
    """`ChainParameters.anchor_slack` of the chain."""
    outage_s: float = 600.0
    """So long without a sign of the ledger is still answered."""
    grace_s: float = 20.0
    """For answers to end when the miner stops or changes its model."""
    gossip: Joining | None = None
    """The libp2p route; None where it is off."""


class Started(NamedTuple):
    """What `ready` is told."""

    endpoint: Endpoint
    model_id: bytes
    name: str
    local_port: int | None


async def run_miner(
    options: MinerOptions,
    own: Ports,
    genesis: Genesis,
    certificate: CertificateFiles,
    *,
    ready: Callable[[Started], None],
    permitted: Callable[[ModelId], Awaitable[None]] | None = None,
    change: Callable[[NodeBrake], NodeBrake] = lambda brake: brake,
) -> None:
    """Serve until SIGINT or SIGTERM, then let answers end. SIGHUP loads the backend anew and changes to it.

    Parameters
    ----------
    own
        Its keys with an open hotkey.
    genesis
        Of the ledger's chain: whose keyholders can halt.
    ready
        Called once, when requests are taken.
    permitted
        Asked once whether the model may be served, before it is; what it raises ends the start.
    change
        What is changed of the node's brake: for sabotage.

    Raises
    ------
    Misconfigured, NoSuchKey, StoreFailed
        Before anything is served.
    """
    async with AsyncExitStack() as opened:
        brake = change(await open_brake(genesis, own))
        loader = _Loader(options, own, brake)
        backend = await loader.first()
        if permitted is not None:
            await permitted(model_id(backend.manifest()))
        verifier = RequestVerifier(own.keys.public(KeyRole.HOTKEY), own.ledger.chain, own.clock, own.store)
        await verifier.open()
        view = ChainView(options.anchor_slack, int(options.outage_s * 1000))
        admission = Admission(options.rules, own.clock)
        handler = MinerHandler(
            keys=own.keys, chain=own.ledger.chain, verifier=verifier, clock=own.clock, entropy=own.entropy, view=view,
            admission=admission, guard=brake.guard, backend=backend, heard=brake.peers.heard,
        )  # fmt: skip
        door = _door(options, brake, handler, own)
        port = await opened.enter_async_context(serve(door, options.host, options.port, certificate))
        local_port = None
        if options.insecure_local is not None:
            local = serve(Unsigned(handler), LOCAL, options.insecure_local, None)
            local_port = await opened.enter_async_context(local)
        endpoint = Endpoint(
            options.public_host or options.host,
            options.public_port or port,
            read_fingerprint(certificate.certificate),
            b"",
        )
        node = MinerNode(
            own, options.netuids, endpoint=endpoint, handler=handler, view=view, admission=admission, brake=brake
        )
        started = Started(endpoint, handler.serving.model_id, handler.serving.manifest.name, local_port)
        await _live(node, handler, loader, lambda: ready(started))


def _door(options: MinerOptions, brake: NodeBrake, handler: Handler, own: Ports) -> Handler:
    """Put the brake's routes in front of a handler, and the libp2p route where it is on."""
    door = BrakeRoutes(brake.guard, handler, own.clock)
    return door if options.gossip is None else join_gossip(brake, options.gossip, own).door(door)


async def _live(node: MinerNode, handler: MinerHandler, loader: _Loader, ready: Callable[[], None]) -> None:
    """Run the node until a signal ends it, then let answers end."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.run)
        if isinstance(handler.serving.backend, Withheld):
            tasks.start_soon(loader.later, handler, node)
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            ready()
            async for received in signals:
                if received != signal.SIGHUP:
                    break
                tasks.start_soon(loader.again, handler, node)
        await node.stop(loader.options.grace_s)
        tasks.cancel_scope.cancel()


class _Loader:
    """Loads the backend that the options name, and asks the guard first where a look at its files tells which it is."""

    def __init__(self, options: MinerOptions, own: Ports, brake: NodeBrake) -> None:
        self.options, self._own, self._brake = options, own, brake

    async def first(self) -> Backend:
        """Load it; or what stands in for it while it is halted.

        Raises
        ------
        Misconfigured
        """
        manifest = await self._manifest()
        if manifest is None:
            return await self._load()
        try:
            await self._brake.look(await self._own.ledger.head())
            await self._permit(manifest)
        except ModelHalted as e:
            log.warning("%s is not loaded: %s", manifest.name, e)
            return Withheld(manifest)
        except DavyError as e:
            log.info("the guard cannot be asked before loading: %s", e)
        return await self._load()

    async def later(self, handler: MinerHandler, node: MinerNode) -> None:
        """Load what was withheld as soon as it may run."""
        while isinstance(handler.serving.backend, Withheld):
            if handler.serving.subjects:
                for subject in handler.serving.subjects:
                    await self._brake.guard.until_permitted(subject)
                await self.again(handler, node)
            await self._own.clock.sleep_until(self._own.clock.now() + RETRY_MS)

    async def again(self, handler: MinerHandler, node: MinerNode) -> None:
        """Load it anew, and change to it if it is another model; else go on. A ledger that is away is awaited."""
        while True:
            try:
                await self._change(handler, node)
                return
            except Unreachable as e:
                log.warning("the model is changed as soon as that is mended: %s", e)
            except DavyError as e:
                log.error("the model was not changed: %s", e)
                return
            await self._until_answered()

    async def _change(self, handler: MinerHandler, node: MinerNode) -> None:
        manifest = await self._manifest()
        if manifest is not None:
            await self._permit(manifest)
        backend = await self._load()
        same = model_id(backend.manifest()) == handler.serving.model_id
        if same and not isinstance(handler.serving.backend, Withheld):
            await backend.aclose()
            log.info("the model is the one that is served already")
            return
        await node.swap(backend, self.options.grace_s)

    async def _until_answered(self) -> None:
        """Wait until the ledger answers: loading a model is dear, asking is not."""
        while True:
            await self._own.clock.sleep_until(self._own.clock.now() + RETRY_MS)
            try:
                await self._own.ledger.head()
                return
            except DavyError:
                pass

    async def _load(self) -> Backend:
        o = self.options
        backend = await anyio.to_thread.run_sync(load_backend, o.backend, o.backend_options)
        if isinstance(backend, AsksOthers):
            own = self._own
            await backend.join(Neighbourhood(own.keys, own.ledger, own.clock, own.entropy, o.netuids[0]))
        told_manifest(o.backend, backend)
        return backend

    async def _manifest(self) -> Manifest | None:
        """Which model it will be; None where only loading it tells."""
        o = self.options
        if o.backend != "huggingface":
            return None
        return await anyio.to_thread.run_sync(load_manifest, o.backend, o.backend_options)

    async def _permit(self, manifest: Manifest) -> None:
        hotkey = self._own.keys.public(KeyRole.HOTKEY)
        for netuid in self.options.netuids:
            await self._brake.permit(netuid, hotkey, model_id(manifest))
