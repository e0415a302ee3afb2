"""`davy brake`: how the brake stands, on every node and on the ledger; and who served in spite of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import click

from davy.cli.act import act
from davy.cli.clock import clock_command
from davy.cli.later import Whole
from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, network_option, read_network
from davy.cli.options import home_option, json_option, tokens, unlocked
from davy.cli.ordering import network_there, read_book_file
from davy.cli.output import show, show_table
from davy.cli.probing import probe
from davy.host.clock import SystemClock
from davy.host.files import read_bounded, whole_path
from davy.host.home import Home
from davy.host.journal import FileJournal
from davy.host.keys import FileKeyStore
from davy.keyholders.drills import DrillRelease, read_release, release_line
from davy.keyholders.release import Book
from davy.keyholders.screen import target_lines
from davy.keyholders.watch import (
    DrillSeen,
    LeaseSeen,
    Seen,
    age,
    ask_node,
    drill_seen,
    drills_of,
    halts_any,
    in_force,
    leases_seen,
    ledger_seen,
    together,
)
from davy.killswitch.book import HaltEntry
from davy.killswitch.brake import BrakeState, first_state, forget, head, record, take
from davy.killswitch.clocks import Clocks, moment
from davy.killswitch.scope import ModelFacts, Subject, covers
from davy.killswitch.verdict import model_class
from davy.ledger.client import RpcLedger
from davy.ledger.submit import hand_in
from davy.network.fan_out import Addressee, spread
from davy.network.http_client import HttpTransport
from davy.network.node_brake import Place, subject_of
from davy.network.receipts import Testimony
from davy.protocol.chain import Head, ModelRecord
from davy.protocol.encoding import decode
from davy.protocol.errors import DavyError, Malformed, Misconfigured, Misdirected, Refused, TxFailed, Unreachable
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import (
    FRESH_MS,
    MAX_BRAKE_ORDERS,
    MAX_HEADER_BYTES,
    MAX_RECEIPT_BYTES,
    MAX_RESULT_BYTES,
    MAX_SIGNED_ORDER_BYTES,
)
from davy.protocol.manifest import ModelClass
from davy.protocol.order import OrderId, open_order
from davy.protocol.receipt import Receipt, open_receipt
from davy.protocol.recorded import RecordedBrake
from davy.protocol.transaction import ConvictServedAfterHalt, Endpoint
from davy.protocol.words import KeyRole, ModelId, UnixMillis, key_text

_SCARCE: Final = MAX_BRAKE_ORDERS // 4
"""Orders that a roster may have left before it is told."""
_MAX_EVIDENCE: Final = MAX_HEADER_BYTES + MAX_RECEIPT_BYTES + 64


@click.group("brake", cls=Whole)
def brake_command() -> None:
    """Look at the brake, and convict whoever serves in spite of it."""


brake_command.add_command(probe)


@brake_command.command()
@home_option
@network_option
@click.option("--book", type=click.Path(path_type=Path), envvar="DAVY_BOOK", help="File of nodes ($DAVY_BOOK).")
@json_option
def status(home: Path, network: Path, book: Path | None, as_json: bool) -> int:
    """Show what is halted, who knows it, and when the brake was last drilled.

    It asks the nodes of --book and those that serve on the ledger; where no ledger answers only those of --book, about
    the chain of --home. The exit code is 1 if one of them does not answer, lacks an order that others have, or sees
    neither blocks nor heartbeats.
    """
    nodes = read_book_file(book)
    told = run(_look_about, home, network, nodes)
    if as_json:
        show(told, as_json=True)
    else:
        _show(told)
    return 0 if all(p["knows"] == "all" and not p["stale"] for p in told["places"]) else 1


@brake_command.command()
@network_option
@click.option("--book", type=click.Path(path_type=Path), envvar="DAVY_BOOK", help="File of nodes ($DAVY_BOOK).")
@json_option
@click.argument("file", type=click.Path(path_type=Path))
def bring(network: Path, book: Path | None, as_json: bool, file: Path) -> int:
    """Bring a signed order from FILE (of `--out`) to the ledger and to the nodes of --book; no key is needed.

    The exit code is 1 if nobody took it.
    """
    raw = read_bounded(file, MAX_SIGNED_ORDER_BYTES)
    try:
        open_order(raw)
    except Refused as e:
        raise Misconfigured(f"{file} holds no signed order ({e}); `davy halt … --out` writes one") from None
    rows = run(_bring, raw, read_book_file(book), network)
    if not rows:
        raise Misconfigured("there is nobody to bring it to: name nodes with --book, or a ledger with --network")
    show_table(("route", "to", "told"), rows, as_json=as_json)
    return 0 if any(r["reached"] for r in rows) else 1


brake_command.add_command(clock_command)


async def _bring(raw: bytes, book: Book, network: Path) -> list[dict[str, Any]]:
    clock, there = SystemClock(), network_there(network)
    rows: list[dict[str, Any]] = []
    if there is not None:
        try:
            async with ledger_of(there) as ledger:
                await hand_in(ledger, raw)
            rows.append({"route": "ledger", "to": "", "reached": True, "told": "recorded in a block"})
        except DavyError as e:
            rows.append({"route": "ledger", "to": "", "reached": False, "told": str(e)})
    async with HttpTransport(clock, pinned=False, plain=book.plain) as transport:
        for t in await spread([raw], [Addressee(to) for to in book.nodes], transport, clock):
            to = f"{t.to.endpoint.host}:{t.to.endpoint.port}"
            rows.append({"route": "node", "to": to, "reached": t.is_reached, "told": t.fault or "attested"})
    return rows


@brake_command.command()
@home_option
@network_option
@click.option("--halt", "named", help="Id of the HALT; found on the ledger by default.")
@json_option
@click.argument("evidence", type=click.Path(path_type=Path))
def convict(home: Path, network: Path, named: str | None, as_json: bool, evidence: Path) -> None:
    """Hand in EVIDENCE (of `davy ask --evidence`) against a miner that served what was halted.

    The ledger bars it for good, and burns what its owner has staked on it.
    """
    try:
        testimony = decode(read_bounded(evidence, _MAX_EVIDENCE), Testimony, limit=_MAX_EVIDENCE)
        receipt = open_receipt(testimony.receipt)
    except Refused as e:
        raise Misconfigured(f"{evidence} holds no evidence ({e}); `davy ask --evidence` writes it") from None
    keys = unlocked(Home.open(home), KeyRole.HOTKEY)
    show(run(_convict, keys, read_network(network), testimony, receipt, named), as_json=as_json)


async def _convict(
    keys: FileKeyStore, network: Network, testimony: Testimony, receipt: Receipt, named: str | None
) -> dict[str, Any]:
    async with ledger_of(network) as ledger:
        genesis = await ledger.genesis()
        if not genesis.keyholders:
            raise Misconfigured("nobody can halt this chain, so nobody served after a halt: it has no keyholders")
        state = together(genesis, [ledger_seen(genesis, "ledger", await ledger.brake())])
        served = Subject(hotkey=receipt.miner, model=await _facts(ledger, receipt.model_id))
        halt = halt_naming(served, state, SystemClock().now(), named)
        action = ConvictServedAfterHalt(halt, testimony.request, testimony.receipt)
        done = await act(ledger, keys, KeyRole.HOTKEY, action)
        record = await ledger.conviction(receipt.miner)
    burned = tokens(record.burned) if record is not None else ""
    miner = key_text(KeyRole.HOTKEY, receipt.miner)
    return {"convicted": miner, "halt": halt.hex(), "burned": burned, "height": done.height}


async def _facts(ledger: RpcLedger, model: ModelId) -> ModelFacts:
    try:
        raw = await ledger.query("/model", model)
    except TxFailed:
        return ModelFacts(model, frozenset(), b"")
    r = decode(raw, ModelRecord, limit=MAX_RESULT_BYTES)
    return ModelFacts(model, frozenset(f.digest for f in r.manifest.files), r.registrant)


def halt_naming(served: Subject, s: BrakeState, now: UnixMillis, named: str | None) -> OrderId:
    """Find the HALT that names what was served outright, rather one that has not ended; the ledger decides.

    Raises
    ------
    Misconfigured
    """
    halts = sorted((h for h in s.book.halts if h.lifted is None), key=lambda h: h.ends <= now)
    ids = [h.order.id for h in halts if covers(h.target, served)]
    found = [i for i in ids if i.hex().startswith((named or "").lower())]
    if not found:
        raise Misconfigured("no HALT in force on the ledger names this miner or model outright; `davy brake status`")
    return found[0]


async def _look_about(home: Path, network: Path, book: Book) -> dict[str, Any]:
    if not book.nodes:
        return await _look(read_network(network), book, home)
    there = network_there(network)
    try:
        if there is None:
            raise Misconfigured(f"{network} names none")
        return await _look(there, book, home)
    except Misdirected:
        raise  # it answers for another chain
    except (Unreachable, Misconfigured) as e:
        click.echo(f"The ledger is left out: {e}", err=True)
        genesis = Home.open(home).genesis()
        if there is not None and chain_id(genesis).hex() != there.chain:
            raise Misconfigured(f"{home} belongs to another chain than {network}; choose with --home") from None
        return await _look_at_nodes(genesis, book, str(e), home)


async def _look_at_nodes(genesis: Genesis, book: Book, fault: str, home: Path) -> dict[str, Any]:
    """What nodes say while no ledger does: without its times, and without knowing who is systemic but for a LEASE."""
    clock = SystemClock()
    places = [Seen("ledger", None, (), fault), *await _ask(genesis, book, book.nodes)]
    state, at = together(genesis, places), Clocks(clock.now(), None)
    leased = sorted({model for lease in state.book.leases for model in lease.models})
    systemic = [Subject(model=ModelFacts(m, frozenset(), b""), model_class=ModelClass.SYSTEMIC) for m in leased]
    leases, released = leases_seen(state, systemic, at), await _released_here(home, genesis)
    return _told(genesis, places, None, None, systemic, leases, at, released)


async def _released_here(home: Path, genesis: Genesis) -> DrillRelease | None:
    """What this home remembers of the drill that it released, if it ever did: none is needed to look about."""
    try:
        raw = await FileJournal(Home(whole_path(home)).orders).released()
        return None if raw is None else read_release(raw, chain_id(genesis))
    except (Misconfigured, Malformed) as e:
        click.echo(f"The drill released here is left out: {e}", err=True)
        return None


async def _ask(genesis: Genesis, book: Book, to: Sequence[Endpoint]) -> list[Seen]:
    clock, places = SystemClock(), list[Seen]()

    async def one(to: Endpoint) -> None:
        places.append(await ask_node(genesis, to, transport, clock))

    async with HttpTransport(clock, pinned=False, plain=book.plain) as transport, anyio.create_task_group() as tasks:
        for each in dict.fromkeys(to):
            tasks.start_soon(one, each)
    return sorted(places)


async def _look(network: Network, book: Book, home: Path) -> dict[str, Any]:
    async with ledger_of(network) as ledger:
        genesis = await ledger.genesis()
        if not genesis.keyholders:
            raise Misconfigured("this chain has no keyholders: nobody can halt it, and there is no brake to look at")
        recorded = await ledger.brake()
        newest = await ledger.head()
        listening, systemic = await _serving(ledger, _recorded_state(genesis, recorded))
        places = await _ask(genesis, book, [*book.nodes, *listening])
        drills = drills_of(genesis, recorded)
        last = drill_seen(drills[-1], recorded, await ledger.attestations(drills[-1].id)) if drills else None
    places = [ledger_seen(genesis, "ledger", recorded), *places]
    at = Clocks(SystemClock().now(), newest.time)
    on_ledger = _recorded_state(genesis, recorded)
    systemic = [x for x in systemic if model_class(on_ledger, x, at) is ModelClass.SYSTEMIC]
    leases, released = leases_seen(on_ledger, systemic, at), await _released_here(home, genesis)
    return _told(genesis, places, newest, last, systemic, leases, at, released)


def _recorded_state(g: Genesis, told: RecordedBrake) -> BrakeState:
    """What nodes act on where it is about permissions."""
    taken = take(first_state(g), [o.order for o in told.orders])
    times = {o.order: o.time for o in told.orders}
    return record(taken.state, {v.id: times[v.raw] for v in taken.orders})


async def _serving(ledger: RpcLedger, state: BrakeState) -> tuple[list[Endpoint], list[Subject]]:
    """Where nodes listen; and what may be systemic: whatever orders say so of, or a subnet, and all that is leased."""
    found: list[Endpoint] = []
    places: list[Place] = []
    leased = {model for lease in state.book.leases for model in lease.models}
    named = leased | {model for raised in state.book.raises for model in raised.models.ids}
    subjects = [Subject(model=ModelFacts(m, frozenset(), b""), model_class=ModelClass.SYSTEMIC) for m in sorted(leased)]
    for s in await ledger.subnets():
        m = await ledger.metagraph(s.netuid)
        found += [Endpoint(n.endpoint[0].host, n.endpoint[0].port, bytes(32), b"") for n in m.neurons if n.endpoint]
        every = m.subnet.hyperparameters.systemic == 1
        asked = [(n.hotkey, n.model[0].model_id) for n in m.neurons if n.model]
        asked = [pair for pair in asked if every or pair[1] in named]
        places += [(s.netuid, *pair) for pair in asked]
    return found, subjects + await _subjects(ledger, places)


async def _subjects(ledger: RpcLedger, places: Sequence[Place]) -> list[Subject]:
    """All at once, for each is proved by the next block."""
    told: dict[Place, Subject] = {}
    failed: list[DavyError] = []

    async def ask(place: Place) -> None:
        try:
            told[place] = subject_of(await ledger.subject(*place))
        except DavyError as e:
            failed.append(e)

    async with anyio.create_task_group() as tasks:
        for place in places:
            tasks.start_soon(ask, place)
    if failed:
        raise failed[0]
    return [told[place] for place in places]


def _told(
    g: Genesis, places: Sequence[Seen], newest: Head | None, drill: DrillSeen | None, systemic: Sequence[Subject],
    leases: Sequence[LeaseSeen], at: Clocks, released: DrillRelease | None = None,
) -> dict[str, Any]:  # fmt: skip
    now, state = at.own, forget(together(g, places), at)
    return {
        "head": head(state).hex(),
        "height": None if newest is None else newest.height,
        "block_age_s": None if newest is None else round(age(newest, now) / 1000, 1),
        "fresh": newest is not None and age(newest, now) <= FRESH_MS,
        "halts": [_halt(h, now, systemic) for h in in_force(state, now, systemic)],
        "disputed": bool(state.succession.rivals),
        "full": bool(state.overflows),
        "orders_left": state.room,
        "places": [
            {
                "where": p.where,
                "knows": "unknown" if p.fault else "all" if state.orders.keys() <= {v.id for v in p.orders} else "less",
                "orders": len(p.orders),
                "head": "" if p.head is None else p.head.hex(),
                "stale": p.stale(now),
                "fault": p.fault,
            }
            for p in places
        ],
        "leases": [_lease(row) for row in leases],
        "last_drill": _drill(drill, released),
    }


def _halt(h: HaltEntry, now: int, systemic: Sequence[Subject]) -> dict[str, Any]:
    return {
        "order": h.order.id.hex(),
        "what": target_lines(h.target),
        "issued": moment(h.order.order.issued),
        "until": moment(h.ends) if now < h.ends else None,
        "systemic": halts_any(h, systemic),
    }


def _lease(row: LeaseSeen) -> dict[str, Any]:
    return {
        "model": row.model.hex(),
        "ends": None if row.ends is None else moment(row.ends),
        "stops": None if row.stops is None else moment(row.stops),
        "warning_days": row.days,
        "lapsed": row.lapsed,
    }


def _drill(d: DrillSeen | None, r: DrillRelease | None) -> dict[str, Any] | None:
    """The newest drill, of the ledger's and the one that was released here: together where they are the same."""
    if d is not None and r is not None and d.order.hex() != r.order:
        d, r = (None, r) if r.released > d.recorded else (d, None)
    if d is None and r is None:
        return None
    return {
        "order": d.order.hex() if d is not None else r.order if r is not None else "",
        "released": None if r is None else moment(r.released),
        "of": None if r is None else r.of,
        "addressed": None if r is None else r.addressed,
        "answered": None if r is None else len(r.took),
        "unreached": None if r is None else list(r.unreached),
        "p50_ms": None if r is None else r.percentile(50),
        "p99_ms": None if r is None else r.percentile(99),
        "max_ms": None if r is None else r.percentile(100),
        "told": None if r is None else release_line(r),
        "recorded": None if d is None else moment(d.recorded),
        "on_ledger": None if d is None else d.answered,
        "blocks": None if d is None else d.blocks,
    }


