"""The seam to the brake: may this miner's model be used now, and for how long."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from davy.gateway.directory import Place
from davy.protocol.chain import ModelRecord
from davy.protocol.receipt import EMPTY_BRAKE_HEAD
from davy.protocol.words import Digest


class Permission(Protocol):
    """A node's guard, as a gateway asks it."""

    @property
    def head(self) -> Digest:
        """What every request says of the brake."""
        ...

    def permit(self, place: Place, record: ModelRecord | None) -> None:
        """Return at once if this place may be used.

        Raises
        ------
        ModelHalted
            It carries the signed order.
        """
        ...

    def running(self, place: Place, record: ModelRecord | None) -> AbstractAsyncContextManager[None]:
        """Hold an answer; a halt cancels what runs inside, and leaving the context raises ModelHalted."""
        ...


class NoBrake:
    """Of a network without keyholders: nothing is ever halted."""

    head: Digest = EMPTY_BRAKE_HEAD

    def permit(self, place: Place, record: ModelRecord | None) -> None:
        """Permit everything."""

    @asynccontextmanager
    async def running(self, place: Place, record: ModelRecord | None) -> AsyncGenerator[None]:
        """Permit everything, all the time."""
        yield
