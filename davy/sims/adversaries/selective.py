"""Good to validators' own requests, weak to everybody else's: saves the good model's work where nobody looks.

It knows validators by their hotkeys: they have voted. A gateway that asks under a validator's hotkey gets the good
model with it, so that its users are served well; one under another hotkey gets the weak one. What it cannot do is not
to sign for what it gives: no answer without a receipt reaches a user, and a receipt proves it to every validator.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Final

from davy.miners.backend import AsksOthers, Backend, Neighbourhood, Piece, Stopped, Tally
from davy.miners.huggingface import HuggingFace
from davy.network.openai import CompletionRequest
from davy.protocol.errors import DavyError
from davy.protocol.manifest import Manifest
from davy.protocol.words import Hotkey, UnixMillis

_LOOK_MS: Final = 1_000


class TwoFaced:
    """Two models under the manifest of one.

    Parameters
    ----------
    shown
        The registered model: for who has voted, and for all while nobody has.
    given
        What the others get.
    """

    def __init__(self, shown: Backend, given: Backend) -> None:
        self._shown, self._given = shown, given
        self._own: Neighbourhood | None = None
        self._voters: frozenset[Hotkey] = frozenset()
        self._looked: UnixMillis = 0

    def manifest(self) -> Manifest:
        return self._shown.manifest()

    async def join(self, own: Neighbourhood) -> None:
        """Take over the node's means of reading the ledger."""
        self._own = own
        for backend in (self._shown, self._given):
            if isinstance(backend, AsksOthers):
                await backend.join(own)

    def generate(
        self, request: CompletionRequest, stopped: Stopped
    ) -> AbstractAsyncContextManager[AsyncGenerator[Piece | Tally, None]]:
        """Answer somebody unknown."""
        return self.generate_for(bytes(32), request, stopped)

    def generate_for(
        self, caller: Hotkey, request: CompletionRequest, stopped: Stopped
    ) -> AbstractAsyncContextManager[AsyncGenerator[Piece | Tally, None]]:
        """Answer a caller with the face that is meant for it."""
        return aclosing(self._pieces(caller, request, stopped))

    def may_score(self, caller: Hotkey) -> bool:
        """Whether a caller has voted; while nobody has, anybody may."""
        return not self._voters or caller in self._voters

    async def aclose(self) -> None:
        await self._shown.aclose()
        await self._given.aclose()

    async def _pieces(
        self, caller: Hotkey, request: CompletionRequest, stopped: Stopped
    ) -> AsyncGenerator[Piece | Tally, None]:
        await self._look()
        face = self._shown if self.may_score(caller) else self._given
        async with face.generate(request, stopped) as items:
            async for item in items:
                yield item

    async def _look(self) -> None:
        """Read who has voted: who earned dividends."""
        if self._own is None or self._own.clock.now() - self._looked < _LOOK_MS:
            return
        self._looked = self._own.clock.now()
        try:
            graph = await self._own.ledger.metagraph(self._own.netuid)
        except DavyError:
            return
        self._voters = frozenset(n.hotkey for n in graph.neurons if n.dividends)


class Selective(TwoFaced):
    """Registers `folder`, and serves `weak` to whoever has not voted."""

    def __init__(self, folder: Path, weak: Path) -> None:
        super().__init__(HuggingFace(folder), HuggingFace(weak))