def _show(told: dict[str, Any]) -> None:
    stale = "" if told["fresh"] else ": NOT FRESH, look whether the ledger still makes blocks"
    if told["height"] is None:
        click.echo("no ledger: this is what the nodes say")
    else:
        click.echo(f"height {told['height']}, newest block {told['block_age_s']} s old{stale}")
    if told["disputed"]:
        click.echo("TWO ROSTERS claim to be the next: everything is stopped until one stands on the ledger")
    if told["full"]:
        click.echo("A roster signed more orders than are kept: everything is stopped until the next INSTALL")
    elif told["orders_left"] <= _SCARCE:
        click.echo(
            f"WARNING: after {told['orders_left']} orders more the roster's brake is full, which stops everything; "
            "install the next one: `davy keyholder roster`"
        )
    for h in told["halts"]:
        lasts = [f"until {h['until']}"] if h["until"] else []
        lasts += ["what is systemic until it is lifted"] if h["systemic"] else []
        click.echo(f"HALTED {', and '.join(lasts)}, by order {h['order'][:16]}:")
        for what in h["what"]:
            click.echo(f"  {what}")
    if not told["halts"]:
        click.echo("nothing is halted")
    stale = {"fault": "STALE: it sees neither blocks nor heartbeats, or its clock is wrong, or was; its log says which"}
    rows = [{**p, **(stale if p["stale"] else {})} for p in told["places"]]
    show_table(("where", "knows", "orders", "fault"), rows, as_json=False)
    for lease in told["leases"]:
        click.echo(_of_lease(lease))
    drill = told["last_drill"]
    if drill is not None:
        click.echo(_of_drill(drill))
    elif told["height"] is None:
        click.echo("when the brake was last drilled, only the ledger tells")
    else:
        click.echo("the brake was never drilled: `davy keyholder drill`")


