"""What a keyholder does about shares that are there: look at them, deal them anew, have a lost one given back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import anyio
import click

from davy.cli.carrying import by_hand_option, hand_voices
from davy.cli.keyholding import Keyholder, ask_person, asked_desk
from davy.cli.loop import run
from davy.cli.network import network_option
from davy.cli.options import Term, at_terminal, home_option, json_option, yes_option
from davy.cli.ordering import learn, read_book_file
from davy.cli.output import show, show_table
from davy.keyholders.circle import fingerprint
from davy.keyholders.keys import Generation, generation_id
from davy.keyholders.renewal import Standing, bring_together, mend, renew, standings
from davy.keyholders.screen import REHEARSAL, target_lines
from davy.keyholders.standing import known
from davy.keyholders.voice import Voice
from davy.killswitch.clocks import moment
from davy.killswitch.group import Identifier
from davy.protocol.errors import Misconfigured
from davy.protocol.genesis import chain_id
from davy.protocol.limits import DAY_MS
from davy.protocol.order import Halt, Order, open_order
from davy.protocol.roster import Roster
from davy.protocol.words import PublicKey

F = TypeVar("F", bound=Callable[..., Any])


class Held(NamedTuple):
    """How a ceremony about shares is held, as it was typed."""

    home: Path
    as_json: bool
    yes: bool
    patience: int
    by_hand: Path | None
    rehearse: bool


def _ceremony_options(function: F) -> F:
    """What `Held` has; the function is handed one."""

    @wraps(function)
    def with_held(**typed: Any) -> Any:
        held = Held(*(typed.pop(name) for name in Held._fields))
        if not held.yes and not at_terminal():
            raise Misconfigured("nobody is there to confirm; run this in a terminal, or add --yes")
        return function(held=held, **typed)

    wrapped: Any = with_held
    for option in (
        click.option("--rehearse", is_flag=True, help="Take every step but the last, and change nothing."),
        by_hand_option,
        click.option("--patience", type=Term(), default="30m", show_default=True, help="How long to wait for people."),
        yes_option,
        json_option,
        home_option,
    ):
        wrapped = option(wrapped)
    return wrapped


@click.command()
@_ceremony_options
@click.option("--without", multiple=True, metavar="NAME", help="Leave this keyholder out, which removes it for good.")
def refresh(held: Held, without: tuple[str, ...]) -> None:
    """Deal all shares of both keys anew; the keys stay.

    Copies of old shares are worth nothing beside the new ones. All who stay must be there and say yes; until all of
    them have their new share on the disk, the old ones are in office.
    """
    run(_refresh, Keyholder.open(held.home), held, without)


@click.command()
@_ceremony_options
@click.option("--for", "name", default="", metavar="NAME", help="Who lost its share; you by default.")
@click.option("--without", multiple=True, metavar="NAME", help="Do not ask this keyholder.")
def repair(held: Held, name: str, without: tuple[str, ...]) -> None:
    """Give a keyholder back the share that it lost; as many others as the LIFT key needs must help.

    On a new machine first `davy keyholder init --recover`, `circle` and `genesis`. Nobody else sees the share.
    """
    run(_repair, Keyholder.open(held.home), held, name, without)


@click.command()
@home_option
@json_option
@click.option("--offline", is_flag=True, help="Ask nobody; no password is needed.")
@click.option("--book", type=click.Path(path_type=Path), envvar="DAVY_BOOK", help="File of nodes ($DAVY_BOOK).")
@network_option
def status(home: Path, as_json: bool, offline: bool, book: Path | None, network: Path) -> None:
    """Show the roster in office, who in it can be reached, who has which shares, and the orders you signed or saw.

    What the ledger and nodes know besides is kept here first. Whoever has not heard of new shares in office is told.
    """
    keyholder = Keyholder.look(home) if offline else Keyholder.open(home)
    if not offline and keyholder.home.has_genesis():
        run(learn, keyholder, read_book_file(book), network)
        keyholder = Keyholder.open(home)  # perhaps of another roster now
    told = run(_status, keyholder, offline)
    if as_json:
        show(told, as_json=True)
        return
    keyholders, orders = told.pop("keyholders"), told.pop("orders")
    show(told, as_json=False)
    show_table(("name", "reached", "generation", "fault"), keyholders, as_json=False)
    show_table(("order", "kind", "what", "issued", "ends", "lifted"), orders, as_json=False)


@asynccontextmanager
async def _asking(
    keyholder: Keyholder, kind: str, held: Held, without: Collection[PublicKey] = ()
) -> AsyncGenerator[dict[PublicKey, Voice]]:
    """Everybody's voices but for some, while this keyholder's own person is asked at the terminal."""
    desk, arriving = asked_desk(keyholder, (REHEARSAL if held.rehearse else kind,) if held.yes else ())
    attendant = keyholder.attendant(desk)
    async with AsyncExitStack() as opened:
        voices: dict[Identifier, Voice]
        if held.by_hand is not None:
            voices = hand_voices(keyholder, keyholder.circle, attendant, held.by_hand, _tell)
        else:
            voices = await opened.enter_async_context(keyholder.voices(attendant))
        tasks = await opened.enter_async_context(anyio.create_task_group())
        tasks.start_soon(ask_person, arriving, desk, True)
        yield {v.key: v for v in voices.values() if v.key not in without}
        tasks.cancel_scope.cancel()


def _tell(name: str, what: str) -> None:
    click.echo(f"  {name}: {what}", err=True)


def _key_of(keyholder: Keyholder, name: str) -> PublicKey:
    found = [h.key for h in keyholder.circle.holders if h.name == name]
    if not found:
        names = ", ".join(h.name for h in keyholder.circle.holders)
        raise Misconfigured(f"no keyholder is called '{name[:40]}'; name one of {names}")
    return found[0]


async def _refresh(keyholder: Keyholder, held: Held, names: tuple[str, ...]) -> None:
    roster = await keyholder.roster()
    without = [_key_of(keyholder, name) for name in names]
    if keyholder.key in without:
        raise Misconfigured("you cannot remove yourself; ask another keyholder to type this")
    # By hand nobody goes to those who are left out; over the network they may know of later shares.
    async with _asking(keyholder, "refresh", held, without if held.by_hand else ()) as voices:
        done = await renew(
            keyholder.circle, roster, voices, without=without, is_rehearsal=held.rehearse, **_means(keyholder, held)
        )
    value = _shares(roster, done.generation, held)
    if done.behind:
        value["not_heard_yet"] = f"{', '.join(done.behind)}: `davy keyholder status` tells them"
    show(value, as_json=held.as_json)


async def _repair(keyholder: Keyholder, held: Held, name: str, names: tuple[str, ...]) -> None:
    roster = await keyholder.roster()
    mended = _key_of(keyholder, name) if name else keyholder.key
    without = [_key_of(keyholder, each) for each in names]
    async with _asking(keyholder, "repair", held, without) as voices:
        means = _means(keyholder, held)
        generation = await mend(keyholder.circle, roster, voices, mended, is_rehearsal=held.rehearse, **means)
    given = {} if held.rehearse else {"given_back_to": keyholder.circle.holder(mended).name}
    show({**given, **_shares(roster, generation, held)}, as_json=held.as_json)


def _means(keyholder: Keyholder, held: Held) -> dict[str, Any]:
    return {
        "clock": keyholder.clock,
        "entropy": keyholder.entropy,
        "told": _tell,
        "patience_ms": DAY_MS if held.by_hand else held.patience,
    }


def _shares(roster: Roster, g: Generation, held: Held | None = None) -> dict[str, Any]:
    n = len(g.members)
    rehearsed = {"REHEARSAL": "nothing has changed: these shares are in office as before"}
    return (rehearsed if held is not None and held.rehearse else {}) | {
        "generation": g.number,
        "fingerprint": fingerprint(generation_id(g)),
        "halt": f"{roster.halt_threshold} of {n}",
        "lift": f"{roster.lift_threshold} of {n}",
    }


async def _status(keyholder: Keyholder, offline: bool) -> dict[str, Any]:
    home = keyholder.home
    k = await known(keyholder.journal)
    has_chain = home.has_genesis()
    orders = sorted((o.issued, i, o) for i, (_, o) in k.orders.items())
    value: dict[str, Any] = {
        "circle": fingerprint(keyholder.circle.digest),
        "chain": chain_id(home.genesis()).hex() if has_chain else "none yet: `davy keyholder genesis`",
        "group_epoch": "",
        "halt": "",
        "lift": "",
        "generation": "",
        "last_drill": await _last_drill(keyholder),
        "keyholders": [],
        "orders": [_order(i, o, i in k.ended) for _, i, o in orders],
    }
    if not has_chain:
        return value
    roster = await keyholder.roster()
    n = len(roster.members)
    value |= {"halt": f"{roster.halt_threshold} of {n}", "lift": f"{roster.lift_threshold} of {n}"}
    value["group_epoch"] = f"{roster.epoch}" if keyholder.key in roster.members else f"{roster.epoch}, without you"
    return value if offline else value | await _ask_all(keyholder, roster)


async def _last_drill(keyholder: Keyholder) -> str:
    raw = await keyholder.journal.drill()
    return "never: `davy keyholder drill`" if raw is None else moment(open_order(raw)[1].issued)


async def _ask_all(keyholder: Keyholder, roster: Roster) -> dict[str, Any]:
    desk, _ = asked_desk(keyholder)
    async with keyholder.voices(keyholder.attendant(desk)) as all_voices:
        voices = {v.key: v for v in all_voices.values()}
        told = await standings(voices, roster)
        latest, failed = await bring_together(voices, told)
    rows = [_standing(s, failed) for s in told]
    return {"keyholders": rows} if latest is None else {**_shares(roster, latest.generation), "keyholders": rows}


def _standing(s: Standing, failed: Mapping[PublicKey, str]) -> dict[str, Any]:
    return {
        "name": s.name,
        "reached": s.fault != "cannot be reached",
        "generation": "" if s.proof is None else s.proof.generation.number,
        "fault": failed.get(s.key, s.fault),
    }


def _order(i: bytes, o: Order, lifted: bool) -> dict[str, Any]:
    return {
        "order": i.hex(),
        "kind": type(o.action).__name__.lower(),
        "what": "; ".join(target_lines(o.action.target)) if isinstance(o.action, Halt) else "",
        "issued": moment(o.issued),
        "ends": moment(o.end) if o.end else "",
        "lifted": lifted,
    }
