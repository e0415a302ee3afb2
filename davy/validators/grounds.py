"""What a miner's weight rests on besides its scores: findings of the evidence, and rounds that were forgiven.

Written down after each round for whoever asks (`davy why`); no weight is made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.limits import MAX_UIDS
from davy.protocol.ports import Store
from davy.protocol.words import INT63, Height, Hotkey, Netuid
from davy.validators.evidence import Finding
from davy.validators.standing import Seat

MILLION: Final = 10**6
_LONGEST: Final = 300
_MAX_BYTES: Final = 16 * 1024 * 1024


class Ground(Wire):
    """One claim's finding."""

    claim: Annotated[str, Meta(max_length=32)]
    factor: Annotated[int, Meta(ge=0, le=MILLION)]
    """In millionths."""
    said: Annotated[str, Meta(max_length=_LONGEST)]
    alike: Annotated[tuple[Hotkey, ...], Meta(max_length=MAX_UIDS)]


class Forgiven(NamedTuple):
    """Rounds whose failures were not counted, since registration."""

    swapped: int = 0
    """It went over to another model in them."""
    halted: int = 0
    """What it serves was halted."""


class SeatGrounds(Wire):
    """What was found of one seat at the last round."""

    hotkey: Hotkey
    registered_at: Height
    swapped: Annotated[int, Meta(ge=0, le=INT63)]
    halted: Annotated[int, Meta(ge=0, le=INT63)]
    grounds: Annotated[tuple[Ground, ...], Meta(max_length=16)]


class GroundBook(Wire):
    """All seats of one subnet."""

    version: Annotated[int, Meta(ge=1, le=1)]
    netuid: Netuid
    seats: Annotated[tuple[SeatGrounds, ...], Meta(max_length=MAX_UIDS)]


class Grounds:
    """One subnet's book, kept in a store."""

    def __init__(self, netuid: int, store: Store) -> None:
        self._netuid, self._store = netuid, store
        self._place = b"grounds/%d" % netuid
        self._seats: dict[Seat, SeatGrounds] = {}

    async def open(self) -> None:
        """Read what an earlier process left.

        Raises
        ------
        StoreFailed, Malformed
        """
        raw = await self._store.get(self._place)
        if raw is not None:
            found = decode(raw, GroundBook, limit=_MAX_BYTES).seats
            self._seats = {Seat(s.hotkey, s.registered_at): s for s in found}

    def of(self, seat: Seat) -> tuple[Ground, ...]:
        """What was found at the last round; nothing for a seat that was never asked."""
        kept = self._seats.get(seat)
        return kept.grounds if kept else ()

    def forgiven(self, seat: Seat) -> Forgiven:
        """Rounds forgiven since registration."""
        kept = self._seats.get(seat)
        return Forgiven(kept.swapped, kept.halted) if kept else Forgiven()

    async def add_round(
        self,
        found: Mapping[Seat, Sequence[Ground]],
        present: Sequence[Seat],
        *,
        swapped: Iterable[Hotkey],
        halted: Iterable[Hotkey],
    ) -> None:
        """Take a round in, and forget seats that are not `present` any more.

        Raises
        ------
        StoreFailed
        """
        changed, stopped = set(swapped), set(halted)
        after: dict[Seat, SeatGrounds] = {}
        for seat in present:
            before = self.forgiven(seat)
            swaps, halts = before.swapped + (seat.hotkey in changed), before.halted + (seat.hotkey in stopped)
            after[seat] = SeatGrounds(*seat, swaps, halts, tuple(found.get(seat, self.of(seat))))
        await self._store.put(self._place, encode(GroundBook(1, self._netuid, tuple(after.values()))))
        self._seats = after


def ground(claim: str, f: Finding) -> Ground:
    """Write a finding down."""
    return Ground(claim[:32], round(f.factor * MILLION), f.said[:_LONGEST], f.alike[:MAX_UIDS])
