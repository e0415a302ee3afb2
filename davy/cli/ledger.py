"""`davy ledger`: make a chain, and run its embedded engine; `davy.cli.engine` has what several producers need."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import anyio
import click
import msgspec
from anyio.abc import TaskStatus

from davy.cli.ending import until_told
from davy.cli.engine import init_net, install_engine, start
from davy.cli.genesis import REVIEWED, Wanted, chain_options, draft, with_keys
from davy.cli.join import join
from davy.cli.later import Whole
from davy.cli.loop import run
from davy.cli.network import Network, network_option, write_network
from davy.cli.options import Host, home_option, json_option, password
from davy.cli.output import show
from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy
from davy.host.home import Home
from davy.host.keys import MODERATE, Cost, FileKeyStore, key_path, write_key
from davy.host.open_files import allow_many_open_files
from davy.ledger.driver.service import DEFAULT_PORT, serve_embedded
from davy.protocol.errors import Misconfigured
from davy.protocol.genesis import chain_id
from davy.protocol.words import KeyRole, key_from_text, key_text

STOPPED: Final = "the ledger has stopped; started again, it goes on where it is"


@click.group("ledger", cls=Whole)
def ledger_command() -> None:
    """Make a chain, and run it: in one process, or with several producers."""


ledger_command.add_command(install_engine)
ledger_command.add_command(init_net)
ledger_command.add_command(start)
ledger_command.add_command(join)


@ledger_command.command()
@home_option
@json_option
@click.option("--owner", required=True, help="Coldkey that owns the subnets.")
@chain_options("text", REVIEWED)
def init(
    home: Path,
    as_json: bool,
    owner: str,
    wanted: Wanted,
) -> None:
    """Make a genesis and the producer key that signs its blocks.

    A new model may be served a day after it is registered, at a block a second: `--parameters model_review=86400` is
    what holds unless another number is given.
    """
    owned_by = key_from_text(KeyRole.COLDKEY, owner)
    draft(wanted)
    secret = password(KeyRole.PRODUCER, twice=True)
    made = Home.create(home)
    create_chain(made, secret, wanted, owned_by)
    show({"chain": chain_id(made.genesis()).hex(), "home": str(made.root)}, as_json=as_json)


@ledger_command.command()
@home_option
@network_option
@json_option
@click.option("--host", type=Host(), default="127.0.0.1", show_default=True, help="Host to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True, help="Port; 0 for any free one."
)
@click.option(
    "--block-time",
    type=click.IntRange(10, 3_600_000),
    default=1_000,
    show_default=True,
    help="Milliseconds from block to block.",
)
def serve(home: Path, network: Path, as_json: bool, host: str, port: int, block_time: int) -> None:
    """Make this chain's blocks, and answer clients. Writes the network file once it does."""
    opened = Home.open(home)
    if not opened.has_genesis():
        raise Misconfigured(f"{opened.root} has no chain; make one with `davy ledger init`, or try `davy up`")
    if opened.engine.is_dir():
        raise Misconfigured(f"{opened.root} is the home of a producer with an engine; run it with `davy ledger start`")
    keys = FileKeyStore(opened.keys)
    keys.unlock(KeyRole.PRODUCER, password(KeyRole.PRODUCER))
    made = partial(run_ledger, opened, keys, network, as_json=as_json, host=host, port=port, block_time=block_time)
    allow_many_open_files()
    run(until_told, made, STOPPED)


def create_chain(home: Home, producer_password: str, wanted: Wanted, owner: bytes, *, cost: Cost = MODERATE) -> None:
    """Write a new chain's genesis and producer key into a home.

    Raises
    ------
    Misconfigured
        The home has a chain already, or the words make no genesis; nothing was written.
    """
    if home.has_genesis():
        raise Misconfigured(f"{home.root} has a chain already; choose another --home")
    drafted = draft(wanted)
    if not key_path(home.keys, KeyRole.PRODUCER).exists():  # it is there when a first try was cut off here
        seed = OsEntropy().bytes(32)
        write_key(home.keys, KeyRole.PRODUCER, seed, producer_password, entropy=OsEntropy(), cost=cost)
    producer = FileKeyStore(home.keys).public(KeyRole.PRODUCER)
    home.keep_genesis(with_keys(drafted, owner, [producer]))


async def run_ledger(
    home: Home,
    keys: FileKeyStore,
    network: Path,
    *,
    as_json: bool,
    host: str,
    port: int,
    block_time: int,
    faucet: str = "",
    task_status: TaskStatus[Network] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Run a home's ledger, holding the home; write the network file when it answers."""
    genesis = home.genesis()
    with home.running():
        async with anyio.create_task_group() as tasks:

            async def engine(*, task_status: TaskStatus[str]) -> None:
                await serve_embedded(
                    home.ledger,
                    genesis,
                    keys,
                    SystemClock(),
                    host=host,
                    port=port,
                    block_time=block_time,
                    task_status=task_status,
                )

            address: str = await tasks.start(engine)
            written = Network(1, chain_id(genesis).hex(), address, faucet)
            write_network(network, written)
            signer = key_text(KeyRole.PRODUCER, keys.public(KeyRole.PRODUCER))
            if as_json:
                show({**msgspec.structs.asdict(written), "network": str(network), "producer": signer}, as_json=True)
            else:
                click.echo(f"the ledger answers at {address}; chain {written.chain[:16]}…; network file {network}")
                click.echo(f"blocks are signed by {signer}")
            task_status.started(written)
