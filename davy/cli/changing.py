"""What keyholders change until it is changed again: which models are systemic, and who the keyholders are."""

from __future__ import annotations

from pathlib import Path

import click

from davy.cli.genesis import read_roster
from davy.cli.keyholding import Keyholder
from davy.cli.loop import run
from davy.cli.ordering import Asked, find_orders, give_order, learn, order_options, read_book_file
from davy.cli.targets import digest_of, model_options, models_target
from davy.protocol.errors import Misconfigured
from davy.protocol.order import Install, Lower, Raise, order_id
from davy.protocol.roster import roster_digest


@click.command("raise")
@model_options
@order_options
def raise_class(asked: Asked, models: tuple[str, ...], files: tuple[str, ...], registrants: tuple[str, ...]) -> None:
    """Make MODELS systemic, and what descends from them: they run by a lease only. The HALT key signs."""
    run(give_order, Keyholder.open(asked.home), Raise(models_target(models, files, registrants)), asked)


@click.command("lower")
@click.argument("models", nargs=-1)
@click.option("--raised", multiple=True, metavar="ORDER", help="End this Raise (its id, 8 digits or more), too.")
@order_options
def lower_class(asked: Asked, models: tuple[str, ...], raised: tuple[str, ...]) -> None:
    """Make MODELS ordinary, whatever their subnet and registrant chose. The LIFT key signs."""
    if not (models or raised):
        raise Misconfigured("nothing is named; give the ids of models, or --raised with the id of a Raise")
    run(_lower, asked, models, raised)


@click.command("roster")
@click.argument("file", type=click.Path(path_type=Path))
@order_options
def install_roster(asked: Asked, file: Path) -> None:
    """Put the keys of FILE (of `davy keyholder dkg`) in the place of today's, and their keyholders with them.

    Today's LIFT key signs, and both new keys: as many of each as they need must be there. What is stopped stays so.
    """
    run(_install, asked, file)


async def _lower(asked: Asked, models: tuple[str, ...], raised: tuple[str, ...]) -> None:
    keyholder = Keyholder.open(asked.home)
    ended = await find_orders(keyholder, asked, raised, Raise) if raised else []
    ids = tuple(sorted({digest_of(m, "a model id") for m in models}))
    await give_order(keyholder, Lower(ids, tuple(sorted(set(map(order_id, ended))))), asked, named=ended)


async def _install(asked: Asked, file: Path) -> None:
    keyholder = Keyholder.open(asked.home)
    office = await keyholder.office()
    roster = read_roster(file, office.roster.epoch + 1)
    keyholder.circle_for(roster)
    if keyholder.key not in roster.members:
        raise Misconfigured("you are not among the new keyholders; one who is and who is one of today's types this")
    await learn(keyholder, read_book_file(asked.book), asked.network)
    await give_order(keyholder, Install(roster, roster_digest(office.roster), ()), asked)
