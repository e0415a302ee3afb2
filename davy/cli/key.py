"""`davy key`: make, show, recover and export keys."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from davy.cli.later import Later
from davy.cli.options import home_option, json_option, password
from davy.cli.output import show
from davy.host.entropy import OsEntropy
from davy.host.files import read_bounded, whole_path, write_new
from davy.host.home import Home
from davy.host.keys import MODERATE, QUICK, FileKeyStore, key_path, write_key
from davy.host.recovery import new_words, seed_from_words
from davy.protocol.errors import Misconfigured
from davy.protocol.words import KeyRole, key_text

_ROLES: Final = {"cold": KeyRole.COLDKEY, "hot": KeyRole.HOTKEY}


@click.group(
    "key",
    cls=Later,
    later={
        "rotate": "davy.cli.replacing:rotate_command",
        "announce-swap": "davy.cli.replacing:announce_command",
        "swap": "davy.cli.replacing:swap_command",
    },
)
def key_command() -> None:
    """Make, show, recover, export and replace keys.

    The coldkey owns tokens and should stay off the machines that serve; the hotkey signs for a node.
    """


@key_command.command()
@home_option
@json_option
@click.option("--quick", is_flag=True, help="Derive passwords with less work: for local networks and tests only.")
def new(home: Path, as_json: bool, quick: bool) -> None:
    """Make a coldkey and a hotkey, and print the 24 words that bring both back."""
    _store(home, new_words(OsEntropy()), as_json=as_json, quick=quick, tell=True)


@key_command.command()
@home_option
@json_option
@click.option("--quick", is_flag=True, help="Derive passwords with less work: for local networks and tests only.")
def recover(home: Path, as_json: bool, quick: bool) -> None:
    """Make the keys again from their 24 words, read from the terminal or from standard input."""
    asked = sys.stdin.isatty()
    words = str(click.prompt("The 24 words", hide_input=True)) if asked else sys.stdin.read(1_000)
    _store(home, words, as_json=as_json, quick=quick, tell=False)


@key_command.command("show")
@home_option
@json_option
def show_keys(home: Path, as_json: bool) -> None:
    """Print the public keys; no password is needed."""
    keys = FileKeyStore(Home.open(home).keys)
    show({role.name.lower(): key_text(role, keys.public(role)) for role in _ROLES.values()}, as_json=as_json)


@key_command.command()
@home_option
@json_option
@click.argument("role", type=click.Choice(sorted(_ROLES)))
@click.argument("to", type=click.Path(path_type=Path))
def export(home: Path, as_json: bool, role: str, to: Path) -> None:
    """Copy ROLE's encrypted file to the folder TO: to bring a hotkey to another machine, or as a backup.

    The copy opens with the same password. A secret is never printed.
    """
    keys = Home.open(home).keys
    FileKeyStore(keys).public(_ROLES[role])  # there is one, and it is whole
    target = key_path(Home.create(to).keys, _ROLES[role])
    write_new(target, read_bounded(key_path(keys, _ROLES[role]), 4096))
    show({"copied_to": str(target), "password": "the same"}, as_json=as_json)


def _store(root: Path, words: str, *, as_json: bool, quick: bool, tell: bool) -> None:
    """Write keys where there are none; whatever is wrong is told before anything is written."""
    place = Home(whole_path(root))
    for role in _ROLES.values():
        if key_path(place.keys, role).exists():
            raise Misconfigured(f"{place.root} has keys already, and they are never overwritten; choose another --home")
    seeds = {role: seed_from_words(words, role) for role in _ROLES.values()}
    passwords = {role: password(role, twice=True) for role in _ROLES.values()}
    home = Home.create(root)
    cost = QUICK if quick else MODERATE
    try:
        public = {
            role.name.lower(): key_text(
                role, write_key(home.keys, role, seed, passwords[role], entropy=OsEntropy(), cost=cost)
            )
            for role, seed in seeds.items()
        }
        if tell:
            public["words"] = words
        show(public, as_json=as_json)
        sys.stdout.flush()
    except BaseException:  # keys whose words nobody saw are worth nothing, and half of them would stand in the way
        for role in _ROLES.values():
            key_path(home.keys, role).unlink(missing_ok=True)
        raise
    if tell and not as_json:
        click.echo("Write the 24 words down on paper, now: they are shown once, and whoever has them has the tokens.")
