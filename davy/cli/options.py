"""What the subcommands ask for in the same words: home, network, password, JSON, amounts."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Coroutine
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import click

from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.protocol.errors import Misconfigured
from davy.protocol.words import MAX_SUPPLY, TOKEN, KeyRole

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_DEFAULT_HOME: Final = Path("~/.davy/home")
_ROLE_NAMES: Final = {
    KeyRole.COLDKEY: "coldkey",
    KeyRole.HOTKEY: "hotkey",
    KeyRole.PRODUCER: "producer key",
    KeyRole.KEYHOLDER: "keyholder's key",
}


def home_option(function: F) -> F:
    """``--home``: the folder of keys and state; $DAVY_HOME, or ~/.davy/home."""
    return click.option(
        "--home",
        type=click.Path(path_type=Path),
        envvar="DAVY_HOME",
        default=_DEFAULT_HOME,
        show_default=True,
        help="Folder of keys and state ($DAVY_HOME).",
    )(function)


def json_option(function: F) -> F:
    """``--json``: one JSON value on standard output instead of words for a person."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def netuid_option(function: F) -> F:
    """``--netuid``: the subnet, 1 by default."""
    return click.option("--netuid", type=click.IntRange(0, 65_535), default=1, show_default=True, help="Subnet.")(
        function
    )


def unlocked(home: Home, *roles: KeyRole) -> FileKeyStore:
    """Open a home's keys for signing.

    The hotkey's password comes from $DAVY_PASSWORD, the coldkey's from $DAVY_COLD_PASSWORD or else $DAVY_PASSWORD; what
    is not given is asked for at the terminal.

    Raises
    ------
    NoSuchKey, WrongPassword, Misconfigured
    """
    keys = FileKeyStore(home.keys)
    for role in roles:
        keys.public(role)
        keys.unlock(role, password(role))
    return keys


def password(role: KeyRole, *, twice: bool = False) -> str:
    """Return a role's password from the environment, or ask for it.

    Raises
    ------
    Misconfigured
        It is not in the environment and there is no terminal to ask at.
    """
    given = os.environ.get("DAVY_COLD_PASSWORD") if role is KeyRole.COLDKEY else None
    given = given or os.environ.get("DAVY_PASSWORD")
    if given:
        return given
    if not sys.stdin.isatty():
        raise Misconfigured(f"no password for the {_ROLE_NAMES[role]}: set DAVY_PASSWORD, or run this in a terminal")
    return str(click.prompt(f"Password of the {_ROLE_NAMES[role]}", hide_input=True, confirmation_prompt=twice))


class Tokens(click.ParamType[int]):
    """An amount typed in tokens, with at most nine decimals; a value in base units for the program."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", str(value)):
            self.fail(f"'{value}' is no amount; write tokens like 12 or 0.5, with at most nine decimals", param, ctx)
        units = int(Decimal(value) * TOKEN)
        if units > MAX_SUPPLY:
            self.fail(f"{value} is more than there can ever be", param, ctx)
        return units


def tokens(units: int) -> str:
    """Write base units as tokens, exactly, without superfluous zeros."""
    whole, rest = divmod(units, TOKEN)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")


def run(function: Callable[..., Coroutine[Any, Any, R]], *args: Any, **kwargs: Any) -> R:
    """Run an asynchronous command on asyncio, with uvloop where there is one."""
    uvloop = os.name != "nt"
    return anyio.run(partial(function, *args, **kwargs), backend_options={"use_uvloop": uvloop})


def named(spec: str) -> Callable[..., Any]:
    """Import what ``module:name`` names.

    Raises
    ------
    Misconfigured
        There is nothing of that name, or it cannot be called.
    """
    module, colon, name = spec.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as e:
        raise Misconfigured(f"there is no '{spec}' ({e}); write module:name") from None
    if not colon or not callable(found):
        raise Misconfigured(f"'{spec}' cannot be called; write module:name")
    return found
