"""An order from words typed by a keyholder: shown, confirmed, signed by t of n, released by every route."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import anyio
import click

from davy.cli.carrying import by_hand_option
from davy.cli.gathering import meeting
from davy.cli.keyholding import Keyholder
from davy.cli.network import Network, ledger_of, network_option, read_network
from davy.cli.options import Term, at_terminal, home_option, interruptible, json_option
from davy.cli.output import show
from davy.host.files import read_bounded, whole_path, write_new
from davy.host.journal import FileJournal
from davy.keyholders.claims import Claims, Heed, LeavesStanding, most_named, naming, until_signed
from davy.keyholders.coordinator import Completed, Signed, completed
from davy.keyholders.drills import DrillRelease, drill_released, release_line, write_release
from davy.keyholders.keys import Office
from davy.keyholders.listening import Source, ToListening, Way
from davy.keyholders.messages import Consider, Rehearse, is_rehearsal
from davy.keyholders.release import (
    MAX_BOOK_BYTES,
    Book,
    Delivery,
    Release,
    ToLedger,
    ToNodes,
    read_book,
    release_by_all,
    told_lines,
)
from davy.keyholders.screen import View, rehearsed, screen
from davy.keyholders.spending import allowed
from davy.keyholders.standing import fitting, in_force, known, left_of, named_orders, opened
from davy.keyholders.watch import Seen, ask_node, ledger_seen, together
from davy.killswitch.brake import first_state, forget, take
from davy.killswitch.clocks import Clocks
from davy.network.http_client import HttpTransport
from davy.network.room import Room
from davy.network.strangers import LOOK_UPS, Strangers
from davy.protocol.encoding import encode
from davy.protocol.errors import DavyError, Malformed, Misconfigured, StoreFailed
from davy.protocol.limits import NONCE_BYTES, SIGNER_SKEW_MS
from davy.protocol.order import (
    Drill,
    Halt,
    Install,
    Lease,
    Lift,
    Lower,
    Order,
    OrderAction,
    OrderId,
    Raise,
    VerifiedOrder,
    reason_digest,
)
from davy.protocol.roster import roster_digest
from davy.protocol.transaction import Endpoint
from davy.protocol.words import UnixMillis

F = TypeVar("F", bound=Callable[..., Any])

CONNECTIONS: Final = 600
_MARGIN_MS: Final = 30_000


class Asked(NamedTuple):
    """What every order is asked for, as it was typed."""

    home: Path
    reason: str
    book: Path | None
    network: Path
    out: Path | None
    patience: int | None
    by_hand: Path | None
    rehearse: bool
    yes: bool
    as_json: bool


def order_options(function: F) -> F:
    """``--home``, ``--reason``, ``--book``, ``--out``, ``--yes``, ``--json``; the function is handed one `Asked`."""

    @wraps(function)
    def with_asked(**typed: Any) -> Any:
        asked = Asked(*(typed.pop(name) for name in Asked._fields))
        return function(asked=asked, **typed)

    path = click.Path(path_type=Path)
    options = (
        home_option,
        click.option("--reason", required=True, help="One line that everybody reads; it is signed too."),
        click.option("--book", type=path, envvar="DAVY_BOOK", help="File of nodes, HOST:PORT each ($DAVY_BOOK)."),
        network_option,
        click.option("--out", type=path, help="Also write the signed order to a new file."),
        click.option("--patience", type=Term(), help="How long to wait for the others.  [default: 5m; by hand 9m]"),
        by_hand_option,
        click.option("--rehearse", is_flag=True, help="Rehearse: sign something worthless, and release nothing."),
        click.option("--yes", is_flag=True, help="Do not ask for confirmation."),
        json_option,
    )
    wrapped: Any = with_asked
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


async def give_order(
    keyholder: Keyholder, action: OrderAction, asked: Asked, *, term: int = 0, named: Sequence[bytes] = ()
) -> int:
    """Carry one order from the typed words to the nodes; the exit code: 1 if it is signed, and nobody has it.

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
    genesis, whole = keyholder.home.genesis(), await keyholder.journal.signed()
    claims = Claims(office.chain, take(first_state(genesis), whole).state.rosters)

    async def propose(action: OrderAction, named: Sequence[bytes], heed: Heed) -> int:
        # Carrying takes time: the order says a moment that is still near when the last sheet comes back.
        ahead = SIGNER_SKEW_MS - _MARGIN_MS if asked.by_hand else 0
        order = _order(keyholder, office, action, asked.reason, term, ahead)
        await _confirm(keyholder, office, order, named, asked)
        body = encode(order)
        ask = (Rehearse if asked.rehearse else Consider)(body, asked.reason, fitting(named, beside=len(body)))
        try:
            return await _sign_and_release(keyholder, office, action, ask, book, asked, heed=heed)
        except LeavesStanding:
            click.echo("Signers know more orders that this must name; it is proposed anew with them.", err=True)
            raise

    return await until_signed(*await _with_standing(keyholder, action, named), claims, propose)


