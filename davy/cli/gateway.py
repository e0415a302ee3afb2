"""`davy gateway`: one OpenAI-compatible URL over the network's miners, until Ctrl-C."""

from __future__ import annotations

import ipaddress
import logging
import os
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import anyio
import click

from davy.cli.ending import until_told
from davy.cli.gossip import LOCAL, gossip_options, joining
from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, metagraph_of, network_option, neuron_of, read_network
from davy.cli.options import Host, home_option, json_option, netuids_option, unlocked
from davy.cli.output import show
from davy.gateway.directory import Directory
from davy.gateway.gateway import Gateway, Limits
from davy.gateway.guarding import Brake
from davy.gateway.node import GatewayNode
from davy.gateway.relay import Means
from davy.gateway.sampling import Sample
from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.host.store import SqliteStore
from davy.ledger.client import RpcLedger
from davy.network.access import Accesses
from davy.network.brake_routes import BrakeRoutes
from davy.network.exchange import Exchanges
from davy.network.gossip.joining import Joining, join_gossip
from davy.network.http_client import HttpTransport
from davy.network.http_server import serve
from davy.network.node_brake import NodeBrake, open_brake
from davy.network.signed_client import SignedClient
from davy.protocol.chain import ModelRecord
from davy.protocol.encoding import decode
from davy.protocol.errors import Misconfigured, TxFailed
from davy.protocol.limits import MAX_RESULT_BYTES
from davy.protocol.ports import Ports, Store, Transport
from davy.protocol.words import KeyRole, ModelId
from davy.tasks.shape import Shapes

KEY_VARIABLE: Final = "DAVY_GATEWAY_KEY"
DEFAULT_PORT: Final = 8_000


class Door(NamedTuple):
    """Where users knock, and what they get."""

    host: str
    port: int
    limits: Limits
    key: str


class Node(NamedTuple):
    """What a gateway shares with whatever else runs under its hotkey."""

    keys: FileKeyStore
    ledger: RpcLedger
    transport: Transport
    store: Store
    netuids: Sequence[int]
    shapes: Shapes
    brake: NodeBrake


def door(host: str, port: int, limits: Limits) -> Door:
    """Return a door whose key is $DAVY_GATEWAY_KEY.

    Raises
    ------
    Misconfigured
        Others can reach the address, and there is no key.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    if not key and not _is_local(host):
        raise Misconfigured(
            f"whoever reaches {host} could ask on this hotkey's stake: set {KEY_VARIABLE}, and put TLS in front of it"
        )
    return Door(host, port, limits, key)


@click.command("gateway")
@home_option
@network_option
@netuids_option
@click.option("--host", type=Host(), default="127.0.0.1", show_default=True, help="Host to listen on, in plain HTTP.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True, help="Port; 0 for any free one."
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 1e6),
    default=Limits().rate,
    show_default=True,
    help="Requests per second from one address.",
)
@click.option(
    "--places",
    type=click.IntRange(1, 900),
    default=Limits().places,
    show_default=True,
    help="Requests under way at once.",
)
@gossip_options
@click.option("--verbose", is_flag=True, help="Log what it does.")
@json_option
def gateway_command(
    home: Path,
    network: Path,
    netuids: tuple[int, ...],
    host: str,
    port: int,
    rate: float,
    places: int,
    gossip_port: int | None,
    gossip_host: str | None,
    gossip_peers: tuple[str, ...],
    verbose: bool,
    as_json: bool,
) -> None:
    """Serve users under this home's hotkey; with $DAVY_GATEWAY_KEY set, only those who send it as API key.

    The home needs a hotkey that is registered on each subnet, with as much stake as miners ask of a caller. To hide
    challenges among users' requests, run it in a validator: `davy validator --gateway PORT`.
    """
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s")
    opened = Home.open(home)
    to = door(host, port, Limits(places, rate, int(2 * rate) + 1))
    gossip = joining(gossip_host or LOCAL, gossip_port, gossip_peers)
    keys = unlocked(opened, KeyRole.HOTKEY)
    with opened.running():
        answering = partial(_gateway, opened, keys, read_network(network), netuids, to, gossip, as_json)
        run(until_told, answering, "the gateway has stopped")


async def _gateway(
    home: Home, keys: FileKeyStore, network: Network, netuids: tuple[int, ...], to: Door, how: Joining | None,
    as_json: bool,
) -> None:  # fmt: skip
    clock = SystemClock()
    async with ledger_of(network) as ledger, HttpTransport(clock) as transport:
        for netuid in netuids:
            neuron_of(await metagraph_of(ledger, netuid), keys.public(KeyRole.HOTKEY))
        with SqliteStore(home.store) as store:
            own = Ports(keys, ledger, clock, OsEntropy(), store, transport)
            brake = await open_brake(await ledger.genesis(), own)
            if how is not None:
                join_gossip(brake, how, own)
            node = Node(keys, ledger, transport, store, netuids, Shapes(), brake)
            async with anyio.create_task_group() as tasks, gateway(node, to) as port:
                tasks.start_soon(brake.run)
                if as_json:
                    show({"url": url_of(to, port), "key": bool(to.key)}, as_json=True)
                else:
                    click.echo(f"answering users at {url_of(to, port)}")
                await anyio.sleep_forever()


@asynccontextmanager
async def gateway(node: Node, to: Door) -> AsyncGenerator[int]:
    """Serve users while the context is open; yields the port. The node's brake must be running beside it.

    Raises
    ------
    Misconfigured
        The address cannot be listened on.
    Unreachable
        The ledger does not answer.
    """
    clock, entropy = SystemClock(), OsEntropy()

    async def registered(model_id: ModelId) -> ModelRecord | None:
        try:
            return decode(await node.ledger.query("/model", model_id), ModelRecord, limit=MAX_RESULT_BYTES)
        except TxFailed:
            return None

    directory = Directory(node.keys.public(KeyRole.HOTKEY), registered, Accesses(node.ledger))
    sample = Sample(random.Random(entropy.bytes(16)))
    guard = Brake(node.brake)
    follower = GatewayNode(
        node.netuids, ledger=node.ledger, clock=clock, directory=directory, brake=node.brake, guard=guard,
        sample=sample, exchanges=Exchanges(node.store),
    )  # fmt: skip
    client = SignedClient(node.keys, node.ledger.chain, node.transport, clock, entropy)
    rng = random.Random(entropy.bytes(16))
    handler = Gateway(Means(client, clock, directory, guard, rng, node.shapes, sample), key=to.key, limits=to.limits)
    await follower.look()
    async with (
        handler.opened(),
        serve(BrakeRoutes(node.brake.guard, handler, clock), to.host, to.port, None) as port,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(follower.run)
        yield port
        tasks.cancel_scope.cancel()


def url_of(to: Door, port: int) -> str:
    """What users give their OpenAI client as its base URL."""
    return f"http://{f'[{to.host}]' if ':' in to.host else to.host}:{port}/v1"


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
