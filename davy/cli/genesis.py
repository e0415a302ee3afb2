"""A genesis from words typed at the command line."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import click
import msgspec

from davy.cli.options import F
from davy.host.clock import SystemClock
from davy.host.files import read_bounded
from davy.ledger.rules.machine import Machine
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Misconfigured, Refused
from davy.protocol.genesis import Allocation, Genesis, GenesisSubnet
from davy.protocol.limits import (
    EMISSION_PARTS,
    MAX_CEREMONY_BYTES,
    MAX_GENESIS_BYTES,
    chain_parameters,
    hyperparameters,
)
from davy.protocol.roster import Roster, check_roster
from davy.protocol.words import MAX_SUPPLY, TOKEN, KeyRole, key_from_text

_NUMBER: Final = re.compile("[0-9]{1,19}")
REVIEWED: Final = MappingProxyType({"model_review": 86_400})
"""Of a chain for others, unless it is told otherwise: a day, at a block a second, before a new model may be served.

Long enough for keyholders to see who registers a copy of what they halted.
"""
TRIED_OUT: Final = MappingProxyType({"model_review": 0})
"""Of a chain to try things on."""


def parse_subnet(spec: str, netuid: int, owner: bytes, share: int) -> GenesisSubnet:
    """Read ``task[:name=value,…]``: `mechanism`, `share` in millionths, and any hyperparameter.

    Raises
    ------
    Misconfigured
        An unknown name, or a value out of its range.
    """
    task, _, rest = spec.partition(":")
    given = _numbers(rest, words=("mechanism",))
    mechanism = str(given.pop("mechanism", "yuma3"))
    share = int(given.pop("share", share))
    if not 0 <= share <= EMISSION_PARTS:
        raise Misconfigured(f"a subnet's share is 0 to {EMISSION_PARTS} millionths, not {share}")
    chosen = hyperparameters(**{name: int(value) for name, value in given.items()})
    return GenesisSubnet(netuid, owner, task, mechanism, chosen, share)


class Wanted(NamedTuple):
    """What a chain is to begin with, as somebody typed it."""

    subnets: Sequence[str] = ()
    parameters: str = ""
    assumed: Mapping[str, int] = TRIED_OUT
    """Chain parameters that hold where `parameters` does not say otherwise; all others have their defaults."""
    allocations: Mapping[bytes, int] = MappingProxyType({})
    keyholders: Roster | None = None
    note: str = ""


def chain_options(
    subnets: str, assumed: Mapping[str, int], parameters: str = "", note: str | None = None
) -> Callable[[F], F]:
    """``--subnet``, ``--parameters``, ``--allocate``, ``--note``, ``--keyholders``: a command gets them as `wanted`.

    Parameters
    ----------
    subnets, parameters
        What holds where nothing is typed; of `Wanted` likewise `assumed`.
    note
        What the chain is called; None: it is asked for.
    """
    options = [
        click.option(
            "--subnet", "subnets", multiple=True, default=(subnets,), show_default=True,
            metavar="TASK[:NAME=VALUE,…]", help="May be repeated; netuids count from 1.",
        ),
        click.option(
            "--parameters", default=parameters, show_default=bool(parameters), metavar="NAME=VALUE,…",
            help="Chain parameters that differ from their defaults.",
        ),
        click.option(
            "--allocate", "allocations", multiple=True, metavar="COLD_…=TOKENS", help="Tokens there from the start."
        ),
        *([click.option("--note", default="", help="A few words about this chain.")] if note is None else []),
        click.option(
            "--keyholders", type=click.Path(path_type=Path), help="Roster that can halt it (`davy keyholder dkg`)."
        ),
    ]  # fmt: skip

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def gathered(
            *, subnets: tuple[str, ...], parameters: str, allocations: tuple[str, ...], keyholders: Path | None,
            note: str = note or "", **others: object,
        ) -> None:  # fmt: skip
            granted = dict(map(parse_allocation, allocations))
            roster = None if keyholders is None else read_roster(keyholders)
            command(wanted=Wanted(subnets, parameters, assumed, granted, roster, note), **others)

        return functools.reduce(lambda made, option: option(made), reversed(options), gathered)  # type: ignore[return-value]

    return decorate


def draft(wanted: Wanted) -> Genesis:
    """Build a genesis without its keys, so that a mistake is told before anything is written.

    The emission is split evenly among subnets that name no share.

    Raises
    ------
    Misconfigured
        The words make no genesis, or one that no ledger starts from.
    """
    even = EMISSION_PARTS // max(1, len(wanted.subnets))
    built = tuple(parse_subnet(spec, n, bytes(32), even) for n, spec in enumerate(wanted.subnets, 1))
    if sum(s.share for s in built) > EMISSION_PARTS:
        raise Misconfigured(f"the subnets' shares sum to more than {EMISSION_PARTS}; lower one")
    typed = {name: int(value) for name, value in _numbers(wanted.parameters).items()}
    chain = chain_parameters(**{**wanted.assumed, **typed})
    granted = tuple(Allocation(key, amount) for key, amount in sorted(wanted.allocations.items()))
    roster = () if wanted.keyholders is None else (wanted.keyholders,)
    try:  # what was typed may be too long, or too much
        made = Genesis(1, wanted.note, SystemClock().now(), chain, (bytes(32),), granted, built, roster)
        drafted = decode(encode(made), Genesis, limit=MAX_GENESIS_BYTES)
    except Refused as e:
        raise Misconfigured(f"these words make no genesis: {e}") from None
    Machine.from_genesis(drafted)
    return drafted


def with_keys(drafted: Genesis, owner: bytes, producers: Sequence[bytes]) -> Genesis:
    """A genesis whose subnets belong to a coldkey, and whose blocks these producers make."""
    owned = tuple(msgspec.structs.replace(s, owner=owner) for s in drafted.subnets)
    return msgspec.structs.replace(drafted, producers=tuple(producers), subnets=owned)


def read_roster(path: Path, epoch: int = 0) -> Roster:
    """Read the roster that `davy keyholder dkg` wrote; a chain begins with group epoch 0.

    Raises
    ------
    Misconfigured
    """
    try:
        roster = decode(read_bounded(path, MAX_CEREMONY_BYTES), Roster, limit=MAX_CEREMONY_BYTES)
        check_roster(roster)
    except Refused as e:
        raise Misconfigured(f"{path} is not a roster ({e}); name the file that `davy keyholder dkg` wrote") from None
    if roster.epoch != epoch:
        raise Misconfigured(f"{path} is of group epoch {roster.epoch}, and here {epoch} comes next; make a new one")
    return roster


def parse_allocation(text: str) -> tuple[bytes, int]:
    """Read ``cold_…=TOKENS``.

    Raises
    ------
    Malformed, Misconfigured
    """
    key, equals, amount = text.partition("=")
    if not equals or not _NUMBER.fullmatch(amount):
        raise Misconfigured(f"'{text[:20]}…' is not an allocation; write cold_…=WHOLE-TOKENS")
    if int(amount) * TOKEN > MAX_SUPPLY:
        raise Misconfigured(f"{amount} tokens are more than there can ever be; allocate less")
    return key_from_text(KeyRole.COLDKEY, key), int(amount) * TOKEN


def _numbers(text: str, words: Sequence[str] = ()) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not (name in words or _NUMBER.fullmatch(value)):
            raise Misconfigured(f"'{part[:40]}' is not a setting; write name=number, several with commas between")
        found[name] = value
    return found
