"""`davy budget`: tickets for a consumer, and the deposit that answers for double ones."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from davy.cli.act import act
from davy.cli.later import Whole
from davy.cli.loop import run
from davy.cli.network import Network, asked, coldkey_of, ledger_of, network_option, read_network
from davy.cli.options import Tokens, home_option, json_option, netuid_option, tokens, unlocked
from davy.cli.output import show
from davy.host.files import read_bounded
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.ledger.client import RpcLedger
from davy.protocol.chain import Budget
from davy.protocol.errors import Malformed
from davy.protocol.limits import MAX_TICKET_BYTES, MAX_TICKET_RATE, MAX_TICKETS
from davy.protocol.ticket import budget_id
from davy.protocol.transaction import CloseBudget, ConvictDoubleSpend, OpenBudget
from davy.protocol.words import Digest, KeyRole, key_from_text, key_text

_LATER: Final = "come again once the unbonding time is over: the deposit comes back then"


@click.group("budget", cls=Whole)
def budget_command() -> None:
    """Open, show or close a budget of tickets; convict whoever spent one twice."""


@budget_command.command("open")
@home_option
@network_option
@netuid_option
@json_option
@click.option("--consumer", help="Hotkey that signs the tickets; this home's by default.")
@click.option("--tickets", type=click.IntRange(1, MAX_TICKETS), required=True, help="How many tickets.")
@click.option(
    "--rate",
    type=click.IntRange(1, MAX_TICKET_RATE),
    default=10,
    show_default=True,
    help="Tickets per second one miner takes.",
)
@click.argument("deposit", type=Tokens())
def open_one(
    home: Path, network: Path, netuid: int, as_json: bool, consumer: str | None, tickets: int, rate: int, deposit: int
) -> None:
    """Hold DEPOSIT tokens, and let a consumer spend tickets on a subnet. A ticket spent twice costs the deposit."""
    answer = run(_open, Home.open(home), read_network(network), (netuid, tickets, rate, deposit), consumer)
    show(answer, as_json=as_json)


@budget_command.command("close")
@home_option
@network_option
@json_option
@click.argument("budget")
def close_one(home: Path, network: Path, as_json: bool, budget: str) -> None:
    """Close BUDGET, so that no ticket of it counts; called again an unbonding time later, take the deposit back."""
    show(run(_close, Home.open(home), read_network(network), _id(budget)), as_json=as_json)


@budget_command.command("show")
@network_option
@json_option
@click.argument("budget")
def show_one(network: Path, as_json: bool, budget: str) -> None:
    """Print what the ledger knows of BUDGET, an id in hex."""
    show(told(_id(budget), run(_budget, read_network(network), _id(budget))), as_json=as_json)


@budget_command.command("convict")
@home_option
@network_option
@json_option
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def convict(home: Path, network: Path, as_json: bool, first: Path, second: Path) -> None:
    """Hand in two signed tickets with one number, each in a file, for two requests or two miners."""
    proof = ConvictDoubleSpend(*(read_bounded(f, MAX_TICKET_BYTES) for f in (first, second)))
    show(run(_convict, Home.open(home), read_network(network), proof), as_json=as_json)


def _id(text: str) -> Digest:
    try:
        wanted = bytes.fromhex(text)
    except ValueError:
        wanted = b""
    if len(wanted) != 32:
        raise Malformed("a budget's id is 64 hex digits; `davy budget open` printed it")
    return wanted


def told(i: Digest, b: Budget) -> dict[str, object]:
    """A budget as people and programs read it."""
    return {
        "budget": i.hex(),
        "owner": key_text(KeyRole.COLDKEY, b.owner),
        "consumer": key_text(KeyRole.HOTKEY, b.consumer),
        "netuid": b.netuid,
        "tickets": b.tickets,
        "rate": b.rate,
        "deposit": tokens(b.deposit),
        "opened": b.opened,
        "closed": b.closed,
        "convicted": b.convicted,
    }


async def _of(ledger: RpcLedger, i: Digest) -> Budget:
    return await asked(ledger, "/budget", i, Budget)


async def _budget(network: Network, i: Digest) -> Budget:
    async with ledger_of(network) as ledger:
        return await _of(ledger, i)


async def _open(
    home: Home, network: Network, asked_for: tuple[int, int, int, int], consumer: str | None
) -> dict[str, object]:
    netuid, tickets, rate, deposit = asked_for
    keys = FileKeyStore(home.keys)
    spender = keys.public(KeyRole.HOTKEY) if consumer is None else key_from_text(KeyRole.HOTKEY, consumer)
    async with ledger_of(network) as ledger:
        signing = unlocked(home, KeyRole.COLDKEY)
        owner = await coldkey_of(ledger, signing.public(KeyRole.COLDKEY))
        await act(ledger, signing, KeyRole.COLDKEY, OpenBudget(spender, netuid, tickets, rate, deposit))
        i = budget_id(ledger.chain, owner, await ledger.nonce(owner) - 1)
        return told(i, await _of(ledger, i))


async def _close(home: Home, network: Network, i: Digest) -> dict[str, object]:
    async with ledger_of(network) as ledger:
        before = await _of(ledger, i)
        result = await act(ledger, unlocked(home, KeyRole.COLDKEY), KeyRole.COLDKEY, CloseBudget(i))
    done = f"paid back {tokens(before.deposit)}" if before.closed else _LATER
    return {"budget": i.hex(), "height": result.height, "deposit": done}


async def _convict(home: Home, network: Network, proof: ConvictDoubleSpend) -> dict[str, object]:
    async with ledger_of(network) as ledger:
        result = await act(ledger, unlocked(home, KeyRole.COLDKEY), KeyRole.COLDKEY, proof)
    return {"convicted_at": result.height}
