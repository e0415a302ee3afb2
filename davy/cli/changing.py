"""`davy keyholder roster`: today's keyholders put others in their place."""

from __future__ import annotations

from pathlib import Path

import click

from davy.cli.genesis import read_roster
from davy.cli.keyholding import Keyholder
from davy.cli.loop import run
from davy.cli.ordering import Asked, give_order, learn, order_options, read_book_file
from davy.protocol.errors import Misconfigured
from davy.protocol.order import Install
from davy.protocol.roster import roster_digest


@click.command("roster")
@click.argument("file", type=click.Path(path_type=Path))
@order_options
def install_roster(asked: Asked, file: Path) -> int:
    """Replace today's keys and keyholders with those of FILE (from `davy keyholder dkg`).

    Today's LIFT key and both new keys sign: as many holders of each as it needs must be there. What is stopped stays
    stopped.
    """
    return run(_install, asked, file)


async def _install(asked: Asked, file: Path) -> int:
    keyholder = Keyholder.open(asked.home)
    today = await keyholder.roster()
    roster = read_roster(file, today.epoch + 1)
    for whose, each in (("today's", today), ("the new", roster)):
        if keyholder.key not in each.members:
            raise Misconfigured(
                f"you are not among {whose} keyholders, and cannot check what they sign: somebody who belongs to both "
                "rosters types this; where nobody does, change twice"
            )
    keyholder.circle_for(roster)
    await learn(keyholder, read_book_file(asked.book), asked.network)
    return await give_order(keyholder, Install(roster, roster_digest(today), ()), asked)