def read_book_file(path: Path | None) -> Book:
    """Read an address book's file; an empty book where there is none.

    Raises
    ------
    Misconfigured
    """
    if path is None:
        return Book()
    try:
        return read_book(read_bounded(path, MAX_BOOK_BYTES).decode("utf-8-sig"))
    except (Malformed, UnicodeDecodeError) as e:
        raise Misconfigured(f"{path} is not an address book: {e}") from None


async def _with_standing(
    keyholder: Keyholder, action: OrderAction, named: Sequence[bytes]
) -> tuple[OrderAction, Sequence[bytes]]:
    """What this keyholder knows that the order has to name as well, or should."""
    if not isinstance(action, Lift | Install):
        return action, named
    most = most_named(action)
    if len(named) > most:
        raise Misconfigured(f"{len(named)} orders are to be named, and {most} can; give them in parts")
    k, now = await known(keyholder.journal), keyholder.clock.now()
    left = left_of(action, named_orders(action, named, k), k, now)
    more = list(dict.fromkeys([*named, *(in_force(k, now) if isinstance(action, Install) else left.must_name)]))
    if len(more) > most:
        fate = "end with the old roster, unless they are lifted first" if isinstance(action, Install) else "stay"
        click.echo(f"One order names {most} others at most: {len(more) - most} more {fate}.", err=True)
    return naming(action, more[:most]), more[:most]


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
    rest = left_of(order.action, ended, k, keyholder.clock.now()).rest
    names = {h.key: h.name for circle in keyholder.circles for h in circle.holders}
    view = View(body, order, asked.reason, office.roster, "you", ended, rest, names, allowed(order, ended, k))
    shown = screen(view)
    click.echo(rehearsed(shown) if asked.rehearse else shown, err=True)
    if asked.yes:
        return
    if not at_terminal():
        raise Misconfigured("nobody is there to confirm; run this in a terminal, or add --yes")
    with interruptible():
        click.confirm("Sign this, and ask the others?", abort=True, err=True)


async def _sign_and_release(
    keyholder: Keyholder,
    office: Office,
    action: OrderAction,
    proposal: Consider | Rehearse,
    book: Book,
    asked: Asked,
    *,
    heed: Heed,
) -> int:
    begun = keyholder.clock.now()
    async with meeting(keyholder, office, action, proposal, asked.by_hand, asked.patience) as asks:
        signed = await asks.sign(proposal, heed=heed)
        at = keyholder.clock.now()
        if is_rehearsal(proposal):
            _show_rehearsed(signed, at - begun, as_json=asked.as_json)
            return 0
        done = completed(office, proposal.order, signed)
        deliveries: Sequence[Delivery] = ()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asks.tell, done.order.raw)
            async with routes(keyholder, book, asked.network, asked.out) as every:
                deliveries = await release_by_all(every, done.order)
            _show(done, at, deliveries, as_json=asked.as_json)
            if isinstance(action, Drill):
                await _keep_drill(keyholder, drill_released(done.order, at, deliveries), as_json=asked.as_json)
    return has_it(done.order, deliveries, keyholder.home.orders)


async def _keep_drill(keyholder: Keyholder, released: DrillRelease, *, as_json: bool) -> None:
    if not as_json:
        click.echo(f"drill: {release_line(released)}")
    try:
        await FileJournal(keyholder.home.orders).keep_released(write_release(released))
    except (Misconfigured, StoreFailed) as e:
        click.echo(f"What came of the drill is not remembered: {e}", err=True)


def _show_rehearsed(signed: Sequence[Signed], took: int, *, as_json: bool) -> None:
    signers = list(dict.fromkeys(name for s in signed for name in s.signers))
    culprits = list(dict.fromkeys(name for s in signed for name in s.culprits))
    if as_json:
        show({"rehearsed": True, "signers": signers, "culprits": culprits, "took_ms": took}, as_json=True)
    else:
        click.echo(f"REHEARSAL: {', '.join(signers)} signed in {took / 1000:.1f} s. No order exists, nothing stopped.")


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
    for line in told_lines(deliveries):
        click.echo(f"  {line}")


def has_it(order: VerifiedOrder, deliveries: Sequence[Delivery], orders: Path) -> int:
    """The exit code: 1, and what to do, where no ledger and no node took an order, and more than a file was asked for.

    Anybody can have itself named on the ledger: of named nodes more than half have to answer.

    Parameters
    ----------
    orders
        The folder of the journal, where most whole orders are.
    """
    files = [d for d in deliveries if d.route == ToFile.name and d.reached]
    named = [d.reached for d in deliveries if d.route == ToListening.name]
    known = any(d.reached for d in deliveries if d.route not in (ToFile.name, ToListening.name))
    if known or 2 * sum(named) > len(named) or (files and len(files) == len(deliveries)):
        return 0
    kept = orders / f"{order.id.hex()}.signed"
    path = files[0].to if files else str(kept) if kept.exists() else ""
    then = (
        f"`davy brake bring {path} --book FILE` brings it, here or wherever you carry that file"
        if path
        else "give another with --book FILE, a file of nodes that can be reached"
    )
    whom = "neither a ledger nor a node of a book has it from here, and too few others"
    click.echo(f"davy: the order is signed, and {whom}; {then}", err=True)
    return 1


