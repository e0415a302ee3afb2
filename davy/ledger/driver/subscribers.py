"""Who hears of new blocks: a bounded number, each with a bounded queue."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import anyio

from davy.protocol.errors import Busy
from davy.protocol.limits import MAX_SUBSCRIBERS, MAX_SUBSCRIBERS_AN_ADDRESS

_HEARD_AT_MOST: Final = 64
"""Heads that wait for a subscriber before it is dropped."""


class Subscriber:
    """Hears of every new height. `scope` is cancelled when it falls behind: whoever reads for it must run inside."""

    def __init__(self, address: str = "") -> None:
        self.address = address
        self.scope = anyio.CancelScope()
        self._send, self.heights = anyio.create_memory_object_stream[int](_HEARD_AT_MOST)

    def tell(self, height: int) -> None:
        try:
            self._send.send_nowait(height)
        except anyio.WouldBlock:
            self.scope.cancel()
        except anyio.BrokenResourceError:
            pass  # it has left

    def close(self) -> None:
        self._send.close()
        self.heights.close()


class Subscribers:
    """All that listen to one ledger."""

    def __init__(self) -> None:
        self._all: set[Subscriber] = set()

    def __len__(self) -> int:
        return len(self._all)

    def tell(self, height: int) -> None:
        for subscriber in tuple(self._all):
            subscriber.tell(height)

    @contextmanager
    def subscribed(self, address: str = "") -> Generator[Subscriber]:
        """Hear of every height from now on.

        Parameters
        ----------
        address
            Whose share of the places this takes; empty: nobody's.

        Raises
        ------
        Busy
            Too many listen already.
        """
        if len(self._all) >= MAX_SUBSCRIBERS:
            raise Busy(f"{MAX_SUBSCRIBERS} subscribers listen already; poll instead, or try again later")
        if address and sum(s.address == address for s in self._all) >= MAX_SUBSCRIBERS_AN_ADDRESS:
            raise Busy(f"{MAX_SUBSCRIBERS_AN_ADDRESS} subscribers of this address listen already; poll instead")
        subscriber = Subscriber(address)
        self._all.add(subscriber)
        try:
            yield subscriber
        finally:
            self._all.discard(subscriber)
            subscriber.close()
