"""The model a miner answers from now, and how many answers are being made of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import AbstractAsyncContextManager, contextmanager

import anyio

from davy.killswitch.scope import Subject
from davy.miners.backend import Backend, Piece, SeesCaller, Stopped, Tally, identity_of
from davy.network.openai import CompletionRequest
from davy.protocol.errors import Busy
from davy.protocol.manifest import model_id
from davy.protocol.recorded import AccessRecord
from davy.protocol.words import Hotkey


class Serving:
    """A backend in service. Its manifest is read once: what receipts name cannot change under way."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.manifest = backend.manifest()
        self.model_id = model_id(self.manifest)
        self.identity = identity_of(self.manifest)
        self._for_caller = backend if isinstance(backend, SeesCaller) else None
        self.subjects: tuple[Subject, ...] = ()
        """What the guard is asked about, one for each subnet; empty until the ledger told of the model."""
        self.access: AccessRecord | None = None
        """Whom its registrant lets ask for it; None until the ledger told."""
        self.active = 0
        self._closed = False
        self._left = anyio.Event()

    def generate(
        self, caller: Hotkey, request: CompletionRequest, stopped: Stopped
    ) -> AbstractAsyncContextManager[AsyncIterator[Piece | Tally]]:
        """Return the backend's generation for a caller; see `Backend.generate`."""
        if self._for_caller is not None:
            return self._for_caller.generate_for(caller, request, stopped)
        return self.backend.generate(request, stopped)

    @contextmanager
    def use(self) -> Generator[None]:
        """Hold the backend open for one answer.

        Raises
        ------
        Busy
            It was closed since the request came.
        """
        if self._closed:
            raise Busy("this miner has just changed its model; ask again")
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1
            self._left.set()

    async def idle(self) -> None:
        """Wait until no answer is being made."""
        while self.active:
            self._left = anyio.Event()
            await self._left.wait()

    async def close(self, grace_s: float) -> None:
        """Let running answers end for `grace_s` seconds at most, then give back what the model holds."""
        with anyio.move_on_after(grace_s):
            await self.idle()
        self._closed = True
        await self.backend.aclose()
