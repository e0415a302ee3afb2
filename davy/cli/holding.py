"""`davy keyholder serve | dkg | drill | extend`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from davy.cli.attending import assemble, attend
from davy.cli.carrying import by_hand_option
from davy.cli.keyholding import Keyholder
from davy.cli.later import Whole
from davy.cli.loop import run
from davy.cli.network import network_option
from davy.cli.options import Host, Term, at_terminal, home_option, json_option, yes_option
from davy.cli.ordering import Asked, find_orders, give_order, order_options, read_book_file
from davy.cli.targets import add_targets
from davy.keyholders.screen import REHEARSAL
from davy.keyholders.standing import opened
from davy.killswitch.brake import first_state, take
from davy.protocol.errors import Misconfigured
from davy.protocol.limits import HALT_TERM_MS
from davy.protocol.order import Drill, Extend, Target, order_id

_KINDS: Final = (
    "halt",
    "extend",
    "drill",
    "raise",
    "lower",
    "lift",
    "lease",
    "heartbeat",
    "install",
    "dkg",
    "refresh",
    "repair",
    REHEARSAL,
)


@click.command()
@home_option
@json_option
@click.option("--host", type=Host(), help="Host to listen on; that of your own line by default.")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Port; that of your own line by default.")
@click.option("--book", type=click.Path(path_type=Path), envvar="DAVY_BOOK", help="File of nodes ($DAVY_BOOK).")
@network_option
@click.option("--yes-to", default="", metavar="KIND,…", help="DANGEROUS: sign these unseen, for rehearsals only.")
def serve(
    home: Path, as_json: bool, host: str | None, port: int, book: Path | None, network: Path, yes_to: str
) -> None:
    """Wait for the other keyholders, until Ctrl-C; ask you about what they propose.

    In a terminal it asks there. Elsewhere `davy keyholder pending`, `sign` and `refuse` answer.
    """
    kinds = tuple(filter(None, yes_to.split(",")))
    if strange := [k for k in kinds if k not in _KINDS]:
        raise Misconfigured(f"there are no proposals of the kind '{strange[0][:20]}'; choose from {', '.join(_KINDS)}")
    nodes = read_book_file(book)
    keyholder = Keyholder.open(home)
    if kinds:
        click.echo(f"DANGEROUS: whatever is proposed as {', '.join(kinds)} is signed here unseen.", err=True)
    with keyholder.home.running():
        run(attend, keyholder, kinds, nodes, network, host or keyholder.own.endpoint.host, port, as_json)


@click.command()
@home_option
@json_option
@yes_option
@click.option("--halt", "halt_threshold", type=click.IntRange(2, 16), required=True, help="How many it takes to halt.")
@click.option("--lift", "lift_threshold", type=click.IntRange(2, 16), required=True, help="How many it takes to lift.")
@click.option("--epoch", type=click.IntRange(0, 255), help="Number of the roster; the next one by default.")
@click.option("--next", "is_next", is_flag=True, help="With the next keyholders: `davy keyholder circle --next`.")
@click.option("--patience", type=Term(), default="30m", show_default=True, help="How long to wait for people.")
@by_hand_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New file for the roster.")
def dkg(
    home: Path,
    as_json: bool,
    yes: bool,
    halt_threshold: int,
    lift_threshold: int,
    epoch: int | None,
    is_next: bool,
    patience: int,
    by_hand: Path | None,
    out: Path,
) -> None:
    """Make both keys with everybody in the circle, while `davy keyholder serve` runs at each of them.

    One keyholder types this; all are asked whether the fingerprints are the same.
    """
    if out.exists():
        raise Misconfigured(f"{out} exists already and is never overwritten; choose another --out")
    if not yes and not at_terminal():
        raise Misconfigured("nobody is there to compare fingerprints; run this in a terminal, or add --yes")
    keyholder = Keyholder.open(home)
    follow = keyholder.circles[1] if is_next and len(keyholder.circles) > 1 else None
    if is_next and follow is None:
        raise Misconfigured("no keyholders are known here who are to follow: `davy keyholder circle FILE --next`")
    terms = epoch, halt_threshold, lift_threshold
    run(assemble, keyholder, follow or keyholder.circle, yes, terms, patience, by_hand, out, as_json)


@click.group(cls=Whole)
def drill() -> None:
    """Rehearse a halt: every step is taken, every node answers, and nothing stops."""


def _drill(asked: Asked, target: Target, term: int) -> int:
    return run(give_order, Keyholder.open(asked.home), Drill(target), asked, term=term)


add_targets(drill, "Rehearse to stop", _drill)


@click.command()
@click.argument("halt")
@click.option(
    "--for", "term", type=Term(HALT_TERM_MS), default="7d", show_default=True, help="How long from now; at most 7d."
)
@order_options
def extend(asked: Asked, halt: str, term: int) -> int:
    """Keep what the HALT stops stopped for longer; HALT is its id, 8 digits or more. The HALT key signs."""
    return run(_extend, asked, halt, term)


async def _extend(asked: Asked, prefix: str, term: int) -> int:
    keyholder = Keyholder.open(asked.home)
    (body,) = await find_orders(keyholder, asked, [prefix])
    i, whole = order_id(body), await keyholder.journal.signed()
    # An EXTEND that too few signed moved no end: one that begins there would extend nothing.
    halts = take(first_state(keyholder.home.genesis()), whole).state.book.halts
    end = next((h.ends for h in halts if h.order.id == i), opened(body).end)
    return await give_order(keyholder, Extend(i, end), asked, term=term, named=[body])
