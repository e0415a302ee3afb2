"""`davy producer`: a seat among those who make a chain's blocks, for a bond; who has one; how to leave it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from davy.cli.act import act
from davy.cli.later import Whole
from davy.cli.loop import run
from davy.cli.network import Network, asked, coldkey_of, ledger_of, network_option, read_network
from davy.cli.options import Place, Tokens, home_option, json_option, tokens, unlocked
from davy.cli.output import show, show_table
from davy.host.files import read_bounded
from davy.host.home import Home
from davy.protocol.chain import ProducerList
from davy.protocol.consents import producer_consent
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import RegisterProducer, RetireProducer
from davy.protocol.words import KeyRole, key_from_text, key_text

_MAX_KEY_FILE_BYTES: Final = 4 * 1024


@click.group("producer", cls=Whole)
def producer_command() -> None:
    """Take a seat among the producers of blocks, leave it, or see who has one."""


@producer_command.command("register")
@home_option
@network_option
@json_option
@click.option("--producer", "place", type=Place(), required=True, help="The producer's home (`davy ledger join`).")
@click.argument("bond", type=Tokens())
def register_one(home: Path, network: Path, as_json: bool, place: Path, bond: int) -> None:
    """Hold BOND tokens for a producer, whose engine then votes. Two votes of its key for one height burn the bond."""
    answer = run(_register, Home.open(home), read_network(network), Home.open(place), bond)
    show(answer, as_json=as_json)


@producer_command.command("retire")
@home_option
@network_option
@json_option
@click.argument("producer")
def retire_one(home: Path, network: Path, as_json: bool, producer: str) -> None:
    """Let PRODUCER leave its seat; called again an unbonding time after it did, take the bond back."""
    key = key_from_text(KeyRole.PRODUCER, producer)
    show(run(_retire, Home.open(home), read_network(network), key), as_json=as_json)


@producer_command.command("list")
@network_option
@json_option
def list_all(network: Path, as_json: bool) -> None:
    """Print who makes blocks and who waits for a seat, with their bonds."""
    listed = told(run(_list, read_network(network)))
    if as_json:
        show(listed, as_json=True)
        return
    rows = [{"producer": producer, **seat} for producer, seat in listed.items()]
    show_table(("producer", "owner", "bond", "seat"), rows, as_json=False)


def told(x: ProducerList) -> dict[str, dict[str, str]]:
    """The producers as people and programs read them."""
    return {
        key_text(KeyRole.PRODUCER, p.producer): {
            "owner": key_text(KeyRole.COLDKEY, p.owner) if p.owner else "none",
            "bond": tokens(p.bond),
            "seat": "waits" if p.waits else "leaves" if p.leaves else "has one",
        }
        for p in x.producers
    }


async def _register(home: Home, network: Network, place: Home, bond: int) -> dict[str, object]:
    from davy.ledger.driver.cometbft.configuration import PRODUCER_KEY, secret_of

    public, secret = secret_of(read_bounded(place.engine / PRODUCER_KEY, _MAX_KEY_FILE_BYTES))
    async with ledger_of(network) as ledger:
        signing = unlocked(home, KeyRole.COLDKEY)
        owner = await coldkey_of(ledger, signing.public(KeyRole.COLDKEY))
        consent = sign(secret, Domain.PRODUCER, producer_consent(ledger.chain, owner, public))
        result = await act(ledger, signing, KeyRole.COLDKEY, RegisterProducer(public, consent, bond))
    return {"producer": key_text(KeyRole.PRODUCER, public), "bond": tokens(bond), "height": result.height}


async def _retire(home: Home, network: Network, key: bytes) -> dict[str, object]:
    async with ledger_of(network) as ledger:
        result = await act(ledger, unlocked(home, KeyRole.COLDKEY), KeyRole.COLDKEY, RetireProducer(key))
        left = await asked(ledger, "/producers", b"", ProducerList)
    seated = any(p.producer == key for p in left.producers)
    return {
        "producer": key_text(KeyRole.PRODUCER, key),
        "height": result.height,
        "seat": "is left as soon as there are enough others" if seated else "is left",
    }


async def _list(network: Network) -> ProducerList:
    async with ledger_of(network) as ledger:
        return await asked(ledger, "/producers", b"", ProducerList)
