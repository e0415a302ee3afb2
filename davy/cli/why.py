"""`davy why`: what a miner's standing rests on, as this home's validator measured it and as the ledger has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, metagraph_of, network_option, read_network
from davy.cli.options import home_option, json_option, netuid_option, tokens
from davy.cli.output import show, show_table
from davy.host.home import Home
from davy.host.store import SqliteStore
from davy.ledger.client import RpcLedger
from davy.protocol.chain import Metagraph, Neuron, RowsInForce
from davy.protocol.errors import Misconfigured
from davy.protocol.words import U16, KeyRole, key_from_text, key_text
from davy.tasks.skill import MINIMUM, STANDARD_ERRORS, UNIT, Standing, weight
from davy.validators.grounds import MILLION, Forgiven, Ground, Grounds
from davy.validators.standing import Seat, Standings, Verdict

_EPOCHS: Final = 4
NOT_HERE: Final = (
    "no scores lie in this home: they lie with the validators, each of which shows its own with `davy why` in its "
    "--home, from its first round on; what the ledger knows follows"
)


class Book(NamedTuple):
    """What a validator keeps of one miner."""

    standing: Standing
    grounds: Sequence[Ground]
    forgiven: Forgiven
    verdicts: Sequence[Verdict]


class Known(NamedTuple):
    """What is known of one UID; `book` is None where no validator has judged a round."""

    neuron: Neuron
    graph: Metagraph
    rows: RowsInForce
    paid: Mapping[int, int]
    """Base units at each of its last epochs, to miner and validator side together."""
    book: Book | None


@click.command("why")
@home_option
@network_option
@netuid_option
@json_option
@click.option("--last", type=click.IntRange(1, 100_000), default=32, show_default=True, help="Challenges to list.")
@click.argument("miner", metavar="UID|HOTKEY")
def why_command(home: Path, network: Path, netuid: int, as_json: bool, last: int, miner: str) -> None:
    """Show why a miner's standing is what it is: its scores, what the evidence says, and what the ledger paid.

    Scores are private to the validator that gave them: they are shown only in its own home.
    """
    known = run(_known, Home.open(home), read_network(network), netuid, miner, last)
    if as_json:
        click.echo(msgspec.json.encode(_told(known)))
        return
    _show(known)


async def _known(home: Home, network: Network, netuid: int, miner: str, last: int) -> Known:
    hotkey = key_from_text(KeyRole.HOTKEY, miner) if miner.startswith("hot_") else None
    if hotkey is None and not (miner.isascii() and miner.isdigit() and len(miner) <= 5 and int(miner) <= U16):
        raise Misconfigured(f"'{miner[:64]}' names no miner; write its UID, or its hotkey (hot_…): `davy status`")
    async with ledger_of(network) as ledger:
        m = await metagraph_of(ledger, netuid)
        neuron = _neuron(m, miner, hotkey)
        rows = await ledger.rows(netuid)
        paid = await _paid(ledger, m, neuron)
    if not home.store.exists():
        return Known(neuron, m, rows, paid, None)
    store = SqliteStore(home.store)
    try:
        standings, grounds = Standings(netuid, store), Grounds(netuid, store)
        await standings.open()
        await grounds.open()
        seat = Seat(neuron.hotkey, neuron.registered_at)
        verdicts = (await standings.reasons(neuron.hotkey))[-last:]
        book = Book(standings.of(seat), grounds.of(seat), grounds.forgiven(seat), verdicts)
        return Known(neuron, m, rows, paid, book if standings.rounds else None)
    finally:
        store.close()


def _neuron(m: Metagraph, miner: str, hotkey: bytes | None) -> Neuron:
    neuron = next((n for n in m.neurons if (n.hotkey == hotkey if hotkey else n.uid == int(miner))), None)
    if neuron is None:
        who = f"UID {miner}" if hotkey is None else "such hotkey"
        raise Misconfigured(f"subnet {m.subnet.netuid} has no {who}; `davy status` lists those it has")
    return neuron


async def _paid(ledger: RpcLedger, m: Metagraph, n: Neuron) -> dict[int, int]:
    """What the last epochs paid to this registration; a UID's earlier holder is left out."""
    found: dict[int, int] = {}
    for epoch in range(max(0, m.subnet.epoch - _EPOCHS), m.subnet.epoch):
        record = await ledger.epoch(m.subnet.netuid, epoch)
        if record is not None and record.height > n.registered_at and n.uid < len(record.miners):
            found[epoch] = record.miners[n.uid] + record.validators[n.uid]
    return found


