"""`davy brake probe`: hold a stream open at each miner that serves, and see who stops, by which order and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import anyio
import click

from davy.cli.ending import until_told
from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, metagraph_of, network_option, read_network
from davy.cli.options import Term, home_option, json_option, unlocked
from davy.cli.output import show, show_table
from davy.cli.targets import digest_of
from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.ledger.client import RpcLedger
from davy.network.http_client import HttpTransport
from davy.network.probing import Probed, Watch, keyholders_known
from davy.network.signed_client import SignedClient
from davy.protocol.chain import Neuron
from davy.protocol.errors import Misconfigured
from davy.protocol.limits import DAY_MS
from davy.protocol.order import open_order, order_id
from davy.protocol.receipt import Anchor
from davy.protocol.words import KeyRole, Netuid, UnixMillis, key_text

_LOOK_S: Final = 0.1
_OPENING_S: Final = 5.0
"""For streams to be opened: a miner may be busy, or a block behind."""


class Held(NamedTuple):
    """A miner where the ledger shows it, and what is seen of it; `state` says it in a word."""

    netuid: Netuid
    neuron: Neuron
    watch: Watch

    @property
    def state(self) -> str:
        w = self.watch
        if w.ended is not None:
            return "stopped" if w.tokens else "stopped before"
        if w.flows or (w.tokens and not w.fault):
            return "goes on"
        return "refuses" if w.refuses else "unreached"

    @property
    def where(self) -> str:
        return f"{self.watch.to.endpoint.host}:{self.watch.to.endpoint.port}"


@click.command("probe")
@home_option
@network_option
@click.option(
    "--netuid", "netuids", type=click.IntRange(0, 65_535), multiple=True, help="Only this subnet; may be repeated."
)
@click.option("--model", help="Only miners that serve this model (64 hex digits).")
@click.option(
    "--for", "term", type=Term(DAY_MS), default="10m", show_default=True, help="How long, such as 30m; at most 1d."
)
@json_option
def probe(home: Path, network: Path, netuids: tuple[int, ...], model: str | None, term: int, as_json: bool) -> int:
    """Hold a stream open at each miner that serves, and see who stops, by which order and when.

    Begin before a halt, and give the order when this says so. It ends when all have stopped, after --for, or by Ctrl-C.
    Times are this machine's. The home's hotkey needs as much stake as the miners ask of a caller.

    A miner that does not answer counts as unreached. The exit code is 1 unless all have stopped.
    """
    wanted = None if model is None else digest_of(model, "a model id")
    keys = unlocked(Home.open(home), KeyRole.HOTKEY)
    told = run(_probe, keys, read_network(network), netuids, wanted, term)
    if as_json:
        show(told, as_json=True)
    else:
        columns = ("where", "miner", "state", "stopped", "order", "fault")
        show_table(columns, list(map(_words, told["miners"])), as_json=False)
        click.echo(_summary(told))
    return 0 if told["stopped"] == len(told["miners"]) else 1


async def _probe(
    keys: FileKeyStore, network: Network, netuids: Sequence[int], model: bytes | None, term: int
) -> dict[str, Any]:
    clock = SystemClock()
    async with ledger_of(network) as ledger, HttpTransport(clock) as transport:
        genesis = await ledger.genesis()
        if not genesis.keyholders:
            raise Misconfigured("this chain has no keyholders: nobody can halt it, so there is no stop to wait for")
        state = keyholders_known(genesis, await ledger.brake())
        head, found = await ledger.head(), await _serving(ledger, netuids, model)
        client, anchor = SignedClient(keys, ledger.chain, transport, clock, OsEntropy()), Anchor(head.height, head.hash)
        held = [Held(netuid, n, Watch(to, client, clock, anchor, state)) for netuid, n, to in found]
        await until_told(partial(_hold, held, term), "The streams are let go.")
    return told_of(held)


async def _serving(
    ledger: RpcLedger, netuids: Sequence[int], model: bytes | None
) -> list[tuple[Netuid, Neuron, Probed]]:
    """Each miner once for each model that it serves.

    Raises
    ------
    Misconfigured
        There are none.
    """
    found: dict[Probed, tuple[Netuid, Neuron, Probed]] = {}
    for netuid in netuids or [s.netuid for s in await ledger.subnets()]:
        for n in (await metagraph_of(ledger, netuid)).neurons:
            if n.endpoint and n.model and model in (None, n.model[0].model_id):
                to = Probed(n.endpoint[0], n.hotkey, n.model[0].model_id)
                found.setdefault(to, (netuid, n, to))
    if not found:
        raise Misconfigured("no miner serves that on the ledger; `davy status` lists who serves what")
    return list(found.values())


async def _hold(held: Sequence[Held], term: int) -> None:
    with anyio.move_on_after(term / 1000):
        async with anyio.create_task_group() as telling:
            telling.start_soon(_tell, held)
            async with anyio.create_task_group() as watching:
                for h in held:
                    watching.start_soon(h.watch.run)
            telling.cancel_scope.cancel()


async def _tell(held: Sequence[Held]) -> None:
    """Say at how many miners streams are open, when all are or enough time was given; then who stops."""
    until, said, announced = anyio.current_time() + _OPENING_S, set[Probed](), -1
    while True:
        ready = sum(h.watch.flows or h.watch.ended is not None for h in held)
        if ready > announced and (ready == len(held) or anyio.current_time() >= until):
            for h in held:
                if h.watch.fault and announced < 0:
                    click.echo(f"{h.where}: {h.watch.fault}", err=True)
            flowing, announced = sum(h.watch.flows for h in held), ready
            now = ": give the order now" if flowing else ""
            click.echo(f"Streams are open at {flowing} of {len(held)} miners{now}.", err=True)
        for h in held:
            if h.watch.ended is not None and h.watch.to not in said:
                said.add(h.watch.to)
                click.echo(f"{h.where} {h.state}, {_at(h.watch.ended)}", err=True)
        await anyio.sleep(_LOOK_S)


def told_of(held: Sequence[Held]) -> dict[str, Any]:
    """What was seen; times are Unix milliseconds, and of those only that were seen to stop."""
    seen = [h.watch.ended for h in held if h.state == "stopped" and h.watch.ended is not None]
    return {
        "miners": [
            {
                "netuid": h.netuid,
                "uid": h.neuron.uid,
                "miner": key_text(KeyRole.HOTKEY, h.neuron.hotkey),
                "model": h.watch.to.model.hex(),
                "where": h.where,
                "state": h.state,
                "stopped_at": h.watch.ended,
                "order": order_id(open_order(h.watch.order)[0].order).hex() if h.watch.order else "",
                "tokens": h.watch.tokens,
                "fault": h.watch.fault,
            }
            for h in held
        ],
        "stopped": sum(h.watch.ended is not None for h in held),
        "first_at": min(seen, default=None),
        "last_at": max(seen, default=None),
    }


def _words(row: Mapping[str, Any]) -> dict[str, Any]:
    at, miner = row["stopped_at"], f"{row['netuid']}/{row['uid']}"
    return {**row, "miner": miner, "order": row["order"][:16], "stopped": "" if at is None else _at(at)}


def _summary(told: Mapping[str, Any]) -> str:
    line = f"{told['stopped']} of {len(told['miners'])} miners have stopped"
    if told["first_at"] is None:
        return line
    took = told["last_at"] - told["first_at"]
    return f"{line}; of those seen to stop the first did at {_at(told['first_at'])}, the last {took} ms later"


def _at(t: UnixMillis) -> str:
    return f"{datetime.fromtimestamp(t // 1000, UTC):%Y-%m-%d %H:%M:%S}.{t % 1000:03} UTC"
