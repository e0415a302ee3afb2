"""Which network a command speaks to: a small file that `davy up` writes and everybody else reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import click
import msgspec
from msgspec import Meta

from davy.host.files import read_bounded, write_over
from davy.ledger.client import RpcLedger
from davy.protocol.errors import Misconfigured

F = TypeVar("F", bound=Callable[..., Any])

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
        type=click.Path(path_type=Path),
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
    path = path.expanduser()
    if not path.exists():
        raise Misconfigured(f"there is no network file {path}; start a local network with `davy up`, or give --network")
    try:
        return msgspec.json.decode(read_bounded(path, _MAX_BYTES), type=Network)
    except (msgspec.DecodeError, msgspec.ValidationError) as e:
        raise Misconfigured(f"{path} is no network file ({e}); copy it again from whoever runs the network") from None


def write_network(path: Path, network: Network) -> None:
    """Write a network file in place of any before it."""
    path = path.expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_over(path, msgspec.json.format(msgspec.json.encode(network)) + b"\n")


@asynccontextmanager
async def ledger_of(network: Network) -> AsyncGenerator[RpcLedger]:
    """Open a client to the network's ledger."""
    async with RpcLedger(network.ledger, bytes.fromhex(network.chain)) as ledger:
        yield ledger