def _told(k: Known) -> dict[str, Any]:
    value: dict[str, Any] = {
        "uid": k.neuron.uid,
        "hotkey": key_text(KeyRole.HOTKEY, k.neuron.hotkey),
        "judged_here": k.book is not None,
        "challenges": 0,
        "verdicts": [],
    }
    if k.book is not None:
        standing = k.book.standing
        value |= {
            "challenges": standing.count,
            "skill": round(standing.skill, 4),
            "error": round(standing.error, 4) if standing.count > 1 else None,
            "weight": round(weight(standing), 4),
            "weight_after_evidence": round(_after(k.book), 4),
            "evidence": [
                {
                    "claim": g.claim,
                    "factor": g.factor / MILLION,
                    "said": g.said,
                    "alike": [key_text(KeyRole.HOTKEY, hotkey) for hotkey in g.alike],
                }
                for g in k.book.grounds
            ],
            "forgiven": k.book.forgiven._asdict(),
            "verdicts": [_row(v) for v in k.book.verdicts],
        }
    return {**value, "ledger": _on_ledger(k)}


def _on_ledger(k: Known) -> dict[str, Any]:
    n = k.neuron
    return {
        "incentive": round(n.incentive / U16, 4),
        "consensus": round(n.consensus / U16, 4),
        "dividends": round(n.dividends / U16, 4),
        "earned": tokens(n.earned),
        "paid": {epoch: tokens(units) for epoch, units in k.paid.items()},
        "serves": n.model[0].model_id.hex() if n.model else "",
        "weights": {row.uid: round(_share(row.values, n.uid), 4) for row in k.rows.rows},
    }


def _share(values: Sequence[tuple[int, int]], uid: int) -> float:
    whole = sum(value for _, value in values)
    return dict(values).get(uid, 0) / whole if whole else 0.0


def _after(book: Book) -> float:
    left = weight(book.standing)
    for g in book.grounds:
        left *= g.factor / MILLION
    return left


def _show(k: Known) -> None:
    if k.book is None:
        click.echo(NOT_HERE)
    show({**(_book_in_words(k, k.book) if k.book else {}), **_ledger_in_words(k)}, as_json=False)
    if k.book is not None and k.book.verdicts:
        show_table(("time", "difference", "reason"), [_row(v) for v in k.book.verdicts], as_json=False)


def _book_in_words(k: Known, book: Book) -> dict[str, str]:
    said = {f"UID {k.neuron.uid}": key_text(KeyRole.HOTKEY, k.neuron.hotkey), "scores": _scored(k, book)}
    uids = {n.hotkey: n.uid for n in k.graph.neurons}
    for g in book.grounds:
        others = ", ".join(f"UID {uids[h]}" if h in uids else f"{key_text(KeyRole.HOTKEY, h)[:12]}…" for h in g.alike)
        said[g.claim] = f"× {g.factor / MILLION:.4g}: {g.said}{f' (with {others})' if others else ''}"
    forgiven = [
        f"{rounds} round{'s' * (rounds != 1)} {why}"
        for rounds, why in (
            (book.forgiven.swapped, "in which it went over to another model"),
            (book.forgiven.halted, "in which it was halted"),
        )
        if rounds
    ]
    if forgiven:
        said["forgiven"] = f"its failures do not count of {' and '.join(forgiven)}"
    said["weight"] = f"{_after(book):.4g}, to be set against the other miners'"
    return said


def _scored(k: Known, book: Book) -> str:
    s = book.standing
    if not s.count:
        serves = k.neuron.model and k.neuron.endpoint
        return "no answer was judged yet" if serves else "none: it serves nothing, so it is not asked"
    error = f" ± {s.error:.4f}" if s.count > 1 else ""
    failed = sum(1 for v in book.verdicts if v.reason)
    listed = f"; of the {len(book.verdicts)} listed below {failed} could not be scored" if failed else ""
    held = f"skill {s.skill:.4f}{error} nats above the public baseline over {s.count} challenges{listed}"
    if s.count < MINIMUM:
        return f"{held}; nothing is paid before {MINIMUM}"
    if not weight(s):
        return f"{held}; nothing is paid below {STANDARD_ERRORS} standard errors"
    return f"{held}; weight by scores {weight(s):.4f}"


def _ledger_in_words(k: Known) -> dict[str, str]:
    known = _on_ledger(k)
    weights: Mapping[int, float] = known.pop("weights")
    words = [f"validator {uid}: {share:.2%}" for uid, share in weights.items() if uid != k.neuron.uid]
    paid = ", ".join(f"{amount} at epoch {epoch}" for epoch, amount in known["paid"].items())
    return {
        "serves": known["serves"] or "nothing",
        "incentive": f"{known['incentive']} of what the last epoch paid to miners",
        "consensus": f"{known['consensus']}, the most that half of the stake gives it",
        "paid": f"{known['earned']} tokens since registration{f'; {paid}' if paid else ''}",
        "weights": "; ".join(words) or "no validator's row is open",
    }


def _row(v: Verdict) -> dict[str, object]:
    at = datetime.fromtimestamp(v.time / 1000, UTC).isoformat(timespec="seconds")
    return {"time": at, "difference": v.difference / UNIT, "reason": v.reason or "scored"}
