"""`davy brake probe`: hold a stream open at each miner that serves, and see who stops, by which order and when."""

from __future__ import annotations

import re
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
from davy.killswitch.scope import ModelFacts, Subject
from davy.ledger.client import RpcLedger
from davy.network.http_client import HttpTransport
from davy.network.node_brake import subject_of
from davy.network.probing import Orders, Probed, Stops, Watch, keyholders_known
from davy.network.signed_client import SignedClient
from davy.protocol.chain import Neuron
from davy.protocol.errors import Misconfigured, Refused, TxFailed
from davy.protocol.limits import DAY_MS
from davy.protocol.order import open_order, order_id
from davy.protocol.receipt import Anchor
from davy.protocol.words import KeyRole, Netuid, UnixMillis, key_text

_LOOK_S: Final = 0.1
_OPENING_S: Final = 5.0
"""For streams to be opened: a miner may be busy, or a block behind."""
_MORE_S: Final = 5.0
"""How much longer they are asked again who have all stopped."""
_MOST: Final = 900
"""Streams: `HttpTransport` opens 1,000 connections, and a process 1,024 files."""
_ORDER: Final = re.compile("[0-9a-f]{8,64}")


class Found(NamedTuple):
    """A miner of one model, and where the ledger shows it."""

    to: Probed
    places: list[tuple[Netuid, Neuron]]


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
        if w.relapsed or w.flows or (w.tokens and not w.fault):
            return "goes on"
        return "refuses" if w.refuses else "unreached"

    @property
    def settled(self) -> bool:
        """Whether it has stopped, or served again after it had."""
        return self.watch.ended is not None or self.watch.relapsed

    @property
    def stopped_at(self) -> UnixMillis | None:
        """When it was seen to stop; nobody saw when those did that had stopped before."""
        return self.watch.ended if self.state == "stopped" else None

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
@click.option("--order", "only", metavar="ID", help="Only this order counts as a stop (8 digits of it or more).")
@click.option(
    "--for", "term", type=Term(DAY_MS), default="10m", show_default=True, help="How long, such as 30m; at most 1d."
)
@json_option
def probe(
    home: Path, network: Path, netuids: tuple[int, ...], model: str | None, only: str | None, term: int, as_json: bool
) -> int:
    """Hold a stream open at each miner that serves, and see who stops, by which order and when.

    Begin before a halt, and give the order when this says so. Who has stopped is asked again each second, and goes on
    if it serves once. It ends when all have stopped for 5 seconds, after --for, or by Ctrl-C. Times are this machine's.
    The home's hotkey needs as much stake as the miners ask of a caller.

    A miner that does not answer counts as unreached, and one that shows no order that stops it now as refusing. The
    exit code is 1 unless all have stopped.
    """
    wanted = None if model is None else digest_of(model, "a model id")
    if only is not None and not _ORDER.fullmatch(only := only.lower()):
        raise Misconfigured(f"'{only[:64]}' is not an order's id: 8 to 64 hex digits; `davy brake status` shows it")
    keys = unlocked(Home.open(home), KeyRole.HOTKEY)
    told = run(_probe, keys, read_network(network), netuids, wanted, only or "", term)
    if as_json:
        show(told, as_json=True)
    else:
        columns = ("where", "miner", "state", "stopped", "order", "fault")
        show_table(columns, list(map(_words, told["miners"])), as_json=False)
        click.echo(_summary(told))
    return 0 if told["stopped"] == len(told["miners"]) else 1


async def _probe(
    keys: FileKeyStore, network: Network, netuids: Sequence[int], model: bytes | None, only: str, term: int
) -> dict[str, Any]:
    clock = SystemClock()
    async with ledger_of(network) as ledger, HttpTransport(clock) as transport:
        genesis = await ledger.genesis()
        if not genesis.keyholders:
            raise Misconfigured("this chain has no keyholders: nobody can halt it, so there is no stop to wait for")
        orders = Orders(keyholders_known(genesis, await ledger.brake()))
        found = await _serving(ledger, netuids, model)
        subjects = await _subjects(ledger, found)
        head, client = await ledger.head(), SignedClient(keys, ledger.chain, transport, clock, OsEntropy())
        anchor, held = Anchor(head.height, head.hash), list[Held]()
        for to, ((netuid, neuron), *_) in found:
            watch = Watch(to, client, clock, anchor, Stops(orders, tuple(subjects[to]), only))
            held.append(Held(netuid, neuron, watch))
        await until_told(partial(_hold, held, term), "The streams are let go.")
        await _ask_last(held)
    return told_of(held)


