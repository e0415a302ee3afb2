"""`davy transfer`: tokens to another coldkey."""

from __future__ import annotations

from pathlib import Path

import click

from davy.cli.act import act
from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, network_option, read_network
from davy.cli.options import Tokens, home_option, json_option, tokens, unlocked
from davy.cli.output import show
from davy.host.home import Home
from davy.protocol.transaction import Transfer
from davy.protocol.words import KeyRole, key_from_text


@click.command("transfer")
@home_option
@network_option
@json_option
@click.argument("to")
@click.argument("amount", type=Tokens())
def transfer_command(home: Path, network: Path, as_json: bool, to: str, amount: int) -> None:
    """Send AMOUNT tokens TO a coldkey (its text begins with cold_)."""
    show(run(_transfer, Home.open(home), read_network(network), to, amount), as_json=as_json)


async def _transfer(home: Home, network: Network, to: str, amount: int) -> dict[str, object]:
    receiver = key_from_text(KeyRole.COLDKEY, to)
    keys = unlocked(home, KeyRole.COLDKEY)
    async with ledger_of(network) as ledger:
        result = await act(ledger, keys, KeyRole.COLDKEY, Transfer(receiver, amount))
    return {"to": to, "amount": tokens(amount), "height": result.height}
