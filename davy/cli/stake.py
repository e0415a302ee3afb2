"""`davy stake`: what votes, earns dividends and can be slashed."""

from __future__ import annotations

from pathlib import Path

import click

from davy.cli.act import act
from davy.cli.later import Whole
from davy.cli.lending import children_command, consent_command, lend_command
from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, network_option, read_network
from davy.cli.options import Percent, Tokens, home_option, json_option, tokens, unlocked
from davy.cli.output import show
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.protocol.transaction import AddStake, MoveStake, RemoveStake, SetTake
from davy.protocol.words import U16, KeyRole, key_from_text, key_text


@click.group("stake", cls=Whole)
def stake_command() -> None:
    """Add, remove, move, lend or list stake; see or set a hotkey's take."""


for _command in (lend_command, consent_command, children_command):
    stake_command.add_command(_command)


@stake_command.command()
@home_option
@network_option
@json_option
@click.option("--hotkey", help="Hotkey to stake on; this home's by default.")
@click.argument("amount", type=Tokens())
def add(home: Path, network: Path, as_json: bool, hotkey: str | None, amount: int) -> None:
    """Turn AMOUNT tokens of free balance into stake."""
    show(run(_move, Home.open(home), read_network(network), hotkey, amount, AddStake), as_json=as_json)


@stake_command.command()
@home_option
@network_option
@json_option
@click.option("--hotkey", help="Hotkey to take stake from; this home's by default.")
@click.argument("amount", type=Tokens())
def remove(home: Path, network: Path, as_json: bool, hotkey: str | None, amount: int) -> None:
    """Begin to unbond AMOUNT tokens: they stop voting at once, and are free after the unbonding time."""
    show(run(_move, Home.open(home), read_network(network), hotkey, amount, RemoveStake), as_json=as_json)


@stake_command.command()
@home_option
@network_option
@json_option
@click.option("--from", "origin", help="Hotkey it is on; this home's by default.")
@click.option("--to", "destination", required=True, help="Hotkey it goes to.")
@click.argument("amount", type=Tokens())
def move(home: Path, network: Path, as_json: bool, origin: str | None, destination: str, amount: int) -> None:
    """Move AMOUNT tokens of stake to another hotkey, without unbonding.

    They count there from the first epoch through which they are held. What you staked on a hotkey of your own can move
    only to another of your own, has to stay there for the unbonding time, and can be burned for either until then.
    """
    show(run(_between, Home.open(home), read_network(network), origin, destination, amount), as_json=as_json)


@stake_command.command()
@home_option
@network_option
@json_option
@click.option("--hotkey", help="Whose take; this home's hotkey by default.")
@click.argument("percent", required=False, type=Percent())
def take(home: Path, network: Path, as_json: bool, hotkey: str | None, percent: int | None) -> None:
    """Print what a hotkey's owner keeps of its delegators' dividends, or set it to PERCENT.

    It is 18 at most. It falls at once, and rises by one percentage point at a time, once per unbonding time.
    """
    show(run(_take, Home.open(home), read_network(network), hotkey, percent), as_json=as_json)


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


async def _between(
    home: Home, network: Network, origin: str | None, destination: str, amount: int
) -> dict[str, object]:
    to = key_from_text(KeyRole.HOTKEY, destination)
    given = None if origin is None else key_from_text(KeyRole.HOTKEY, origin)
    keys = unlocked(home, KeyRole.COLDKEY)
    start = keys.public(KeyRole.HOTKEY) if given is None else given
    async with ledger_of(network) as ledger:
        result = await act(ledger, keys, KeyRole.COLDKEY, MoveStake(start, to, amount))
    return {
        "from": key_text(KeyRole.HOTKEY, start),
        "to": key_text(KeyRole.HOTKEY, to),
        "amount": tokens(amount),
        "height": result.height,
    }


async def _take(home: Home, network: Network, hotkey: str | None, take: int | None) -> dict[str, object]:
    keys = FileKeyStore(home.keys)
    of = keys.public(KeyRole.HOTKEY) if hotkey is None else key_from_text(KeyRole.HOTKEY, hotkey)
    async with ledger_of(network) as ledger:
        if take is not None:
            await act(ledger, unlocked(home, KeyRole.COLDKEY), KeyRole.COLDKEY, SetTake(of, take))
        told = await ledger.hotkey(of)
    return {
        "hotkey": key_text(KeyRole.HOTKEY, of),
        "owner": key_text(KeyRole.COLDKEY, told.owner),
        "take": f"{told.take * 100 / U16:.2f}%",
        "may_raise_from": told.may_raise,
        "staked_by_owner": tokens(told.owned),
        "staked_by_others": tokens(told.delegated),
    }


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
