"""Which network a command speaks to: a small file that `davy up` writes and everybody else reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import click
import msgspec
from msgspec import Meta

from davy.cli.options import Place
from davy.host.files import make_private_folder, read_bounded, whole_path, write_over
from davy.ledger.client import RpcLedger
from davy.protocol.chain import ColdkeyInfo, Metagraph, Neuron
from davy.protocol.encoding import decode
from davy.protocol.errors import Misconfigured, TxCode, TxFailed
from davy.protocol.limits import MAX_RESULT_BYTES
from davy.protocol.words import Coldkey

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_MAX_BYTES: Final = 4 * 1024
DEFAULT_NETWORK: Final = Path("~/.davy/network.json")


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the ledger answers and which chain it must be. `faucet` is there on local networks only."""

    version: Literal[1]
    chain: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    """Chain id in hex: the SHA-256 of the genesis."""
    ledger: Annotated[str, Meta(pattern="^https?://", max_length=512)]
    faucet: Annotated[str, Meta(max_length=512)] = ""


def network_option(function: F) -> F:
    """``--network``: the network file; $DAVY_NETWORK, or ~/.davy/network.json."""
    return click.option(
        "--network",
        type=Place(),
        envvar="DAVY_NETWORK",
        default=DEFAULT_NETWORK,
        show_default=True,
        help="Network file ($DAVY_NETWORK).",
    )(function)


def read_network(path: Path) -> Network:
    """Read a network file.

    Raises
    ------
    Misconfigured
        It is missing or broken.
    """
    path = whole_path(path)
    if not path.exists():
        raise Misconfigured(f"there is no network file {path}; start a local network with `davy up`, or give --network")
    try:
        return msgspec.json.decode(read_bounded(path, _MAX_BYTES), type=Network)
    except (msgspec.DecodeError, msgspec.ValidationError) as e:
        raise Misconfigured(
            f"{path} is not a network file ({e}); copy it again from whoever runs the network"
        ) from None


def write_network(path: Path, network: Network) -> None:
    """Write a network file in place of any before it."""
    path = whole_path(path)
    make_private_folder(path.parent)
    write_over(path, msgspec.json.format(msgspec.json.encode(network)) + b"\n")


@asynccontextmanager
async def ledger_of(network: Network) -> AsyncGenerator[RpcLedger]:
    """Open a client to the network's ledger.

    Raises
    ------
    Misdirected
        It runs another chain than the network file says.
    """
    async with RpcLedger(network.ledger, bytes.fromhex(network.chain)) as ledger:
        await ledger.genesis()
        yield ledger


async def asked(ledger: RpcLedger, path: str, data: bytes, kind: type[T]) -> T:
    """What the ledger answers on a path, unproved.

    Raises
    ------
    TxFailed
        NOT_FOUND mostly.
    """
    return decode(await ledger.query(path, data), kind, limit=MAX_RESULT_BYTES)


async def coldkey_of(ledger: RpcLedger, key: Coldkey) -> Coldkey:
    """The name of what a coldkey signs for: the key itself, unless it took another one's place."""
    return (await asked(ledger, "/coldkey", key, ColdkeyInfo)).owner


async def metagraph_of(ledger: RpcLedger, netuid: int) -> Metagraph:
    """Return a subnet's neurons.

    Raises
    ------
    Misconfigured
        There is no such subnet; the message names those there are.
    """
    try:
        return await ledger.metagraph(netuid)
    except TxFailed as e:
        if e.code is not TxCode.NOT_FOUND:
            raise
        there = ", ".join(str(s.netuid) for s in await ledger.subnets()) or "none"
        raise Misconfigured(f"this network has no subnet {netuid}; it has {there}; choose with --netuid") from None


def neuron_of(m: Metagraph, hotkey: bytes) -> Neuron:
    """Return the neuron of a hotkey.

    Raises
    ------
    Misconfigured
        It has none on this subnet.
    """
    found = next((n for n in m.neurons if n.hotkey == hotkey), None)
    if found is None:
        netuid = m.subnet.netuid
        raise Misconfigured(
            f"this home's hotkey has no UID on subnet {netuid}; get one with `davy register --netuid {netuid}`"
        )
    return found