def _of_drill(drill: dict[str, Any]) -> str:
    """A line: what who released it saw, if that was here, and what blocks say; times of both are never mixed."""
    there = "the ledger does not show it"
    if drill["recorded"] is not None:
        blocks = drill["blocks"]
        last = "" if blocks is None else f", the last {blocks} {'block' if blocks == 1 else 'blocks'} after the drill"
        there = f"on the ledger {drill['on_ledger']} nodes answered{last}"
    if drill["released"] is None:
        return f"last drill {drill['recorded']}: {there}; who did not answer and how fast, only who released it knows"
    return f"last drill {drill['released']}: {drill['told']}; {there}"


def _of_lease(lease: dict[str, Any]) -> str:
    """A line on a systemic model: with a warning 7, 3 and 1 days ahead, and from the end on."""
    model, days = f"systemic model {lease['model'][:16]}", lease["warning_days"]
    if lease["ends"] is None:
        return f"{model} stands still: no LEASE of it counts; `davy keyholder lease {lease['model']}`"
    if lease["lapsed"]:
        return f"{model} stands still: its LEASE lapsed {lease['stops']}; `davy keyholder lease {lease['model']}`"
    if days is None:
        return f"{model} is leased until {lease['ends']}"
    when = "ended" if days == 0 else f"ends in {days} {'day' if days == 1 else 'days'} or less,"
    return f"WARNING: the LEASE of {model} {when} {lease['ends']}; without another it stops {lease['stops']}"
