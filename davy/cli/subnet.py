"""`davy subnet`: what a subnet's owner changes about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from msgspec.structs import replace

from davy.cli.act import act
from davy.cli.later import Whole
from davy.cli.loop import run
from davy.cli.network import Network, coldkey_of, ledger_of, metagraph_of, network_option, read_network
from davy.cli.options import home_option, json_option, unlocked
from davy.cli.output import show
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.protocol.errors import Misconfigured
from davy.protocol.limits import Hyperparameters, hyperparameters
from davy.protocol.transaction import SetHyperparameters
from davy.protocol.words import KeyRole

_SETTING: Final = re.compile(r"([a-z_]{1,64})=(\d{1,19})")


@click.group("subnet", cls=Whole)
def subnet_command() -> None:
    """Change a subnet that you own."""


@subnet_command.command("set")
@home_option
@network_option
@json_option
@click.argument("netuid", type=click.IntRange(0, 65_535))
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE…")
def set_settings(home: Path, network: Path, as_json: bool, netuid: int, settings: tuple[str, ...]) -> None:
    """Change hyperparameters of subnet NETUID, by this home's coldkey, which must own it.

    They take effect when the running epoch ends, and can be changed again until then. How far one change may go is
    bounded: a larger one takes several epochs. `davy status` shows what is in force and what is coming.
    """
    show(run(_set, Home.open(home), read_network(network), netuid, changes(settings)), as_json=as_json)


def changes(settings: Sequence[str]) -> dict[str, int]:
    """Read ``name=number`` words.

    Raises
    ------
    Misconfigured
        Another form, a name twice, an unknown name, or a value out of its range.
    """
    given: dict[str, int] = {}
    for word in settings:
        found = _SETTING.fullmatch(word)
        if found is None:
            raise Misconfigured(f"'{word[:40]}' is not a setting; write name=number, like tempo=100")
        if found[1] in given:
            raise Misconfigured(f"{found[1]} is given twice; write it once")
        given[found[1]] = int(found[2])
    hyperparameters(**given)
    return given


async def _set(home: Home, network: Network, netuid: int, given: dict[str, int]) -> dict[str, object]:
    """On top of what was changed in this epoch already."""
    async with ledger_of(network) as ledger:
        coldkey = await coldkey_of(ledger, FileKeyStore(home.keys).public(KeyRole.COLDKEY))
        subnet = (await metagraph_of(ledger, netuid)).subnet
        if subnet.owner != coldkey:
            raise Misconfigured(f"subnet {netuid} belongs to another coldkey; choose the owner's home with --home")
        coming = await ledger.coming(netuid)
        base = coming.hyperparameters[0] if coming.hyperparameters else subnet.hyperparameters
        keys = unlocked(home, KeyRole.COLDKEY)
        result = await act(ledger, keys, KeyRole.COLDKEY, SetHyperparameters(netuid, replace(base, **given)))
        coming = await ledger.coming(netuid)
    then = coming.hyperparameters[0] if coming.hyperparameters else subnet.hyperparameters
    return {
        "netuid": netuid,
        "height": result.height,
        "from": coming.height,
        "coming": differences(subnet.hyperparameters, then),
    }


def differences(now: Hyperparameters, then: Hyperparameters) -> dict[str, int]:
    """What differs, as it is to be."""
    return {f: getattr(then, f) for f in Hyperparameters.__struct_fields__ if getattr(then, f) != getattr(now, f)}
