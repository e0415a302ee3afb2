"""A genesis from words typed at the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from davy.host.files import read_bounded
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


def make_genesis(
    *,
    note: str,
    time: int,
    producer: bytes,
    owner: bytes,
    subnets: Sequence[str],
    parameters: str,
    assumed: Mapping[str, int],
    allocations: Mapping[bytes, int],
    keyholders: Roster | None = None,
) -> Genesis:
    """Build a genesis; the emission is split evenly among subnets that name no share.

    Parameters
    ----------
    assumed
        Chain parameters that hold where `parameters` does not say otherwise; all others have their defaults.

    Raises
    ------
    Misconfigured
    """
    even = EMISSION_PARTS // max(1, len(subnets))
    built = tuple(parse_subnet(spec, n, owner, even) for n, spec in enumerate(subnets, 1))
    if sum(s.share for s in built) > EMISSION_PARTS:
        raise Misconfigured(f"the subnets' shares sum to more than {EMISSION_PARTS}; lower one")
    chain = chain_parameters(**{**assumed, **{name: int(value) for name, value in _numbers(parameters).items()}})
    granted = tuple(Allocation(key, amount) for key, amount in sorted(allocations.items()))
    roster = () if keyholders is None else (keyholders,)
    try:  # what was typed may be too long, or too much
        made = Genesis(1, note, time, chain, (producer,), granted, built, roster)
        return decode(encode(made), Genesis, limit=MAX_GENESIS_BYTES)
    except Refused as e:
        raise Misconfigured(f"these words make no genesis: {e}") from None


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
