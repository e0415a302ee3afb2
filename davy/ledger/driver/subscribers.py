"""Who hears of new blocks: a bounded number, each with a bounded queue."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import anyio

from davy.protocol.errors import Busy
from davy.protocol.limits import MAX_SUBSCRIBERS

_HEARD_AT_MOST: Final = 64
"""Heads that wait for a subscriber before it is dropped."""


class Subscriber:
    """Hears of every new height. `scope` is cancelled when it falls behind: whoever reads for it must run inside."""

    def __init__(self) -> None:
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
    def subscribed(self) -> Generator[Subscriber]:
        """Hear of every height from now on.

        Raises
        ------
        Busy
            Too many listen already.
        """
        if len(self._all) >= MAX_SUBSCRIBERS:
            raise Busy(f"{MAX_SUBSCRIBERS} subscribers listen already; poll instead, or try again later")
        subscriber = Subscriber()
        self._all.add(subscriber)
        try:
            yield subscriber
        finally:
            self._all.discard(subscriber)
            subscriber.close()
