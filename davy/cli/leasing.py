"""`davy keyholder lease | raise | lower | heartbeat`: what systemic models run by."""

from __future__ import annotations

import click

from davy.cli.keyholding import Keyholder
from davy.cli.loop import run
from davy.cli.options import Term
from davy.cli.ordering import Asked, find_orders, give_order, learn, order_options, read_book_file
from davy.cli.targets import digest_of, model_options, models_target
from davy.keyholders.standing import known
from davy.killswitch.brake import first_state, head, take
from davy.protocol.errors import Misconfigured
from davy.protocol.limits import LEASE_TERM_MS
from davy.protocol.order import Heartbeat, Lease, Lower, Raise, order_id


def _ids(models: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(sorted({digest_of(m, "a model id") for m in models}))


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option(
    "--for", "term", type=Term(LEASE_TERM_MS), default=LEASE_TERM_MS, help="How long; at most and by default 30d."
)
@order_options
def lease(asked: Asked, models: tuple[str, ...], term: int) -> int:
    """Let the systemic MODELS run until the lease ends; the LIFT key signs."""
    return run(give_order, Keyholder.open(asked.home), Lease(_ids(models)), asked, term=term)


@click.command("raise")
@model_options
@order_options
def raise_class(asked: Asked, models: tuple[str, ...], files: tuple[str, ...], registrants: tuple[str, ...]) -> int:
    """Make MODELS and their descendants systemic: they stop until they are leased; the HALT key signs."""
    return run(give_order, Keyholder.open(asked.home), Raise(models_target(models, files, registrants)), asked)


@click.command("lower")
@click.argument("models", nargs=-1)
@click.option("--raised", multiple=True, metavar="ORDER", help="Also end this RAISE (its id, 8 digits or more).")
@order_options
def lower_class(asked: Asked, models: tuple[str, ...], raised: tuple[str, ...]) -> int:
    """Make MODELS ordinary, and end the RAISEs that name them; the LIFT key signs."""
    if not (models or raised):
        raise Misconfigured("nothing is named; give the ids of models, or --raised with the id of a RAISE")
    return run(_lower, asked, _ids(models), raised)


@click.command()
@order_options
def heartbeat(asked: Asked) -> int:
    """Let nodes that see no ledger run what is leased for another minute; the HALT key signs.

    It is for nodes: those of --book, and those that the ledger named. A ledger needs none, and takes none.
    """
    return run(_heartbeat, asked)


async def _lower(asked: Asked, ids: tuple[bytes, ...], prefixes: tuple[str, ...]) -> int:
    keyholder = Keyholder.open(asked.home)
    ended = {order_id(body): body for body in await find_orders(keyholder, asked, prefixes, Raise)}
    ended |= {
        i: body
        for i, (body, o) in (await known(keyholder.journal)).orders.items()
        if isinstance(o.action, Raise) and set(o.action.models.ids) & set(ids)
    }
    return await give_order(keyholder, Lower(ids, tuple(sorted(ended))), asked, named=[ended[i] for i in sorted(ended)])


async def _heartbeat(asked: Asked) -> int:
    keyholder = Keyholder.open(asked.home)
    await learn(keyholder, read_book_file(asked.book), asked.network)
    state = take(first_state(keyholder.home.genesis()), await keyholder.journal.signed()).state
    return await give_order(keyholder, Heartbeat(head(state)), asked)
