"""Who can stop the network and who can start it again: one roster of keyholders, two group keys.

The HALT key has the low threshold, the LIFT key the higher one, and their sum exceeds the number of keyholders: easy to
stop, hard to restart. Both verify as plain Ed25519.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from davy.protocol.encoding import Wire, encode
from davy.protocol.errors import Malformed
from davy.protocol.limits import MAX_GROUP_EPOCH, MAX_KEYHOLDERS
from davy.protocol.signing import Domain, digest, is_key
from davy.protocol.words import Digest, PublicKey

GroupEpoch: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_GROUP_EPOCH)]
"""Counts the rosters of a chain; 0 is the genesis'."""
Threshold: TypeAlias = Annotated[int, Meta(ge=2, le=MAX_KEYHOLDERS)]


class Roster(Wire):
    """What a node needs of the keyholders. The FROST identifier of ``members[i]`` is i + 1."""

    version: Annotated[int, Meta(ge=1, le=1)]
    epoch: GroupEpoch
    halt: PublicKey
    lift: PublicKey
    halt_threshold: Threshold
    lift_threshold: Threshold
    members: Annotated[tuple[PublicKey, ...], Meta(min_length=2, max_length=MAX_KEYHOLDERS)]
    """Each keyholder's own key: it signs in ceremonies, never an order."""


def roster_digest(r: Roster) -> Digest:
    """SHA-256 of the roster's canonical bytes, in its own domain: what orders and the next INSTALL name."""
    return digest(Domain.ROSTER, encode(r))


def check_roster(r: Roster) -> None:
    """Check what the bounds of the fields cannot say.

    Raises
    ------
    Malformed
        Not halt_threshold ≤ lift_threshold ≤ n < halt_threshold + lift_threshold; a member twice; both group keys the
        same; a group key that is no point of the prime-order subgroup (verifiers disagree about others).
    """
    check_thresholds(r.halt_threshold, r.lift_threshold, len(r.members))
    if len(set(r.members)) != len(r.members):
        raise Malformed("a keyholder stands in the roster twice; name each once")
    if r.halt == r.lift:
        raise Malformed("the HALT and the LIFT key are the same; make each in a ceremony of its own")
    if not (is_key(r.halt) and is_key(r.lift)):
        raise Malformed("a group key is not a point of Ed25519's prime-order subgroup; make it in a ceremony")


def check_thresholds(halt: int, lift: int, members: int) -> None:
    """Check halt ≤ lift ≤ n < halt + lift: easy to stop, hard to restart, and never both by disjoint groups.

    Raises
    ------
    Malformed
    """
    if not halt <= lift <= members < halt + lift:
        raise Malformed(
            f"{halt} to halt and {lift} to lift of {members} keyholders: choose halt ≤ lift ≤ keyholders < halt + lift"
        )
