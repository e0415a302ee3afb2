"""What the subcommands ask for in the same words: home, network, password, JSON, amounts."""

from __future__ import annotations

import importlib
import ipaddress
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.protocol.errors import DavyError, Misconfigured, said_by
from davy.protocol.limits import DAY_MS, MAX_HOST_CHARS, MAX_TAKE
from davy.protocol.words import MAX_SUPPLY, TOKEN, U16, KeyRole
from davy.protocol.words import tokens as tokens

F = TypeVar("F", bound=Callable[..., Any])

_LABEL: Final = re.compile("(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
_TERM: Final = re.compile(r"([1-9][0-9]{0,3})([smhd])")
_DEFAULT_HOME: Final = Path("~/.davy/home")
_ROLE_NAMES: Final = {
    KeyRole.COLDKEY: "coldkey",
    KeyRole.HOTKEY: "hotkey",
    KeyRole.PRODUCER: "producer key",
    KeyRole.KEYHOLDER: "keyholder's key",
}


class Place(click.Path):
    """A file or folder of davy's own; an empty name, which would be the folder one stands in, is refused."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if value == "":
            self.fail("an empty name is not a place; write a path, or leave the option out", param, ctx)
        return super().convert(value, param, ctx)


class Term(click.ParamType[int]):
    """A time such as 30m, 12h or 7d, and no longer than so many milliseconds; milliseconds for the program."""

    name = "term"

    def __init__(self, most: int = 10_000 * DAY_MS) -> None:
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _TERM.fullmatch(str(value))
        if found is None:
            self.fail(f"'{value}' is not a time; write it like 30m, 12h or 7d", param, ctx)
        term = int(found[1]) * _UNITS[found[2]]
        if term > self._most:
            self.fail(f"{value} is too long; {self._most // DAY_MS}d is the longest", param, ctx)
        return term


class Host(click.ParamType[str]):
    """A host as others type it: a name or an address of IPv4 or IPv6, with neither scheme nor port.

    Parameters
    ----------
    public
        It is told to others: an address that stands for all of a machine's own is refused.
    """

    name = "host"

    def __init__(self, *, public: bool = False) -> None:
        self._public = public

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        fault = host_fault(str(value), public=self._public)
        if fault:
            self.fail(f"'{str(value)[:64]}' {fault}", param, ctx)
        return str(value)


def host_fault(host: str, *, public: bool) -> str:
    """Say what is wrong with a host, and what to write; empty where nothing is."""
    if "://" in host or "/" in host:
        return "is an address of a page; write the host alone, without http:// and without a path"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if re.fullmatch(r"[^:]+:[0-9]+", host):
            return "holds a port; write the host alone, and the port with the option for it"
        labels = host.removesuffix(".").split(".")
        if len(host) > MAX_HOST_CHARS or not all(_LABEL.fullmatch(label) for label in labels):
            return "is no host; write a name like node.example.org, or an address like 203.0.113.7"
        return ""
    if public and address.is_unspecified:
        return "stands for every address of this machine; write one that others can reach"
    if public and "%" in host:
        return "is an address on this machine's own link; write one that others can reach"
    return ""


def home_option(function: F) -> F:
    """``--home``: the folder of keys and state; $DAVY_HOME, or ~/.davy/home."""
    return click.option(
        "--home",
        type=Place(),
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


def netuids_option(function: F) -> F:
    """``--netuid``, once for each subnet; 1 by default."""
    return click.option(
        "--netuid",
        "netuids",
        type=click.IntRange(0, 65_535),
        multiple=True,
        default=(1,),
        show_default=True,
        help="Subnet; may be repeated.",
    )(function)


def pace_options(function: F) -> F:
    """``--challenges`` and ``--round``: how many challenges a validator asks of each miner, and in how many seconds."""
    most = click.option(
        "--challenges",
        type=click.IntRange(1, 512),
        default=16,
        show_default=True,
        help="Challenges per round, on average.",
    )
    span = click.option(
        "--round",
        "round_s",
        type=click.FloatRange(0.1, 3600),
        default=30.0,
        show_default=True,
        help="Seconds per round.",
    )
    return most(span(function))


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
        It is not in the environment and there is no terminal to ask at, or it is no text.
    """
    given = os.environ.get("DAVY_COLD_PASSWORD") if role is KeyRole.COLDKEY else None
    given = given or os.environ.get("DAVY_PASSWORD")
    if given and not given.isascii() and given.encode(errors="replace").decode() != given:
        raise Misconfigured(f"the password for the {_ROLE_NAMES[role]} holds bytes that are no UTF-8: set it anew")
    if given:
        return given
    if not sys.stdin.isatty():
        raise Misconfigured(f"no password for the {_ROLE_NAMES[role]}: set DAVY_PASSWORD, or run this in a terminal")
    with interruptible():
        return str(click.prompt(f"Password of the {_ROLE_NAMES[role]}", hide_input=True, confirmation_prompt=twice))


@contextmanager
def interruptible() -> Generator[None]:
    """Let Ctrl-C end what is asked in here.

    A loop that runs takes the signal for itself, and looks at it when it goes on: after the answer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # the loop goes on meanwhile
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Tokens(click.ParamType[int]):
    """An amount typed in tokens, with at most nine decimals; a value in base units for the program."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", str(value)):
            self.fail(
                f"'{value}' is not an amount; write tokens like 12 or 0.5, with at most nine decimals", param, ctx
            )
        units = int(Decimal(value) * TOKEN)
        if units > MAX_SUPPLY:
            self.fail(f"{value} is more than there can ever be", param, ctx)
        return units


class Percent(click.ParamType[int]):
    """A take typed in percent, with at most two decimals; a value of 65535 for the program."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"\d{1,2}(\.\d{1,2})?", str(value)):
            self.fail(f"'{str(value)[:40]}' is not a percentage; write one like 18 or 9.5", param, ctx)
        take = int(Decimal(value) * U16 / 100)
        if take > MAX_TAKE:
            self.fail(f"{value} is too much; a take is 18 percent at most", param, ctx)
        return take


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
    except (Exception, SystemExit) as e:
        raise Misconfigured(f"'{spec}' cannot be imported: {said_by(e)}; mend it") from None
    if not colon or not callable(found):
        raise Misconfigured(f"'{spec}' cannot be called; write module:name")
    return found


def made(spec: str, *arguments: Any, methods: Sequence[str]) -> Any:
    """Call what ``module:name`` names, and return what it makes.

    Raises
    ------
    Misconfigured
        It fails, or what it makes lacks one of `methods`.
    """
    try:
        found = named(spec)(*arguments)
    except DavyError:
        raise
    except (Exception, SystemExit) as e:
        raise Misconfigured(f"'{spec}' cannot be used here: {said_by(e)}; mend it, or name another one") from None
    missing = [m for m in methods if not hasattr(found, m)]
    if missing:
        raise Misconfigured(
            f"'{spec}' makes a {type(found).__name__}, which has no {' and no '.join(missing)}; name another one"
        )
    return found


def yes_option(function: F) -> F:
    """``--yes``: the own answer is yes, without asking."""
    return click.option("--yes", is_flag=True, help="Do not ask for confirmation.")(function)


def at_terminal() -> bool:
    return sys.stdin.isatty()
