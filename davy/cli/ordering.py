"""An order from words typed by a keyholder: shown, confirmed, signed by t of n, released by every route."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any, Final, NamedTuple, TypedDict, TypeVar

import anyio
import click

from davy.cli.carrying import hand_voices
from davy.cli.keyholding import Keyholder
from davy.cli.network import Network, ledger_of, network_option, read_network
from davy.cli.options import Term, at_terminal, home_option, json_option
from davy.cli.output import show
from davy.host.files import read_bounded, write_new
from davy.keyholders.coordinator import ROUND_MS, Completed, LeavesStanding, complete, rehearse, tell
from davy.keyholders.desk import Desk, Matter
from davy.keyholders.keys import Office
from davy.keyholders.messages import Consider, Rehearse, proposal_id
from davy.keyholders.release import (
    MAX_BOOK_BYTES,
    Book,
    Delivery,
    Release,
    ToLedger,
    ToNodes,
    read_book,
    release_by_all,
)
from davy.keyholders.screen import View, rehearsed, screen
from davy.keyholders.server import Attendant
from davy.keyholders.standing import keeps_stopped, known, left_standing, named_orders, opened
from davy.keyholders.voice import Voice
from davy.keyholders.watch import Seen, ask_node, ledger_seen, together
from davy.killswitch.group import Identifier
from davy.network.http_client import HttpTransport
from davy.protocol.encoding import encode
from davy.protocol.errors import DavyError, Malformed, Misconfigured, Refused
from davy.protocol.limits import NONCE_BYTES, SIGNER_SKEW_MS
from davy.protocol.order import Halt, Lift, Order, OrderAction, OrderId, VerifiedOrder, order_id, reason_digest
from davy.protocol.roster import roster_digest
from davy.protocol.transaction import Endpoint
from davy.protocol.words import UnixMillis

F = TypeVar("F", bound=Callable[..., Any])

_MARGIN_MS: Final = 30_000
_CORRECTIONS: Final = 3
"""Times that a LIFT is proposed anew because a signer knows a HALT that it leaves."""


class Asked(NamedTuple):
    """What every order is asked for, as it was typed."""

    home: Path
    reason: str
    book: Path | None
    network: Path
    out: Path | None
    patience: int
    by_hand: Path | None
    rehearse: bool
    yes: bool
    as_json: bool


class _Waits(TypedDict):
    patience_ms: int
    round_ms: int


def order_options(function: F) -> F:
    """``--home``, ``--reason``, ``--book``, ``--out``, ``--yes``, ``--json``; the function is handed one `Asked`."""

    @wraps(function)
    def with_asked(**typed: Any) -> Any:
        asked = Asked(*(typed.pop(name) for name in Asked._fields))
        return function(asked=asked, **typed)

    path = click.Path(path_type=Path)
    options = (
        home_option,
        click.option("--reason", required=True, help="One line, for everybody to read; it is signed too."),
        click.option("--book", type=path, envvar="DAVY_BOOK", help="File of nodes, HOST:PORT each ($DAVY_BOOK)."),
        network_option,
        click.option("--out", type=path, help="Write the signed order to a new file, too."),
        click.option("--patience", type=Term(), default="5m", show_default=True, help="How long the others are asked."),
        click.option("--by-hand", type=path, metavar="FOLDER", help="No network: ask by sheets in an empty folder."),
        click.option("--rehearse", is_flag=True, help="Sign what is worth nothing, and release nothing."),
        click.option("--yes", is_flag=True, help="Do not ask; you have read what you typed."),
        json_option,
    )
    wrapped: Any = with_asked
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


async def give_order(
    keyholder: Keyholder, action: OrderAction, asked: Asked, *, term: int = 0, named: Sequence[bytes] = ()
) -> None:
    """Carry one order from the typed words to the nodes.

    Parameters
    ----------
    term
        Milliseconds until its end; 0 where nothing ends by itself.
    named
        The orders that `action` names.

    Raises
    ------
    DavyError
        Nothing was signed, and why.
    """
    book = read_book_file(asked.book)
    if asked.out is not None and asked.out.exists():
        raise Misconfigured(f"{asked.out} exists already and is never overwritten; choose another --out")
    office = await keyholder.office()
    for correction in range(_CORRECTIONS + 1):
        action, named = await _with_standing(keyholder, action, named)
        # Carrying takes time: the order says a moment that is still near when the last sheet comes back.
        ahead = SIGNER_SKEW_MS - _MARGIN_MS if asked.by_hand else 0
        order = _order(keyholder, office, action, asked.reason, term, ahead)
        await _confirm(keyholder, office, order, named, asked)
        if asked.rehearse:
            await _rehearse(keyholder, office, Rehearse(encode(order), asked.reason, tuple(named)), asked)
            return
        proposal = Consider(encode(order), asked.reason, tuple(named))
        try:
            await _sign_and_release(keyholder, office, proposal, book, asked, heed=correction < _CORRECTIONS)
        except LeavesStanding as e:
            click.echo("Signers know more HALTs of this; the LIFT is proposed anew with them.", err=True)
            named = _together(named, [h for h in e.halts if _stops_the_same(h, named)])
            action = Lift(tuple(sorted(map(order_id, named))))
        else:
            return


def read_book_file(path: Path | None) -> Book:
    """Read an address book's file; an empty book where there is none.

    Raises
    ------
    Misconfigured
    """
    if path is None:
        return Book()
    try:
        return read_book(read_bounded(path, MAX_BOOK_BYTES).decode())
    except (Malformed, UnicodeDecodeError) as e:
        raise Misconfigured(f"{path} is no address book: {e}") from None


async def _with_standing(
    keyholder: Keyholder, action: OrderAction, named: Sequence[bytes]
) -> tuple[OrderAction, Sequence[bytes]]:
    """A LIFT also names the HALTs that this keyholder knows to stop the same."""
    if not isinstance(action, Lift):
        return action, named
    k = await known(keyholder.journal)
    freed = named_orders(action, named, k)
    more = _together(named, left_standing(action, freed, k).must_name)
    return Lift(tuple(sorted(map(order_id, more)))), more


def _together(a: Sequence[bytes], b: Sequence[bytes]) -> list[bytes]:
    return list(dict.fromkeys([*a, *b]))


def _stops_the_same(halt: bytes, named: Sequence[bytes]) -> bool:
    try:
        claimed = opened(halt).action
    except Refused:
        return False
    freed = [o.action.target for o in map(opened, named) if isinstance(o.action, Halt)]
    return isinstance(claimed, Halt) and any(keeps_stopped(claimed.target, t) for t in freed)


def _order(keyholder: Keyholder, office: Office, action: OrderAction, reason: str, term: int, ahead: int) -> Order:
    now = keyholder.clock.now() + ahead
    return Order(
        1,
        office.chain,
        office.roster.epoch,
        roster_digest(office.roster),
        action,
        reason_digest(reason),
        now,
        now + term if term else 0,
        keyholder.entropy.bytes(NONCE_BYTES),
    )


async def _confirm(keyholder: Keyholder, office: Office, order: Order, named: Sequence[bytes], asked: Asked) -> None:
    body = encode(order)
    opened(body)
    k = await known(keyholder.journal)
    ended = named_orders(order.action, named, k)
    stay = left_standing(order.action, ended, k).stay if isinstance(order.action, Lift) else ()
    shown = screen(View(body, order, asked.reason, office.roster, "you", ended, stay))
    click.echo(rehearsed(shown) if asked.rehearse else shown, err=True)
    if asked.yes:
        return
    if not at_terminal():
        raise Misconfigured("nobody is there to confirm; run this in a terminal, or add --yes")
    click.confirm("Sign this, and ask the others?", abort=True, err=True)


async def _rehearse(keyholder: Keyholder, office: Office, proposal: Rehearse, asked: Asked) -> None:
    own, begun = proposal_id(proposal), keyholder.clock.now()

    def arrived(matter: Matter) -> None:
        matter.decide(matter.id == own)  # the person has just said so

    attendant = keyholder.attendant(Desk(keyholder.clock, arrived=arrived))
    async with _voices(keyholder, attendant, office, asked.by_hand) as voices:
        done = await rehearse(
            office,
            voices,
            proposal,
            clock=keyholder.clock,
            entropy=keyholder.entropy,
            told=_tell,
            **_waits(asked),
        )
    took = keyholder.clock.now() - begun
    value = {"rehearsed": True, "signers": list(done.signers), "culprits": list(done.culprits), "took_ms": took}
    if asked.as_json:
        show(value, as_json=True)
    else:
        click.echo(
            f"REHEARSAL: {', '.join(done.signers)} signed in {took / 1000:.1f} s. No order exists, nothing stopped."
        )


def _waits(asked: Asked) -> _Waits:
    if asked.by_hand is not None:
        return {"patience_ms": 2 * SIGNER_SKEW_MS, "round_ms": 2 * SIGNER_SKEW_MS}
    return {"patience_ms": asked.patience, "round_ms": ROUND_MS}


async def _sign_and_release(
    keyholder: Keyholder, office: Office, proposal: Consider, book: Book, asked: Asked, *, heed: bool
) -> None:
    own = order_id(proposal.order)

    def arrived(matter: Matter) -> None:
        matter.decide(matter.id == own)  # the person has just said so

    attendant = keyholder.attendant(Desk(keyholder.clock, arrived=arrived))
    async with _voices(keyholder, attendant, office, asked.by_hand) as voices:
        done = await complete(
            office,
            voices,
            proposal,
            clock=keyholder.clock,
            entropy=keyholder.entropy,
            told=_tell,
            heed=heed,
            **_waits(asked),
        )
        signed_at = keyholder.clock.now()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tell, voices, done.order.raw)
            async with routes(keyholder, book, asked.network, asked.out) as every:
                deliveries = await release_by_all(every, done.order)
            _show(done, signed_at, deliveries, as_json=asked.as_json)


def _tell(name: str, what: str) -> None:
    click.echo(f"  {name}: {what}", err=True)


@asynccontextmanager
async def _voices(
    keyholder: Keyholder, attendant: Attendant, office: Office, by_hand: Path | None
) -> AsyncGenerator[dict[Identifier, Voice]]:
    if by_hand is not None:
        yield hand_voices(keyholder, attendant, office, by_hand, _tell)
        return
    async with keyholder.voices(attendant) as voices:
        yield voices


def _show(done: Completed, signed_at: UnixMillis, deliveries: Sequence[Delivery], *, as_json: bool) -> None:
    if as_json:
        value: dict[str, object] = {
            "order": done.order.id.hex(),
            "signers": list(done.signers),
            "culprits": list(done.culprits),
            "signed_at": signed_at,
            "released": [d._asdict() for d in deliveries],
            "signed": done.order.raw.hex(),
        }
        show(value, as_json=True)
        return
    click.echo(f"signed by {', '.join(done.signers)}: order {done.order.id.hex()}")
    for d in deliveries:
        click.echo(f"  {' '.join(filter(None, (d.route, d.to)))}: {d.told}")
    if not any(d.reached for d in deliveries):
        click.echo("It was released nowhere from here: name nodes with --book, or a file with --out.", err=True)


class ToFile:
    """The route by hand."""

    name = "file"

    def __init__(self, path: Path) -> None:
        self._path = path

    async def release(self, order: VerifiedOrder) -> Sequence[Delivery]:
        """Write the signed order's bytes.

        Raises
        ------
        Misconfigured, StoreFailed
        """
        write_new(self._path, order.raw)
        return [Delivery(self.name, str(self._path), True, "written; anybody can bring it to a node")]


def network_there(path: Path) -> Network | None:
    """What a network file says, if there is one that can be read: an order has other routes than the ledger."""
    try:
        return read_network(path) if path.expanduser().exists() else None
    except Misconfigured as e:
        click.echo(f"The ledger is left out: {e}", err=True)
        return None


@asynccontextmanager
async def routes(
    keyholder: Keyholder, book: Book, network: Path, out: Path | None = None
) -> AsyncGenerator[list[Release]]:
    """Yield every route that there is: the ledger's only where there is a network file."""
    found: list[Release] = [] if out is None else [ToFile(out)]
    if (there := network_there(network)) is not None:
        found.append(ToLedger(partial(ledger_of, there)))
    async with HttpTransport(keyholder.clock, pinned=False, plain=book.plain) as transport:
        yield [*found, ToNodes(book.nodes, transport, keyholder.clock)] if book.nodes else found


