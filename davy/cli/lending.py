"""`davy stake lend`, `consent`, `children`: child keys, that is stake that others vote with."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from davy.cli.act import act
from davy.cli.loop import run
from davy.cli.network import Network, asked, ledger_of, network_option, read_network
from davy.cli.options import home_option, json_option, netuid_option, unlocked
from davy.cli.output import show
from davy.host.files import whole_path
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.ledger.client import RpcLedger
from davy.protocol.chain import Family, LentStake
from davy.protocol.consents import child_consent
from davy.protocol.errors import Malformed, Misconfigured
from davy.protocol.signing import Domain
from davy.protocol.transaction import Child, SetChildren
from davy.protocol.words import U16, Hotkey, KeyRole, key_from_text, key_text


class Part(click.ParamType[int]):
    """A part typed in percent, with at most two decimals; a value of 65535 for the program."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"\d{1,3}(\.\d{1,2})?", str(value)) or Decimal(value) > 100:
            self.fail(f"'{str(value)[:40]}' is not a percentage; write one from 0 to 100, like 50 or 12.5", param, ctx)
        return int(Decimal(value) * U16 / 100)


@click.command("lend")
@home_option
@network_option
@netuid_option
@json_option
@click.option("--from", "parent", help="Hotkey that lends; this home's by default.")
@click.option("--to", "child", required=True, help="Hotkey that votes with it.")
@click.option("--consent", default="", help="What `davy stake consent` printed in the child's home.")
@click.argument("percent", type=Part())
def lend_command(
    home: Path, network: Path, netuid: int, as_json: bool, parent: str | None, child: str, consent: str, percent: int
) -> None:
    """Lend PERCENT of a hotkey's stake on one subnet to another hotkey; 0 ends the loan.

    It holds from the end of the running epoch on. Both need a UID there. A hotkey of another owner has to consent.
    """
    show(run(_lend, Home.open(home), read_network(network), netuid, (parent, child), consent, percent), as_json=as_json)


@click.command("consent")
@home_option
@network_option
@netuid_option
@json_option
@click.option("--to", "parent", required=True, help="Hotkey that will lend its stake to this home's.")
def consent_command(home: Path, network: Path, netuid: int, as_json: bool, parent: str) -> None:
    """Consent to vote with another hotkey's stake: print what its owner needs, valid only in the running epoch."""
    show(run(_consent, Home.open(home), read_network(network), netuid, parent), as_json=as_json)


@click.command("children")
@home_option
@network_option
@netuid_option
@json_option
@click.option("--hotkey", help="Whose loans; this home's hotkey by default.")
def children_command(home: Path, network: Path, netuid: int, as_json: bool, hotkey: str | None) -> None:
    """Print whom a hotkey lends to on a subnet, now and in the next epoch, and who lends to it."""
    keys = FileKeyStore(whole_path(home) / "keys") if hotkey is None else None
    of = key_from_text(KeyRole.HOTKEY, hotkey) if hotkey else _own(home, keys)
    show(told(run(_family, read_network(network), netuid, of)), as_json=as_json)


def _own(home: Path, keys: FileKeyStore | None) -> Hotkey:
    return (keys or FileKeyStore(Home.open(home).keys)).public(KeyRole.HOTKEY)


def told(f: Family) -> dict[str, object]:
    """A family as people and programs read it."""

    def parts(loans: tuple[LentStake, ...]) -> dict[str, str]:
        return {key_text(KeyRole.HOTKEY, x.hotkey): f"{x.proportion * 100 / U16:.2f}%" for x in loans}

    return {
        "netuid": f.netuid,
        "hotkey": key_text(KeyRole.HOTKEY, f.hotkey),
        "epoch": f.epoch,
        "lends": parts(f.children),
        "will_lend": parts(f.coming),
        "is_lent_by": parts(f.parents),
    }


async def _family(network: Network, netuid: int, hotkey: Hotkey) -> Family:
    async with ledger_of(network) as ledger:
        return await family(ledger, netuid, hotkey)


async def family(ledger: RpcLedger, netuid: int, hotkey: Hotkey) -> Family:
    return await asked(ledger, "/family", netuid.to_bytes(2, "big") + hotkey, Family)


async def _lend(
    home: Home, network: Network, netuid: int, hotkeys: tuple[str | None, str], consent: str, part: int
) -> dict[str, object]:
    keys = FileKeyStore(home.keys)
    parent = keys.public(KeyRole.HOTKEY) if hotkeys[0] is None else key_from_text(KeyRole.HOTKEY, hotkeys[0])
    child = key_from_text(KeyRole.HOTKEY, hotkeys[1])
    if not re.fullmatch(r"([0-9a-f]{128})?", consent):
        raise Malformed("a consent is 128 hex digits; copy what `davy stake consent` printed")
    async with ledger_of(network) as ledger:
        now = await family(ledger, netuid, parent)
        parts = {loan.hotkey: loan.proportion for loan in now.coming} | {child: part}
        children = tuple(
            Child(key, n, bytes.fromhex(consent) if key == child else b"") for key, n in sorted(parts.items()) if n
        )
        if not part and child not in {loan.hotkey for loan in now.coming}:
            raise Misconfigured("nothing is lent to this hotkey; `davy stake children` lists to whom it is")
        signing = unlocked(home, KeyRole.COLDKEY)
        result = await act(ledger, signing, KeyRole.COLDKEY, SetChildren(netuid, parent, children))
        return {**told(await family(ledger, netuid, parent)), "height": result.height}


async def _consent(home: Home, network: Network, netuid: int, parent: str) -> dict[str, object]:
    lender = key_from_text(KeyRole.HOTKEY, parent)
    keys = unlocked(home, KeyRole.HOTKEY)
    child = keys.public(KeyRole.HOTKEY)
    async with ledger_of(network) as ledger:
        epoch = (await family(ledger, netuid, child)).epoch
        said = child_consent(ledger.chain, netuid, lender, child, epoch)
    return {
        "netuid": netuid,
        "epoch": epoch,
        "child": key_text(KeyRole.HOTKEY, child),
        "consent": keys.sign(KeyRole.HOTKEY, Domain.CHILD, said).hex(),
    }
