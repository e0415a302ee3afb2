"""`davy status`: the metagraph of a subnet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import msgspec
from msgspec.structs import asdict

from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, metagraph_of, network_option, read_network
from davy.cli.options import json_option, netuid_option, tokens
from davy.cli.output import show_table
from davy.cli.subnet import differences
from davy.protocol.chain import ComingHyperparameters, Metagraph, Neuron
from davy.protocol.errors import TxFailed
from davy.protocol.manifest import Access
from davy.protocol.words import U16, KeyRole, ModelId, key_text

_COLUMNS = ("uid", "hotkey", "stake", "permit", "consensus", "incentive", "dividends", "emission", "earned", "serves")


@click.command("status")
@network_option
@netuid_option
@json_option
def status_command(network: Path, netuid: int, as_json: bool) -> None:
    """Show a subnet's neurons: stake, consensus, incentive, dividends, emission, and what they serve."""
    m, coming, closed = run(_metagraph, read_network(network), netuid)
    changed = differences(m.subnet.hyperparameters, coming.hyperparameters[0]) if coming.hyperparameters else {}
    rows = [{**neuron_row(n), "access": access_of(n, closed)} for n in m.neurons]
    if as_json:
        subnet = {k: getattr(m.subnet, k) for k in ("netuid", "task", "mechanism", "epoch", "next_epoch_at")}
        subnet |= {"paid_by_stake": paid_by_stake(m)}
        subnet |= {"registration_price": tokens(m.subnet.registration_price), "pending": tokens(m.subnet.pending)}
        subnet |= {"hyperparameters": asdict(m.subnet.hyperparameters)}
        subnet |= {"coming": {"height": coming.height, "changes": changed} if changed else None}
        click.echo(msgspec.json.encode({"height": m.height, "subnet": subnet, "neurons": rows}))
        return
    s = m.subnet
    left = s.next_epoch_at - m.height
    title = f"subnet {s.netuid} · task {s.task} · height {m.height} · epoch {s.epoch}, the next in {left} blocks"
    if changed:
        told = ", ".join(f"{name} {getattr(s.hyperparameters, name)} → {value}" for name, value in changed.items())
        title += f"\nfrom height {coming.height} on: {told}"
    shown = [{**r, "hotkey": str(r["hotkey"])[:12] + "…", "serves": str(r["serves"])[:12]} for r in rows]
    if by_stake := paid_by_stake(m):
        title += f"\nthe last epoch found no {' and no '.join(by_stake)}: what is paid by that went by stake"
    if closed:
        told = ", ".join(f"{model.hex()[:12]} {access.value}" for model, access in sorted(closed.items()))
        title += f"\nwhose registrants say who may ask: {told}"
    show_table(_COLUMNS, shown, as_json=False, title=title)


def paid_by_stake(m: Metagraph) -> list[str]:
    """Name the halves of the last epoch's pay for which nobody had a share, so that it went by stake.

    Until there are weights, that is both: validators have emission then, and neither incentive nor dividends.
    """
    if not any(n.emission for n in m.neurons):
        return []
    halves = {"incentive": sum(n.incentive for n in m.neurons), "dividends": sum(n.dividends for n in m.neurons)}
    return [name for name, shares in halves.items() if not shares]


def neuron_row(n: Neuron) -> dict[str, object]:
    """Return one neuron as people and programs read it: proportions as fractions, amounts in tokens."""
    return {
        "uid": n.uid,
        "hotkey": key_text(KeyRole.HOTKEY, n.hotkey),
        "coldkey": key_text(KeyRole.COLDKEY, n.coldkey),
        "registered_at": n.registered_at,
        "stake": tokens(n.stake),
        "permit": n.permit,
        "active": n.active,
        "consensus": round(n.consensus / U16, 4),
        "incentive": round(n.incentive / U16, 4),
        "dividends": round(n.dividends / U16, 4),
        "trust": round(n.trust / U16, 4),
        "validator_trust": round(n.validator_trust / U16, 4),
        "emission": tokens(n.emission),
        "earned": tokens(n.earned),
        "serves": n.model[0].model_id.hex() if n.model else "",
        "endpoint": f"{n.endpoint[0].host}:{n.endpoint[0].port}" if n.endpoint else "",
    }


def access_of(n: Neuron, closed: Mapping[ModelId, Access]) -> str:
    """What the registrant of a neuron's model says of who may ask; empty where it serves none."""
    return closed.get(n.model[0].model_id, Access.ANY).value if n.model else ""


async def _metagraph(network: Network, netuid: int) -> tuple[Metagraph, ComingHyperparameters, dict[ModelId, Access]]:
    """With the models that are served of which their registrants say who may ask."""
    async with ledger_of(network) as ledger:
        try:  # first: what was coming may be in force by the time the neurons are read, and then shows as nothing
            coming = await ledger.coming(netuid)
        except TxFailed:  # there is no such subnet, as the next answer says in words
            coming = ComingHyperparameters(netuid, 0, ())
        m = await metagraph_of(ledger, netuid)
        served = sorted({n.model[0].model_id for n in m.neurons if n.model})
        said = zip(served, await ledger.accesses(served), strict=True)
        return m, coming, {model: a.access for model, a in said if a.access is not Access.ANY}
