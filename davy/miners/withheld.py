"""A model that is halted when its miner starts: it is named and answered for, and not loaded before it may run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from davy.miners.backend import Piece, Stopped, Tally
from davy.network.openai import CompletionRequest
from davy.protocol.errors import Busy
from davy.protocol.manifest import Manifest


class Withheld:
    """Stands in for a backend (`davy.miners.backend.Backend`) while a halt lasts."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def manifest(self) -> Manifest:
        return self._manifest

    def generate(
        self, request: CompletionRequest, stopped: Stopped
    ) -> AbstractAsyncContextManager[AsyncIterator[Piece | Tally]]:
        """Refuse; the guard, asked before, tells of the halt.

        Raises
        ------
        Busy
            The halt has ended, and the model is being loaded.
        """
        raise Busy("this miner is loading its model; ask again in a moment")

    async def aclose(self) -> None:
        """Nothing is held."""
