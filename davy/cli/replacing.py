"""`davy key rotate`, `announce-swap`, `swap`: a new key in the place of a hotkey, or of a coldkey."""

from __future__ import annotations

from pathlib import Path

import click

from davy.cli.act import act
from davy.cli.loop import run
from davy.cli.network import Network, asked, coldkey_of, ledger_of, network_option, read_network
from davy.cli.options import home_option, json_option, unlocked
from davy.cli.output import show
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.protocol.chain import ColdkeyInfo
from davy.protocol.consents import succession_consent, successor_digest
from davy.protocol.signing import Domain
from davy.protocol.transaction import AnnounceColdkeySwap, ExecuteColdkeySwap, RotateHotkey, consent_bytes
from davy.protocol.words import KeyRole, key_from_text, key_text

_new_home = click.argument("new_home", type=click.Path(path_type=Path))


@click.command("rotate")
@home_option
@network_option
@json_option
@click.option("--hotkey", help="Hotkey to replace; this home's by default.")
@_new_home
def rotate_command(home: Path, network: Path, as_json: bool, hotkey: str | None, new_home: Path) -> None:
    """Replace this home's hotkey by that of NEW_HOME, which gets its UIDs, stake, take and loans.

    Weights given to the old key stop counting, and what it committed and did not reveal costs as much as ever. The old
    key becomes useless; what it signed before can still convict the new one.
    """
    show(run(_rotate, Home.open(home), Home.open(new_home), read_network(network), hotkey), as_json=as_json)


@click.command("announce-swap")
@home_option
@network_option
@json_option
@_new_home
def announce_command(home: Path, network: Path, as_json: bool, new_home: Path) -> None:
    """Announce that the coldkey of NEW_HOME will sign for all that this home's coldkey owns.

    It can do so an unbonding time from now at the soonest. Until it does, this home's coldkey can do nothing else.
    """
    show(run(_announce, Home.open(home), Home.open(new_home), read_network(network)), as_json=as_json)


@click.command("swap")
@home_option
@network_option
@json_option
@_new_home
def swap_command(home: Path, network: Path, as_json: bool, new_home: Path) -> None:
    """Let the coldkey of NEW_HOME sign from now on for all that this home's coldkey owns, as announced."""
    show(run(_execute, Home.open(home), Home.open(new_home), read_network(network)), as_json=as_json)


async def _rotate(home: Home, new: Home, network: Network, hotkey: str | None) -> dict[str, object]:
    old = FileKeyStore(home.keys).public(KeyRole.HOTKEY) if hotkey is None else key_from_text(KeyRole.HOTKEY, hotkey)
    async with ledger_of(network) as ledger:
        owner = await coldkey_of(ledger, FileKeyStore(home.keys).public(KeyRole.COLDKEY))
        keys, fresh = unlocked(home, KeyRole.COLDKEY), unlocked(new, KeyRole.HOTKEY)
        successor = fresh.public(KeyRole.HOTKEY)
        consent = fresh.sign(KeyRole.HOTKEY, Domain.CONSENT, consent_bytes(ledger.chain, owner, successor))
        result = await act(ledger, keys, KeyRole.COLDKEY, RotateHotkey(old, successor, consent))
    return {
        "hotkey": key_text(KeyRole.HOTKEY, old),
        "replaced_by": key_text(KeyRole.HOTKEY, successor),
        "height": result.height,
    }


async def _announce(home: Home, new: Home, network: Network) -> dict[str, object]:
    successor = FileKeyStore(new.keys).public(KeyRole.COLDKEY)
    async with ledger_of(network) as ledger:
        keys = unlocked(home, KeyRole.COLDKEY)
        owner = await coldkey_of(ledger, keys.public(KeyRole.COLDKEY))
        said = successor_digest(ledger.chain, owner, successor)
        result = await act(ledger, keys, KeyRole.COLDKEY, AnnounceColdkeySwap(said))
        due = (await asked(ledger, "/coldkey", owner, ColdkeyInfo)).due
    return {
        "coldkey": key_text(KeyRole.COLDKEY, owner),
        "successor": key_text(KeyRole.COLDKEY, successor),
        "height": result.height,
        "swap_from": due,
    }


async def _execute(home: Home, new: Home, network: Network) -> dict[str, object]:
    async with ledger_of(network) as ledger:
        keys, fresh = unlocked(home, KeyRole.COLDKEY), unlocked(new, KeyRole.COLDKEY)
        successor = fresh.public(KeyRole.COLDKEY)
        owner = await coldkey_of(ledger, keys.public(KeyRole.COLDKEY))
        said = succession_consent(ledger.chain, owner, successor)
        consent = fresh.sign(KeyRole.COLDKEY, Domain.SUCCESSION, said)
        result = await act(ledger, keys, KeyRole.COLDKEY, ExecuteColdkeySwap(successor, consent))
    return {
        "coldkey": key_text(KeyRole.COLDKEY, owner),
        "signed_for_by": key_text(KeyRole.COLDKEY, successor),
        "height": result.height,
    }