async def _serving(ledger: RpcLedger, netuids: Sequence[int], model: bytes | None) -> list[Found]:
    """Each miner once for each model that it serves.

    Raises
    ------
    Misconfigured
        There are none, or more than one process can hold streams at.
    """
    found: dict[Probed, Found] = {}
    for netuid in netuids or [s.netuid for s in await ledger.subnets()]:
        for n in (await metagraph_of(ledger, netuid)).neurons:
            if n.endpoint and n.model and model in (None, n.model[0].model_id):
                to = Probed(n.endpoint[0], n.hotkey, n.model[0].model_id)
                found.setdefault(to, Found(to, [])).places.append((netuid, n))
    if not found:
        raise Misconfigured("no miner serves that on the ledger; `davy status` lists who serves what")
    if len(found) > _MOST:
        raise Misconfigured(
            f"{len(found)} streams are more than the {_MOST} that can be held; name --model or --netuid"
        )
    return list(found.values())


async def _subjects(ledger: RpcLedger, found: Sequence[Found]) -> dict[Probed, list[Subject]]:
    """What orders know of each, wherever it serves; all are looked up in the time of one.

    Where the ledger does not tell, nothing but its names: then fewer orders are taken for what stops it, never more.
    """
    known: dict[Probed, list[Subject]] = {f.to: [] for f in found}

    async def look(to: Probed, netuid: Netuid) -> None:
        try:
            known[to].append(subject_of(await ledger.subject(netuid, to.miner, to.model)))
        except (TxFailed, Refused):
            known[to].append(Subject(netuid, to.miner, ModelFacts(to.model, frozenset(), b"")))

    async with anyio.create_task_group() as tasks:
        for f in found:
            for netuid, _ in f.places:
                tasks.start_soon(look, f.to, netuid)
    return known


async def _hold(held: Sequence[Held], term: int) -> None:
    with anyio.move_on_after(term / 1000):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_tell, held)
            for h in held:
                tasks.start_soon(h.watch.keep)
            while not all(h.settled for h in held):  # noqa: ASYNC110 - a watch tells nobody
                await anyio.sleep(_LOOK_S)
            await anyio.sleep(_MORE_S)
            tasks.cancel_scope.cancel()


async def _ask_last(held: Sequence[Held]) -> None:
    """Ask all who have stopped once more: one may have just been asked, or have stopped a moment ago."""
    async with anyio.create_task_group() as tasks:
        for h in held:
            if h.watch.ended is not None:
                tasks.start_soon(h.watch.ask_again)


async def _tell(held: Sequence[Held]) -> None:
    """Say at how many miners streams are open, when all are or enough time was given; then who stops."""
    until, said, announced = anyio.current_time() + _OPENING_S, set[tuple[Probed, str]](), -1
    while True:
        ready = sum(h.watch.flows or h.settled for h in held)
        if ready > announced and (ready == len(held) or anyio.current_time() >= until):
            for h in held:
                if h.watch.fault and announced < 0:
                    click.echo(f"{h.where}: {h.watch.fault}", err=True)
            flowing, announced = sum(h.watch.flows for h in held), ready
            now = ": give the order now" if flowing else ""
            click.echo(f"Streams are open at {flowing} of {len(held)} miners{now}.", err=True)
        for h in held:
            if h.settled and (h.watch.to, h.state) not in said:
                said.add((h.watch.to, h.state))
                more = f": {h.watch.fault}" if h.watch.relapsed else ""
                more = more if h.stopped_at is None else f", {_at(h.stopped_at)}"
                click.echo(f"{h.where} {h.state}{more}", err=True)
        await anyio.sleep(_LOOK_S)


def told_of(held: Sequence[Held]) -> dict[str, Any]:
    """What was seen; times are Unix milliseconds, and of those only that were seen to stop."""
    seen = [h.stopped_at for h in held if h.stopped_at is not None]
    return {
        "miners": [
            {
                "netuid": h.netuid,
                "uid": h.neuron.uid,
                "miner": key_text(KeyRole.HOTKEY, h.neuron.hotkey),
                "model": h.watch.to.model.hex(),
                "where": h.where,
                "state": h.state,
                "stopped_at": h.stopped_at,
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
