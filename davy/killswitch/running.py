"""Something that lasts, and that a halt ends: an answer, a stream, a batch."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import anyio

from davy.killswitch.scope import Subject
from davy.protocol.errors import Busy, DavyError, ModelHalted
from davy.protocol.words import UnixMillis


class Keeper(Protocol):
    """The guard, as what runs knows it."""

    def permit(self, subject: Subject) -> None:
        """See `davy.killswitch.guard.Guard.permit`."""
        ...

    def began(self, run: Running) -> None:
        """Note what runs now."""
        ...

    def left(self, run: Running) -> None:
        """Note that it has ended."""
        ...


class Running:
    """Something that lasts, made by `Guard.running`; enter it in the task that does it, and do it inside.

    A halt cancels what is inside, at its next checkpoint. Leaving then raises ModelHalted, also where the work had just
    ended or ended early because `stopped` said so: what a halt met is never taken for a normal end. A cancellation from
    outside stays one. Never enter it in an asynchronous generator around a ``yield`` (PEP 789).

    Raises
    ------
    ModelHalted
        On entering, and on leaving.
    Busy
        On entering: see `Guard.permit`.
    """

    def __init__(self, guard: Keeper, subjects: tuple[Subject, ...], now: Callable[[], tuple[Subject, ...]]) -> None:
        self._began_as, self._now = subjects, now
        self.ended = anyio.Event()
        self.ended_at: UnixMillis = 0
        self._guard = guard
        self._scope = anyio.CancelScope()
        self._halt: DavyError | None = None
        self.cancelled = False

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """What it was when it began, and what it is known to be now: what stops either of them stops it."""
        now = self._now()
        return self._began_as if now is self._began_as else tuple(dict.fromkeys((*self._began_as, *now)))

    def stopped(self) -> bool:
        """Whether no more may be made; ask before each token, from any thread, before entering too."""
        if self._halt is None:
            try:
                for subject in self.subjects:
                    self._guard.permit(subject)
            except (ModelHalted, Busy) as e:
                self._halt = e
        return self._halt is not None

    def cancel(self) -> None:
        """End it; for the guard, in the event loop's thread, once `stopped`."""
        self.cancelled = True
        self._scope.cancel()

    async def __aenter__(self) -> Self:
        if self.stopped() and self._halt is not None:
            raise self._halt
        self._scope.__enter__()
        self._guard.began(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            ended_here = bool(self._scope.__exit__(kind, error, trace))
        finally:
            self._guard.left(self)
        if self._halt is None or error is self._halt:
            return
        if error is None or ended_here or isinstance(error, Exception):
            raise self._halt from (error if isinstance(error, Exception) else None)
