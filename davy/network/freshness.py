"""No signed request is accepted twice: not within its window, not under any jump of the clock, not across a restart.

`created` is in whole seconds (RFC 9421 §2.3), so a request was made somewhere within [created, created + 1 s); it is
stale only when all of that second is. A nonce is remembered as long as its request could still be fresh.

Two bounds make "never twice" hold, each a number of seconds since 1970:

- `floor`: no request with created ≤ floor is accepted. It rises whenever nonces are forgotten, so every request ever
  accepted is either still remembered or at or below the floor, whatever the clock did in between.
- `mark`: durable, and at or above the newest `created` ever accepted. It is the floor after a restart. It is set ahead,
  so that not every request waits for the disk; the price is that for up to MARK_LEAD_S, and as long as the fastest
  accepted clock was ahead, requests after a restart are turned away with `retry_fresh`.
"""

from __future__ import annotations

from typing import Final

import anyio

from davy.protocol.errors import Expired, Replayed, StoreFailed
from davy.protocol.limits import MAX_NONCES, REQUEST_WINDOW_MS
from davy.protocol.ports import Clock, Store

MARK_LEAD_S: Final = 2
"""Seconds that the durable mark is set ahead of the request that needed it."""
_MARK_KEY: Final = b"network/newest-request"


class RetryFresh(Replayed):
    """Not provably new.

    Parameters
    ----------
    wait_ms
        After this long a freshly signed request is accepted; 0 is at once.
    """

    def __init__(self, message: str, wait_ms: int = 0) -> None:
        super().__init__(message)
        self.wait_ms = wait_ms


class Freshness:
    """What one node has accepted. `open` comes before the first `accept`.

    Parameters
    ----------
    capacity
        The most nonces remembered. When they are used up within one window new requests are refused; none is forgotten.
    """

    def __init__(self, clock: Clock, store: Store, *, capacity: int = MAX_NONCES) -> None:
        self._clock = clock
        self._store = store
        self._capacity = capacity
        self._seen: dict[int, set[bytes]] = {}
        self._count = 0
        self._opened = False
        self._floor = 0
        self._mark = 0
        self._marking = anyio.Lock()

    async def open(self) -> None:
        """Read the mark that an earlier process left.

        Raises
        ------
        StoreFailed
            It cannot be read: without it a replay could not be told from a new request.
        """
        raw = await self._store.get(_MARK_KEY)
        if raw is not None and len(raw) != 8:
            raise StoreFailed("the mark of the newest request is damaged; restore the node's store from a backup")
        self._floor = self._mark = int.from_bytes(raw or bytes(8))
        self._opened = True

    async def accept(self, caller: bytes, nonce: bytes, created: int) -> None:
        """Take a request whose signature holds, once.

        Parameters
        ----------
        created
            Seconds since 1970.

        Raises
        ------
        Expired
            |created − now| > REQUEST_WINDOW_MS.
        Replayed
            This caller used this nonce.
        RetryFresh
            From before a restart, from before what is remembered, or nothing more can be remembered now.
        StoreFailed
            The mark could not be made durable: the request is not accepted.
        """
        if not self._opened:
            raise RuntimeError("open() comes first: it reads what an earlier process accepted")
        now = self._clock.now()
        if now - _last_ms(created) > REQUEST_WINDOW_MS:
            raise Expired(f"signed {(now - created * 1000) // 1000} s ago; check your clock and sign again")
        if created * 1000 - now > REQUEST_WINDOW_MS:
            raise Expired(f"signed {(created * 1000 - now) // 1000} s in the future; check your clock and sign again")
        self._forget(now)
        if created <= self._floor:
            raise RetryFresh("this node cannot prove that it has not seen the request", (self._floor + 1) * 1000 - now)
        entry = caller + nonce
        if entry in self._seen.get(created, ()):
            raise Replayed("this request was already answered; sign a fresh one")
        if self._count >= self._capacity:
            raise RetryFresh("this node remembers as many requests as it can", self._room_in(now))
        self._seen.setdefault(created, set()).add(entry)
        self._count += 1
        if created > self._mark:
            await self._advance(created)

    def _forget(self, now: int) -> None:
        for created in [c for c in self._seen if now - _last_ms(c) > REQUEST_WINDOW_MS]:
            self._count -= len(self._seen.pop(created))
            self._floor = max(self._floor, created)

    def _room_in(self, now: int) -> int:
        return max(0, _last_ms(min(self._seen)) + REQUEST_WINDOW_MS + 1 - now)

    async def _advance(self, created: int) -> None:
        async with self._marking:
            if created > self._mark:
                ahead = created + MARK_LEAD_S
                await self._store.put(_MARK_KEY, ahead.to_bytes(8))
                self._mark = ahead


def _last_ms(created: int) -> int:
    return created * 1000 + 999
