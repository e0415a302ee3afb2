"""What one keyholder computes for one of the keys when shares are dealt anew, or when one is given back.

The same steps for all three parts, so that a ceremony goes through them without knowing which it is: `begin` and
`deal` are not for the one who is mended, who has nothing to give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from davy.keyholders.messages import Sealed
from davy.keyholders.sealing import Envelopes
from davy.killswitch import dkg, echo, refresh, repair
from davy.killswitch.dkg import Package, Round1Package, Round2Secret, Round2Share
from davy.killswitch.echo import Echo, Member, MendingSession, Received
from davy.killswitch.group import Identifier
from davy.killswitch.keys import KeyPackage, PublicKeyPackage
from davy.killswitch.repair import Delta, RepairConfirmed, RepairPackage, RepairSecret, Sigma
from davy.protocol.errors import Malformed
from davy.protocol.ports import Entropy
from davy.protocol.words import PublicKey

P = TypeVar("P", bound=Package)
T = TypeVar("T")


class Part(Protocol):
    """One keyholder's part for one key. Each step is taken once, in this order.

    Raises
    ------
    Misbehaved, Malformed, Misdirected, BadSignature, Unauthorised, TooLarge
        As the steps of `davy.killswitch.refresh` and `repair` do. A step out of turn is Malformed.
    """

    def begin(self, entropy: Entropy) -> Package | None:
        """The package that goes to everybody; None from the one who is mended."""
        ...

    def hear(self, packages: Sequence[bytes]) -> Echo | None:
        """Take everybody's packages; what of them is echoed to all."""
        ...

    def confirm(self, echoes: Sequence[bytes]) -> None: ...

    def deal(self, envelopes: Envelopes, entropy: Entropy) -> tuple[Sealed, ...]: ...


class Refreshing:
    """A member's part in a refresh."""

    def __init__(self, session: MendingSession, own: Member, key: KeyPackage, public: PublicKeyPackage) -> None:
        self._session, self._own, self._key, self._public = session, own, key, public
        self._terms = refresh.terms(session, own, public)
        self._first: dkg.Round1Secret | None = None
        self._received: list[Received[Round1Package]] | None = None
        self._confirmed: dkg.Confirmed | None = None
        self._second: Round2Secret | None = None

    def begin(self, entropy: Entropy) -> Package:
        self._first, package = refresh.part1(self._terms, self._key, self._public, entropy)
        return package

    def hear(self, packages: Sequence[bytes]) -> Echo:
        received = [echo.open_round1(self._session, raw) for raw in packages]
        self._received = whole(self._session, received)
        return echo.echo(self._session, self._own.identifier, received)

    def confirm(self, echoes: Sequence[bytes]) -> None:
        received = in_turn(self._received)
        self._confirmed = refresh.confirm(self._session, self._own, self._public, received, echoes)

    def deal(self, envelopes: Envelopes, entropy: Entropy) -> tuple[Sealed, ...]:
        self._second, shares = dkg.part2(in_turn(self._first), in_turn(self._confirmed))
        return tuple(envelopes.seal_to_member(share, entropy) for share in shares)

    def finish(self, envelopes: Envelopes, boxes: Sequence[Sealed]) -> tuple[KeyPackage, PublicKeyPackage]:
        """The new share, and all verifying shares."""
        shares = [envelopes.open(sealed, Round2Share) for sealed in boxes]
        return refresh.part3(in_turn(self._second), shares, self._key, self._public)


class Helping:
    """A helper's part in a repair."""

    def __init__(
        self, session: MendingSession, own: Member, key: KeyPackage, public: PublicKeyPackage, lost: Identifier
    ) -> None:
        self._session, self._own, self._key = session, own, key
        self._terms = repair.terms(session, own, public, lost)
        self._secret: RepairSecret | None = None
        self._received: list[Received[RepairPackage]] | None = None
        self._confirmed: RepairConfirmed | None = None

    def begin(self, entropy: Entropy) -> Package:
        self._secret, package = repair.part1(self._terms, self._key, entropy)
        return package

    def hear(self, packages: Sequence[bytes]) -> Echo:
        received = [echo.open_package(self._session, raw, RepairPackage) for raw in packages]
        self._received = whole(self._session, received)
        return echo.echo(self._session, self._own.identifier, received)

    def confirm(self, echoes: Sequence[bytes]) -> None:
        own, received = self._own.identifier, in_turn(self._received)
        self._confirmed = repair.confirm(self._session, own, self._terms, received, echoes)

    def deal(self, envelopes: Envelopes, entropy: Entropy) -> tuple[Sealed, ...]:
        deltas = repair.part2(in_turn(self._secret), in_turn(self._confirmed))
        return tuple(envelopes.seal_to_member(delta, entropy) for delta in deltas)

    def finish(self, envelopes: Envelopes, boxes: Sequence[Sealed], mended: PublicKey, entropy: Entropy) -> Sealed:
        """What the one who is mended needs of this helper."""
        deltas = [envelopes.open(sealed, Delta) for sealed in boxes]
        sigma = repair.part3(in_turn(self._secret), in_turn(self._confirmed), deltas)
        return envelopes.seal(sigma, mended, entropy)


class Mended:
    """The part of the one who gets its share back."""

    def __init__(self, session: MendingSession, own: Identifier, public: PublicKeyPackage) -> None:
        self._session, self._own = session, own
        self._terms = repair.terms(session, None, public, own)
        self._received: list[Received[RepairPackage]] | None = None
        self._confirmed: RepairConfirmed | None = None

    def begin(self, entropy: Entropy) -> None:
        del entropy

    def hear(self, packages: Sequence[bytes]) -> None:
        received = [echo.open_package(self._session, raw, RepairPackage) for raw in packages]
        self._received = whole(self._session, received)

    def confirm(self, echoes: Sequence[bytes]) -> None:
        received = in_turn(self._received)
        self._confirmed = repair.confirm(self._session, self._own, self._terms, received, echoes)

    def deal(self, envelopes: Envelopes, entropy: Entropy) -> tuple[Sealed, ...]:
        del envelopes, entropy
        raise Malformed("who is mended has nothing to deal; ask the helpers")

    def finish(self, envelopes: Envelopes, boxes: Sequence[Sealed]) -> KeyPackage:
        """The share that was lost."""
        return repair.part4(in_turn(self._confirmed), [envelopes.open(sealed, Sigma) for sealed in boxes])


def whole(session: MendingSession, received: list[Received[P]]) -> list[Received[P]]:
    """Check that there is one package of each: to echo less would make this keyholder look like one that cheats."""
    if sorted(r.heard.sender for r in received) != sorted(m.identifier for m in session.members):
        raise Malformed("one package of every member is needed; wait for those missing")
    return received


def in_turn(value: T | None) -> T:
    if value is None:
        raise Malformed("this step of the ceremony is out of turn; begin again")
    return value
