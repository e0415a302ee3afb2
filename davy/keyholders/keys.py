"""What a keyholder has after a ceremony: the roster, and its own and the public part of both group keys."""

from __future__ import annotations

from typing import Annotated, NamedTuple, Protocol

from msgspec import Meta

from davy.killswitch.group import Identifier, Secret, identifier
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, check_key, check_public
from davy.protocol.encoding import Wire, decode
from davy.protocol.errors import Malformed, Misconfigured, Refused
from davy.protocol.limits import MAX_CEREMONY_BYTES
from davy.protocol.order import GroupKey
from davy.protocol.roster import Roster, check_roster
from davy.protocol.words import ChainId, Digest, PublicKey


class KeyholderKeys(Secret, Wire):
    """Secret: its bytes are written only after they were encrypted."""

    version: Annotated[int, Meta(ge=1, le=1)]
    roster: Roster
    halt: KeyPackage
    halt_public: PublicKeyPackage
    lift: KeyPackage
    lift_public: PublicKeyPackage

    def of(self, key: GroupKey) -> tuple[KeyPackage, PublicKeyPackage]:
        return (self.halt, self.halt_public) if key is GroupKey.HALT else (self.lift, self.lift_public)


class Vault(Protocol):
    """Where shares are kept, encrypted: one entry a roster, never overwritten."""

    async def keep(self, roster: Digest, body: bytes) -> None:
        """Keep the shares of a new roster; durable on return.

        Raises
        ------
        StoreFailed, Misconfigured
        """
        ...

    async def open(self, roster: Digest) -> bytes:
        """Return them.

        Raises
        ------
        NoSuchKey, WrongPassword, Misconfigured
        """
        ...


class Office(NamedTuple):
    """In which office a keyholder signs: for which chain, in which roster, with which keys."""

    chain: ChainId
    roster: Roster
    keys: KeyholderKeys

    @property
    def identifier(self) -> Identifier:
        return self.keys.halt.identifier

    def threshold(self, key: GroupKey) -> int:
        return self.roster.halt_threshold if key is GroupKey.HALT else self.roster.lift_threshold


def check_keys(keys: KeyholderKeys, own: PublicKey) -> None:
    """Check that everything fits together, and the place of this keyholder in the roster.

    Raises
    ------
    Malformed
    """
    roster = keys.roster
    check_roster(roster)
    if own not in roster.members:
        raise Malformed("this keyholder's key does not stand in the roster; use the home that took part in its making")
    expected = (
        (GroupKey.HALT, roster.halt, roster.halt_threshold),
        (GroupKey.LIFT, roster.lift, roster.lift_threshold),
    )
    for which, group_key, threshold in expected:
        key, public = keys.of(which)
        check_public(public)
        check_key(key, public)
        members = {identifier(n) for n in range(1, len(roster.members) + 1)}
        if (public.group_key, public.threshold, set(public.shares())) != (group_key, threshold, members):
            raise Malformed(f"the {which.value.upper()} key is not the roster's; restore the share from a backup")
        if key.identifier != identifier(roster.members.index(own) + 1):
            raise Malformed("the share is another keyholder's; use your own home")


def open_keys(raw: bytes, own: PublicKey) -> KeyholderKeys:
    """Decode what a vault kept, and check it.

    Raises
    ------
    Misconfigured
    """
    try:
        keys = decode(raw, KeyholderKeys, limit=2 * MAX_CEREMONY_BYTES)
        check_keys(keys, own)
    except Refused as e:
        raise Misconfigured(f"the share cannot be used: {e}") from None
    return keys
