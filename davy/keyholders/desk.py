"""The desk: what waits for this keyholder's yes or no. Bounded by proposer and by time; asked once, answered once.

Orders and ceremonies are counted apart: a ceremony lies there for a day, and must not keep its proposer from a HALT.

A policy may answer at once for whole kinds of proposals. That is for rehearsals: then no person looks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import anyio

from davy.protocol.errors import Busy, Expired, Malformed
from davy.protocol.limits import MAX_MATTERS
from davy.protocol.ports import Clock
from davy.protocol.words import PublicKey, UnixMillis

HOLD_MS: Final = 10_000
"""How long an asking keyholder is kept waiting before it is told to ask again."""
_MAX_KEPT: Final = 64
"""Orders, and ceremonies, of one keyholder until their time is over, answered or not."""


class Matter:
    """One proposal. `content` is what is agreed to, byte for byte."""

    def __init__(
        self,
        id: bytes,
        kind: str,
        screen: str,
        sender: PublicKey,
        expires: UnixMillis,
        content: bytes = b"",
        *,
        is_order: bool = False,
    ) -> None:
        self.id, self.kind, self.screen = id, kind, screen
        self.sender, self.expires, self.content = sender, expires, content
        self.is_order = is_order
        self.decision: bool | None = None
        self.gave_way = False
        """To newer ones of its proposer; nobody answered it."""
        self._decided = anyio.Event()

    def decide(self, yes: bool) -> None:
        """Answer it; the first answer counts."""
        if self.decision is None:
            self.decision = yes
            self._decided.set()

    async def decided(self) -> None:
        await self._decided.wait()


class Desk:
    """All matters of one keyholder.

    Parameters
    ----------
    yes_to
        Kinds that are answered with yes without asking anybody: dangerous, for rehearsals and tests.
    hold_ms
        See `HOLD_MS`.
    arrived
        Told of each matter that a person must decide.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        yes_to: Collection[str] = (),
        hold_ms: int = HOLD_MS,
        arrived: Callable[[Matter], None] | None = None,
    ) -> None:
        self._hold_ms = hold_ms
        self._clock, self._yes_to, self._arrived = clock, frozenset(yes_to), arrived
        self._matters: dict[bytes, Matter] = {}

    def put(self, matter: Matter) -> Matter:
        """Put a matter on the desk, or return the one of the same id that lies there.

        Of `MAX_MATTERS` of one sender that wait the oldest gives way: what it proposed last is what it needs.

        Raises
        ------
        Busy
            Its sender has proposed a great many; they go when their time is over.
        """
        self._sweep()
        if matter.id in self._matters:
            return self._matters[matter.id]
        same = [m for m in self._matters.values() if (m.sender, m.is_order) == (matter.sender, matter.is_order)]
        if len(same) >= _MAX_KEPT:
            raise Busy(f"{_MAX_KEPT} proposals of this keyholder lie here; let some expire first")
        waiting = [m for m in same if m.decision is None]
        if len(waiting) >= MAX_MATTERS:
            waiting[0].gave_way = True
            waiting[0].decide(False)
        self._matters[matter.id] = matter
        if matter.kind in self._yes_to:
            matter.decide(True)
        elif self._arrived is not None:
            self._arrived(matter)
        return matter

    def find(self, id: bytes) -> Matter:
        """Return a matter by its id.

        Raises
        ------
        Expired
            It is not there, or no more.
        """
        self._sweep()
        if id not in self._matters:
            raise Expired("this proposal is not known here, or its time is over; propose it anew")
        return self._matters[id]

    def withdraw(self, id: bytes) -> None:
        """Take a matter from the desk that needs no answer any more."""
        self._matters.pop(id, None)

    async def settled(self, matter: Matter) -> bool | None:
        """Wait for the decision, for a while; None when there is none yet."""
        with anyio.move_on_after(self._hold_ms / 1000):
            await matter.decided()
        return matter.decision

    def undecided(self) -> list[Matter]:
        """What a person should look at, oldest first."""
        self._sweep()
        return [m for m in self._matters.values() if m.decision is None]

    def decide(self, prefix: str, yes: bool) -> Matter:
        """Answer the one undecided matter whose id begins so, in hex.

        Raises
        ------
        Malformed
            None does, or more than one.
        """
        found = [m for m in self.undecided() if len(prefix) >= 8 and m.id.hex().startswith(prefix.lower())]
        if len(found) != 1:
            raise Malformed(f"{len(found)} proposals wait here whose id begins so; `davy keyholder pending` lists them")
        found[0].decide(yes)
        return found[0]

    def _sweep(self) -> None:
        now = self._clock.now()
        for gone in [i for i, m in self._matters.items() if now > m.expires]:
            del self._matters[gone]
