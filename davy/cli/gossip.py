"""`davy gossip`: the process of a node's libp2p route, which nodes start; and the options by which they do."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click

from davy.cli.options import Host, host_fault
from davy.host.clock import SystemClock
from davy.network.gossip.joining import Joining, is_installed
from davy.network.gossip.pipe import Met
from davy.network.gossip.route import Listening
from davy.protocol.errors import Misconfigured, Refused

F = TypeVar("F", bound=Callable[..., Any])

LOCAL: Final = "127.0.0.1"
"""Where the process of a node listens that has no address for others."""
_PEER: Final = re.compile(r"(?P<peer>[0-9a-f]{64})@(?P<host>[^@\s]+):(?P<port>[0-9]{1,5})")
_LACKING: Final = "the extra `gossip` is not installed (pip install davy[gossip])"


@click.command("gossip")
def gossip_command() -> None:
    """Carry orders between nodes by libp2p, for the node that started this (`davy miner --gossip PORT`).

    It speaks with that node over standard input and output, and ends with it.
    """
    if sys.stdin.isatty():
        raise Misconfigured(
            "nodes start this by themselves: `davy miner --gossip PORT`, or a validator or a gateway so"
        )
    if not is_installed():
        raise Misconfigured(_LACKING)
    from davy.network.gossip.process import log_to_stderr, run_process

    log_to_stderr()
    try:
        run_process(SystemClock())
    except Refused as e:
        raise Misconfigured(f"what came on standard input is not a node: {e}") from None


def gossip_options(function: F) -> F:
    """``--gossip`` and ``--gossip-peer``: the libp2p route; off without them."""
    for option in (
        click.option(
            "--gossip-peer", "gossip_peers", multiple=True, metavar="KEY@HOST:PORT",
            help="A peer to dial besides those that the ledger names; may be repeated.",
        ),
        click.option(
            "--gossip-host", type=Host(),
            help="Host for --gossip to listen on; a miner's --host, or 127.0.0.1, by default.",
        ),
        click.option(
            "--gossip", "gossip_port", type=click.IntRange(0, 65_535),
            help="Also carry the brake's orders by libp2p, on this port (0 for any free one). Needs davy[gossip].",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def joining(host: str, port: int | None, peers: Sequence[str]) -> Joining | None:
    """Read the options; None where the route is off, which is said where the extra for it is missing.

    Raises
    ------
    Misconfigured
        A peer is not written as it should be, or there are peers without a port to listen on.
    """
    given = [_peer(text) for text in peers]
    if port is None:
        if given:
            raise Misconfigured("--gossip-peer needs --gossip PORT: 0 takes any free port")
        return None
    if not is_installed():
        click.echo(f"no orders by libp2p: {_LACKING}; the other routes go on", err=True)
        return None
    return Joining(Listening(host, port), given)


def _peer(text: str) -> Met:
    read = _PEER.fullmatch(text)
    if read is None or not 0 < int(read["port"]) < 65_536:
        raise Misconfigured(f"'{text[:160]}' is not a peer; write 64 hex digits of its key, then @HOST:PORT")
    host = read["host"].removeprefix("[").removesuffix("]")
    if fault := host_fault(host, public=False):
        raise Misconfigured(f"in the peer '{text[:160]}' the host {fault}")
    return Met(host, int(read["port"]), bytes.fromhex(read["peer"]))
