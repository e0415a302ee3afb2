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
from davy.miners.loading import load_backend
from davy.miners.node import MinerNode
from davy.miners.server import MinerHandler, Unsigned
from davy.network.http_server import serve
from davy.network.signed import RequestVerifier
from davy.network.tls import CertificateFiles, read_fingerprint
from davy.protocol.errors import DavyError
from davy.protocol.manifest import model_id
from davy.protocol.ports import Clock, Entropy, KeyStore, LedgerClient, Store
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


class Started(NamedTuple):
    """What `ready` is told."""

    endpoint: Endpoint
    model_id: bytes
    name: str
    local_port: int | None


async def run_miner(
    options: MinerOptions,
    *,
    keys: KeyStore,
    ledger: LedgerClient,
    clock: Clock,
    entropy: Entropy,
    store: Store,
    certificate: CertificateFiles,
    ready: Callable[[Started], None],
    permitted: Callable[[ModelId], Awaitable[None]] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then let answers end. SIGHUP loads the backend anew and changes to it.

    Parameters
    ----------
    keys
        With an open hotkey.
    ready
        Called once, when requests are taken.
    permitted
        Asked once whether the model may be served, before it is; what it raises ends the start.

    Raises
    ------
    Misconfigured, NoSuchKey, StoreFailed
        Before anything is served.
    """
    own = Neighbourhood(keys, ledger, clock, entropy, options.netuids[0])
    backend = await _load(options, own)
    if permitted is not None:
        await permitted(model_id(backend.manifest()))
    verifier = RequestVerifier(keys.public(KeyRole.HOTKEY), ledger.chain, clock, store)
    await verifier.open()
    view = ChainView(options.anchor_slack, int(options.outage_s * 1000))
    admission = Admission(options.rules, clock)
    handler = MinerHandler(
        keys=keys, chain=ledger.chain, verifier=verifier, clock=clock, entropy=entropy, view=view,
        admission=admission, backend=backend,
    )  # fmt: skip
    async with AsyncExitStack() as opened:
        port = await opened.enter_async_context(serve(handler, options.host, options.port, certificate))
        local_port = None
        if options.insecure_local is not None:
            door = serve(Unsigned(handler), LOCAL, options.insecure_local, None)
            local_port = await opened.enter_async_context(door)
        endpoint = Endpoint(
            options.public_host or options.host,
            options.public_port or port,
            read_fingerprint(certificate.certificate),
            b"",
        )
        node = MinerNode(
            keys=keys, ledger=ledger, clock=clock, netuids=options.netuids, endpoint=endpoint, handler=handler,
            view=view, admission=admission,
        )  # fmt: skip
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.run)
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
                ready(Started(endpoint, handler.serving.model_id, handler.serving.manifest.name, local_port))
                async for received in signals:
                    if received != signal.SIGHUP:
                        break
                    tasks.start_soon(_reload, options, own, handler, node)
            await node.stop(options.grace_s)
            tasks.cancel_scope.cancel()


async def _load(options: MinerOptions, own: Neighbourhood) -> Backend:
    backend = await anyio.to_thread.run_sync(load_backend, options.backend, options.backend_options)
    if isinstance(backend, AsksOthers):
        await backend.join(own)
    return backend


async def _reload(options: MinerOptions, own: Neighbourhood, handler: MinerHandler, node: MinerNode) -> None:
    """Load the backend as the options name it, and change to it if it is another model; else go on as before."""
    try:
        backend = await _load(options, own)
        if model_id(backend.manifest()) == handler.serving.model_id:
            await backend.aclose()
            log.info("the model is the one that is served already")
            return
        await node.swap(backend, options.grace_s)
    except DavyError as e:
        log.error("the model was not changed: %s", e)
