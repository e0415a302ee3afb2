"""`davy lift`: let run again what was halted."""

from __future__ import annotations

import click

from davy.cli.keyholding import Keyholder
from davy.cli.loop import run
from davy.cli.ordering import Asked, find_orders, give_order, order_options
from davy.protocol.order import Lift, order_id


@click.command("lift")
@click.argument("halts", nargs=-1, required=True)
@order_options
def lift_command(asked: Asked, halts: tuple[str, ...]) -> int:
    """End HALTS, named by their ids (8 digits or more), and those that stop the same; the LIFT key signs."""
    return run(_lift, asked, halts)


async def _lift(asked: Asked, prefixes: tuple[str, ...]) -> int:
    keyholder = Keyholder.open(asked.home)
    named = await find_orders(keyholder, asked, prefixes)
    return await give_order(keyholder, Lift(tuple(sorted(set(map(order_id, named))))), asked, named=named)
