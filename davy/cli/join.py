"""`davy ledger join`: a home for one more engine of a chain that runs, which fetches the state, not all blocks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import click

from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, network_option, read_network
from davy.cli.options import Host, Place, json_option
from davy.cli.output import show
from davy.host.entropy import OsEntropy
from davy.host.files import make_private_folder, read_bounded, whole_path, write_new, write_over
from davy.host.home import Home
from davy.ledger.client import RpcLedger
from davy.ledger.driver.cometbft.configuration import (
    SETTINGS,
    VOTED,
    Peer,
    Secrets,
    Sync,
    asked_for_state,
    believing,
    check_voted,
    files,
    public_of,
)
from davy.protocol.chain import Head
from davy.protocol.errors import Misconfigured, Refused, Unreachable
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.words import KeyRole, key_text

_log: Final = logging.getLogger(__name__)
_MAX_SETTINGS_BYTES: Final = 64 * 1024
_MAX_VOTED_BYTES: Final = 16 * 1024


def place_of(text: str) -> tuple[str, int]:
    """HOST:PORT in two.

    Raises
    ------
    Misconfigured
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65_536:
        raise Misconfigured(f"'{text[:80]}' is not a place; write host:port")
    return Host(public=True).convert(host, None, None), int(port)


@click.command("join")
@click.option("--home", type=Place(), required=True, help="Folder to make.")
@network_option
@json_option
@click.option(
    "--at", "place", default="127.0.0.1:26656", show_default=True, metavar="HOST:PORT", help="Where it listens."
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    required=True,
    metavar="ID@HOST:PORT",
    help="Another producer's engine; may be repeated.",
)
@click.option(
    "--ledger", "ledgers", multiple=True, metavar="URL", help="Another ledger to ask for headers; may be repeated."
)
@click.option("--every-block", is_flag=True, help="Apply every block since the genesis instead of fetching a state.")
@click.option("--block-time", type=click.IntRange(0, 3_600_000), default=1_000, show_default=True, help="Milliseconds.")
def join(
    home: Path,
    network: Path,
    as_json: bool,
    place: str,
    peers: tuple[str, ...],
    ledgers: tuple[str, ...],
    every_block: bool,
    block_time: int,
) -> None:
    """Make a home for one more engine, with its own keys; `davy ledger start` runs it. It votes once it has a seat."""
    chosen, root = read_network(network), whole_path(home)
    at, others = place_of(place), [_peer(text) for text in peers]
    genesis, trusted = run(_trusted, chosen)
    sync = None if every_block else Sync((chosen.ledger, *ledgers), trusted.height, trusted.hash)
    if root.exists() and any(root.iterdir()):
        raise Misconfigured(f"{root} is not empty; choose a new folder")
    draw = OsEntropy().bytes
    secrets = Secrets(draw(32), draw(32))
    here = Peer(*at, public_of(secrets.node))
    write_producer(root, genesis, secrets, here, others, block_time, sync)
    told = {"home": str(root), "producer": key_text(KeyRole.PRODUCER, public_of(secrets.producer)), "peer": here.name}
    show(told, as_json=as_json)


def write_producer(
    place: Path,
    g: Genesis,
    secrets: Secrets,
    here: Peer,
    others: list[Peer],
    block_time: int,
    sync: Sync | None = None,
) -> None:
    """Make a home and all that its engine reads."""
    home = Home.create(place)
    home.keep_genesis(g)
    for name, data in files(g, secrets, here, others, block_time, sync).items():
        make_private_folder((home.engine / name).parent)
        write_new(home.engine / name, data)


def _peer(text: str) -> Peer:
    id_, at, place = text.partition("@")
    try:
        known = bytes.fromhex(id_)
    except ValueError:
        known = b""
    if not at or len(known) != 20:
        raise Misconfigured(f"'{text[:80]}' is not a peer; write its 40 hex digits, @, and host:port, as it was told")
    return Peer(*place_of(place), b"", known)


async def _trusted(network: Network) -> tuple[Genesis, Head]:
    """The genesis, and a block not long ago whose producers were followed from there."""
    async with ledger_of(network) as ledger:
        genesis, head = await ledger.genesis(), await _head(ledger)
        if not ledger.has_engine:
            raise Misconfigured(
                "one process makes this chain's blocks, which no engine can join; a chain of several producers begins "
                "with `davy ledger init-net`"
            )
        return genesis, head


def check_engine_files(home: Home) -> None:
    """Check what the engine reads at each start, and would end for without saying so in davy's words.

    Raises
    ------
    Misconfigured
    """
    asked_for_state(read_bounded(home.engine / SETTINGS, _MAX_SETTINGS_BYTES))
    voted = home.engine / VOTED
    check_voted(read_bounded(voted, _MAX_VOTED_BYTES) if voted.exists() else b"")


async def renewed(home: Home) -> None:
    """Let the engine of a home without blocks begin from a block of now: ledgers do not keep the old ones for ever.

    Where no ledger answers, what it was told before stands.
    """
    settings = home.engine / SETTINGS
    text = read_bounded(settings, _MAX_SETTINGS_BYTES)
    for url in asked_for_state(text):
        try:
            async with RpcLedger(url, chain_id(home.genesis())) as ledger:
                head = await _head(ledger)
        except (Refused, Unreachable) as e:
            _log.warning("the state cannot be fetched from %s yet: %s", url, e)
            continue
        write_over(settings, believing(text.decode(), Sync((), head.height, head.hash)).encode())
        return


async def _head(ledger: RpcLedger) -> Head:
    head = await ledger.head()
    if not head.height:
        raise Refused("the chain has no block yet; come back when it has")
    return head
