"""`davy stake`: what votes, earns dividends and can be slashed."""

from __future__ import annotations

from pathlib import Path

import click

from davy.cli.act import act
from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, network_option, read_network
from davy.cli.options import Tokens, home_option, json_option, tokens, unlocked
from davy.cli.output import show
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.protocol.transaction import AddStake, RemoveStake
from davy.protocol.words import KeyRole, key_from_text, key_text


@click.group("stake")
def stake_command() -> None:
    """Add, remove or list stake."""


@stake_command.command()
@home_option
@network_option
@json_option
@click.option("--hotkey", help="Whose stake grows; this home's hotkey if not given.")
@click.argument("amount", type=Tokens())
def add(home: Path, network: Path, as_json: bool, hotkey: str | None, amount: int) -> None:
    """Turn AMOUNT tokens of free balance into stake."""
    show(run(_move, Home.open(home), read_network(network), hotkey, amount, AddStake), as_json=as_json)


@stake_command.command()
@home_option
@network_option
@json_option
@click.option("--hotkey", help="Whose stake shrinks; this home's hotkey if not given.")
@click.argument("amount", type=Tokens())
def remove(home: Path, network: Path, as_json: bool, hotkey: str | None, amount: int) -> None:
    """Begin to unbond AMOUNT tokens: they vote no more and are free after the unbonding time."""
    show(run(_move, Home.open(home), read_network(network), hotkey, amount, RemoveStake), as_json=as_json)


@stake_command.command("list")
@home_option
@network_option
@json_option
def list_stakes(home: Path, network: Path, as_json: bool) -> None:
    """Print this home's balance and stakes."""
    show(run(_balance, Home.open(home), read_network(network)), as_json=as_json)


async def _move(
    home: Home, network: Network, hotkey: str | None, amount: int, kind: type[AddStake] | type[RemoveStake]
) -> dict[str, object]:
    keys = unlocked(home, KeyRole.COLDKEY)
    on = keys.public(KeyRole.HOTKEY) if hotkey is None else key_from_text(KeyRole.HOTKEY, hotkey)
    async with ledger_of(network) as ledger:
        result = await act(ledger, keys, KeyRole.COLDKEY, kind(on, amount))
    return {"hotkey": key_text(KeyRole.HOTKEY, on), "amount": tokens(amount), "height": result.height}


async def _balance(home: Home, network: Network) -> dict[str, object]:
    coldkey = FileKeyStore(home.keys).public(KeyRole.COLDKEY)
    async with ledger_of(network) as ledger:
        account = await ledger.account(coldkey)
    answer: dict[str, object] = {
        "coldkey": key_text(KeyRole.COLDKEY, coldkey),
        "free": tokens(account.free),
        "unbonding": tokens(account.unbonding),
    }
    for hotkey, amount in account.stakes:
        answer[key_text(KeyRole.HOTKEY, hotkey)] = tokens(amount)
    return answer
