"""The steps of a ceremony as one keyholder takes them: after its person said yes, and each step once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from davy.keyholders.desk import Desk, Matter
from davy.keyholders.messages import Answer, Ask, Declined, Waiting


async def unless_yes(desk: Desk, matter: Matter, no: str = "its keyholder said no") -> Waiting | Declined | None:
    """What to answer as long as the person has not said yes; None once it has. Waits a while (`Desk.settled`)."""
    decision = await desk.settled(matter)
    if decision is None:
        return Waiting()
    if matter.gave_way:
        return Declined("newer proposals of the same keyholder took its place", ())
    return None if decision else Declined(no, ())


class Steps:
    """Of one ceremony. Whoever lost an answer asks again, perhaps while the step still runs: it gets the same one."""

    def __init__(self) -> None:
        self._last: tuple[Ask, Answer] | None = None
        self._one = anyio.Lock()

    async def once(self, ask: Ask, take: Callable[[], Awaitable[Answer]]) -> Answer:
        """Take a step, or give the answer to it again where it was the last one.

        It is taken to its end though its asker hangs up: what it left on the disk must be what is answered next time.
        """
        async with self._one:
            if self._last is not None and self._last[0] == ask:
                return self._last[1]
            answer: Answer = Waiting()
            with anyio.CancelScope(shield=True):
                answer = await take()
            if not isinstance(answer, Waiting):
                self._last = (ask, answer)
            return answer