class Rooms:
    """What one process sends at a time, whatever number of orders: it may mostly open 1,024 files."""

    def __init__(self) -> None:
        self.connections, self.look_ups = Room(CONNECTIONS), Room(LOOK_UPS)


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
        return read_network(path) if whole_path(path).exists() else None
    except (Misconfigured, OSError) as e:
        click.echo(f"The ledger is left out: {e}", err=True)
        return None


@asynccontextmanager
async def routes(
    keyholder: Keyholder, book: Book, network: Path, out: Path | None = None, rooms: Rooms | None = None
) -> AsyncGenerator[list[Release]]:
    """Yield every route that there is: the ledger's only where there is a network file, and a book's if it is given."""
    rooms = rooms or Rooms()
    found: list[Release] = [] if out is None else [ToFile(out)]
    if (there := network_there(network)) is not None:
        found.append(ToLedger(partial(ledger_of, there)))
    names, clock = Strangers(look_ups=rooms.look_ups), keyholder.clock
    async with (
        HttpTransport(clock, pinned=False, plain=book.plain, keeps_alive=False) as transport,
        HttpTransport(clock, pinned=False, resolver=names, keeps_alive=False) as far,
    ):
        nodes = ToNodes(book.nodes, transport, clock, rooms.connections) if book.nodes else None
        if nodes is not None:
            found.append(nodes)
        way, memory = Way(far, names, clock, keyholder.entropy, rooms.connections), FileJournal(keyholder.home.orders)
        yield [*found, ToListening(source_of(there), memory, way, nodes)]


def source_of(there: Network | None) -> Source | None:
    """The ledger of a network, as a source of where nodes listen."""
    if there is None:
        return None
    try:
        host = urlsplit(there.ledger).hostname or ""
    except ValueError:
        host = ""  # whoever opens a client to it says what is wrong with it
    return Source(host, partial(ledger_of, there))


async def learn(keyholder: Keyholder, book: Book, network: Path) -> None:
    """Read what orders nodes and the ledger know into this keyholder's journal, verified; whoever is away is left out.

    So it also learns which roster is in office. Of rosters that dispute an office the ledger's is believed, else none.
    """
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
    kept = take(first_state(genesis), await keyholder.journal.signed()).orders
    now = keyholder.clock.now()
    state = forget(together(genesis, told, kept), Clocks(now, now))
    true = {link.install for link in state.succession.links}
    counting = [
        v
        for v in state.orders.values()
        if v.id in true or (not isinstance(v.order.action, Install) and state.succession.ends(v) is not None)
    ]
    try:
        for v in sorted(counting, key=_need):
            await keyholder.journal.keep_signed(v.id, v.raw)
    except (Misconfigured, StoreFailed) as e:  # what is not written down here may still be named, signed and released
        click.echo(f"Not every order that is known elsewhere is remembered: {e}", err=True)
    if state.succession.rivals:
        click.echo("Two rosters claim to be the next one, and the ledger was not heard: neither is believed.", err=True)


def _need(v: VerifiedOrder) -> tuple[int, OrderId]:
    """What is written down first: who is in office, what lets run, what stops, what is leased."""
    kinds: dict[type[OrderAction], int] = {Install: 0, Lift: 1, Lower: 1, Lease: 3}
    return kinds.get(type(v.order.action), 2), v.id


async def find_orders(
    keyholder: Keyholder, asked: Asked, prefixes: Sequence[str], kind: type[Halt | Raise] = Halt
) -> list[bytes]:
    """Look orders up by the first digits of their ids, among those that this keyholder, nodes or the ledger know.

    Raises
    ------
    Misconfigured
        None, or more than one, begins so; or it is too short.
    """
    if short := [p for p in prefixes if len(p) < 8]:
        raise Misconfigured(f"'{short[0]}' is too short for an order's id; type its first 8 digits, or more")
    await learn(keyholder, read_book_file(asked.book), asked.network)
    k = await known(keyholder.journal)
    orders: dict[OrderId, bytes] = {i: body for i, (body, o) in k.orders.items() if isinstance(o.action, kind)}
    found: list[bytes] = []
    for prefix in prefixes:
        hits = [body for i, body in orders.items() if i.hex().startswith(prefix.lower())]
        if len(hits) != 1:
            raise Misconfigured(
                f"{len(hits)} {kind.__name__.upper()}s known here begin with '{prefix[:64]}'; "
                "`davy keyholder status` lists them"
            )
        found += hits
    return found
