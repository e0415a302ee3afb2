"""`davy brake clock`: the time that a node has kept, after its machine's clock was ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, network_option, read_network
from davy.cli.options import home_option, json_option
from davy.cli.output import show
from davy.host.clock import SystemClock
from davy.host.home import Home
from davy.host.store import SqliteStore
from davy.killswitch.brake import first_state, on_record, record, take
from davy.killswitch.clocks import moment
from davy.killswitch.index import INDEX, ORDER, clock_mended, read_index
from davy.protocol.encoding import encode
from davy.protocol.errors import Misconfigured


@click.command("clock")
@home_option
@network_option
@json_option
def clock_command(home: Path, network: Path, as_json: bool) -> None:
    """Give a node the time of its machine and of the ledger, after its clock was ahead once.

    A node's time never goes back by itself, and until it is that late no systemic model runs on it. Stop the node, set
    the machine's clock right, and type this with the node's home. All orders that it knows are kept, and nothing is
    permitted that the ledger's time does not permit.
    """
    place = Home.open(home)
    with place.running():
        show(run(_mend, place, read_network(network)), as_json=as_json)


async def _mend(home: Home, network: Network) -> dict[str, Any]:
    if not home.store.exists():
        raise Misconfigured(f"no node has run in {home.root} yet, so it has kept no time")
    async with ledger_of(network) as ledger:
        genesis, block = await ledger.genesis(), await ledger.head()
    with SqliteStore(home.store) as store:
        raw = await store.get(INDEX)
        if raw is None:
            raise Misconfigured(f"the node of {home.root} has kept no time: nothing has to be mended")
        kept = read_index(raw)
        orders = [order for i in kept.orders if (order := await store.get(ORDER + i))]
        if kept.chain.hex() != network.chain:
            raise Misconfigured(f"{home.root} belongs to another chain than the network file; choose with --network")
        known = record(take(first_state(genesis), orders).state, {r.id: r.time for r in kept.recorded})
        mended = clock_mended(kept, on_record(known), SystemClock().now(), block)
        await store.put(INDEX, encode(mended))
    return {"kept_before": moment(kept.own), "kept_now": moment(mended.own), "newest_block": moment(block.time)}
