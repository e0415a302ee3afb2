"""`davy halt`: stop a model, a miner, a subnet or everything, with t of n keyholders."""

from __future__ import annotations

import click

from davy.cli.keyholding import Keyholder
from davy.cli.later import Whole
from davy.cli.loop import run
from davy.cli.ordering import Asked, give_order
from davy.cli.targets import add_targets
from davy.protocol.order import GroupKey, Halt, Target


@click.group("halt", cls=Whole)
def halt_command() -> None:
    """Stop something on every node at once.

    Any keyholder can begin; as many as the HALT key needs sign. How to do it in three minutes: docs/halt.md.
    """


def _give(asked: Asked, target: Target, term: int, beyond_allowance: bool) -> int:
    authority = GroupKey.LIFT if beyond_allowance else GroupKey.HALT
    return run(give_order, Keyholder.open(asked.home), Halt(target, authority), asked, term=term)


add_targets(
    halt_command,
    "Stop",
    _give,
    click.option("--beyond-allowance", is_flag=True, help="Sign with the LIFT key; does not use the allowance."),
)
