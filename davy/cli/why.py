"""`davy why`: what a validator measured of one miner, challenge by challenge, and what follows from it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from davy.cli.network import Network, ledger_of, metagraph_of, network_option, read_network
from davy.cli.options import home_option, json_option, netuid_option, run
from davy.cli.output import show_table
from davy.host.home import Home
from davy.host.store import SqliteStore
from davy.protocol.errors import Misconfigured
from davy.protocol.words import KeyRole, key_text
from davy.tasks.skill import UNIT, weight
from davy.validators.standing import Seat, Standings, Verdict


@click.command("why")
@home_option
@network_option
@netuid_option
@json_option
@click.option("--last", type=click.IntRange(1, 100_000), default=32, show_default=True, help="Challenges to list.")
@click.argument("uid", type=click.IntRange(0, 65_535))
def why_command(home: Path, network: Path, netuid: int, as_json: bool, last: int, uid: int) -> None:
    """Show each challenge's score and reason for UID, as this home's validator measured them."""
    run(_why, Home.open(home), read_network(network), netuid, uid, last, as_json)


async def _why(home: Home, network: Network, netuid: int, uid: int, last: int, as_json: bool) -> None:
    async with ledger_of(network) as ledger:
        m = await metagraph_of(ledger, netuid)
    neuron = next((n for n in m.neurons if n.uid == uid), None)
    if neuron is None:
        raise Misconfigured(f"subnet {netuid} has no UID {uid}; `davy status` lists those it has")
    if not home.store.exists():
        raise Misconfigured(f"no validator has run in {home.root}; give the --home of one")
    store = SqliteStore(home.store)
    try:
        standings = Standings(netuid, store)
        await standings.open()
        standing = standings.of(Seat(neuron.hotkey, neuron.registered_at))
        verdicts = (await standings.reasons(neuron.hotkey))[-last:]
    finally:
        store.close()
    summary = {
        "uid": uid,
        "hotkey": key_text(KeyRole.HOTKEY, neuron.hotkey),
        "challenges": standing.count,
        "skill": round(standing.skill, 4),
        "error": round(standing.error, 4) if standing.count > 1 else None,
        "weight": round(weight(standing), 4),
    }
    if as_json:
        click.echo(msgspec.json.encode({**summary, "verdicts": [_row(v) for v in verdicts]}))
        return
    title = f"UID {uid}: no answer was scored yet"
    if standing.count:
        error = f" ± {summary['error']}" if standing.count > 1 else ""
        title = (
            f"UID {uid}: skill {summary['skill']}{error} nats over {standing.count} challenges, "
            f"weight before identity and originality {summary['weight']}"
        )
    show_table(("time", "difference", "reason"), [_row(v) for v in verdicts], as_json=False, title=title)


def _row(v: Verdict) -> dict[str, object]:
    at = datetime.fromtimestamp(v.time / 1000, UTC).isoformat(timespec="seconds")
    return {"time": at, "difference": v.difference / UNIT, "reason": v.reason or "scored"}