async def learn(keyholder: Keyholder, book: Book, network: Path) -> None:
    """Read what orders nodes and the ledger know into this keyholder's journal, verified; who is away is left out."""
    genesis = keyholder.home.genesis()
    told: list[Seen] = []

    async def from_ledger(there: Network) -> None:
        try:
            async with ledger_of(there) as ledger:
                told.append(ledger_seen(genesis, "ledger", await ledger.told_brake()))
        except DavyError as e:
            click.echo(f"  ledger: {e}", err=True)

    async with (
        HttpTransport(keyholder.clock, pinned=False, plain=book.plain) as transport,
        anyio.create_task_group() as tasks,
    ):

        async def from_node(to: Endpoint) -> None:
            told.append(await ask_node(genesis, to, transport, keyholder.clock))

        if (there := network_there(network)) is not None:
            tasks.start_soon(from_ledger, there)
        for to in book.nodes:
            tasks.start_soon(from_node, to)
    for v in together(genesis, told).orders.values():
        await keyholder.journal.keep_signed(v.id, v.raw)


async def find_halts(keyholder: Keyholder, asked: Asked, prefixes: Sequence[str]) -> list[bytes]:
    """Look HALTs up by the first digits of their ids, among the orders that this keyholder, nodes or the ledger know.

    Raises
    ------
    Misconfigured
        None, or more than one, begins so.
    """
    await learn(keyholder, read_book_file(asked.book), asked.network)
    k = await known(keyholder.journal)
    halts: dict[OrderId, bytes] = {i: body for i, (body, o) in k.orders.items() if isinstance(o.action, Halt)}
    found: list[bytes] = []
    for prefix in prefixes:
        hits = [body for i, body in halts.items() if len(prefix) >= 8 and i.hex().startswith(prefix.lower())]
        if len(hits) != 1:
            raise Misconfigured(
                f"{len(hits)} HALTs known here begin with '{prefix[:64]}'; `davy keyholder status` lists them"
            )
        found += hits
    return found
