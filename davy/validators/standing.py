"""What a validator knows of each miner: scores over a window of challenges, and why each was what it was.

Keyed by (hotkey, registration), never by UID: a sniped UID inherits nothing. The average is linear over the last
`WINDOW` challenges and pays from `MINIMUM` on. WINDOW = 2·MINIMUM: a miner that turns bad goes on being paid for as
many challenges' worth as it was not paid for at its start, so to build a standing and then burn it gains nothing.

A round is persisted, all miners in one write, before it is used: what a crash can lose is one round's answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.limits import MAX_UIDS
from davy.protocol.ports import Store
from davy.protocol.words import Height, Hotkey, Netuid, UnixMillis
from davy.tasks.skill import EMPTY, MINIMUM, UNIT, Standing, merge, observe

WINDOW: Final = 2 * MINIMUM
_MAX_BYTES: Final = 64 * 1024 * 1024
_KEPT_ROUNDS: Final = 64
"""Rounds of reasons kept for `davy why`."""


class Seat(NamedTuple):
    """A hotkey's registration on a subnet."""

    hotkey: Hotkey
    registered_at: Height


class Verdict(Wire):
    """What one miner's answer to one challenge was worth."""

    challenge: Annotated[str, Meta(max_length=32)]
    time: UnixMillis
    difference: Annotated[int, Meta(ge=-(10**9), le=10**9)]
    """score − baseline, in ten-thousandths of a nat."""
    reason: Annotated[str, Meta(max_length=200)]
    """Empty for an answer that was read and scored."""


class SeatRecord(Wire):
    """One seat's window: a standing a round, newest last."""

    hotkey: Hotkey
    registered_at: Height
    rounds: tuple[Standing, ...]


class Book(Wire):
    """All seats of one subnet, as they are persisted."""

    version: Annotated[int, Meta(ge=1, le=1)]
    netuid: Netuid
    round: Height
    seats: Annotated[tuple[SeatRecord, ...], Meta(max_length=MAX_UIDS)]


class RoundRecord(Wire):
    """The verdicts of one round, by hotkey."""

    version: Annotated[int, Meta(ge=1, le=1)]
    round: Height
    verdicts: tuple[tuple[Hotkey, tuple[Verdict, ...]], ...]


class Standings:
    """One subnet's book, kept in a store."""

    def __init__(self, netuid: int, store: Store) -> None:
        self._netuid, self._store = netuid, store
        self._seats: dict[Seat, tuple[Standing, ...]] = {}
        self._round = 0

    async def open(self) -> None:
        """Read the book that an earlier process left.

        Raises
        ------
        StoreFailed, Malformed
            It cannot be read; no weights may be made up in its place.
        """
        raw = await self._store.get(self._place(b"book"))
        if raw is not None:
            book = decode(raw, Book, limit=_MAX_BYTES)
            self._round = book.round
            self._seats = {Seat(s.hotkey, s.registered_at): s.rounds for s in book.seats}

    def of(self, seat: Seat) -> Standing:
        """The standing over the seat's window; `EMPTY` for one never asked."""
        return merge(self._seats.get(seat, (EMPTY,)))

    @property
    def rounds(self) -> int:
        """Rounds taken in since the store was made."""
        return self._round

    async def add_round(self, verdicts: Mapping[Seat, Sequence[Verdict]], present: Sequence[Seat]) -> None:
        """Take a round's verdicts in, forget seats that are not `present` any more, and persist both.

        Raises
        ------
        StoreFailed
            The round is not taken: what `of` answers is what the disk holds.
        """
        after = {seat: self._seats.get(seat, ()) for seat in present}
        for seat, found in verdicts.items():
            if seat in after and found:
                fresh = observe(EMPTY, [v.difference / UNIT for v in found])
                after[seat] = _windowed((*after[seat], fresh))
        n = self._round + 1
        record = RoundRecord(1, n, tuple((seat.hotkey, tuple(found)) for seat, found in verdicts.items()))
        await self._store.put(self._place(b"round/%d" % (n % _KEPT_ROUNDS)), encode(record))
        seats = tuple(SeatRecord(seat.hotkey, seat.registered_at, rounds) for seat, rounds in after.items())
        await self._store.put(self._place(b"book"), encode(Book(1, self._netuid, n, seats)))
        self._seats, self._round = after, n

    async def reasons(self, hotkey: Hotkey) -> list[Verdict]:
        """Every verdict on a miner that is still kept, oldest first."""
        records: list[RoundRecord] = []
        for slot in range(_KEPT_ROUNDS):
            raw = await self._store.get(self._place(b"round/%d" % slot))
            if raw is not None:
                records.append(decode(raw, RoundRecord, limit=_MAX_BYTES))
        records.sort(key=lambda r: r.round)
        return [v for r in records for who, found in r.verdicts if who == hotkey for v in found]

    def _place(self, name: bytes) -> bytes:
        return b"standing/%d/" % self._netuid + name


def _windowed(rounds: tuple[Standing, ...]) -> tuple[Standing, ...]:
    """Drop the oldest rounds while those after them still hold `WINDOW` challenges."""
    count = sum(r.count for r in rounds)
    first = 0
    while count - rounds[first].count >= WINDOW:
        count -= rounds[first].count
        first += 1
    return rounds[first:]
