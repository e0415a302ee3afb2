"""Keyholders who are offline, wrong, slow or hostile, for who measures what they cost the others."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import msgspec

from davy.keyholders.messages import Answer, Ask, Commit, Released, Sign
from davy.keyholders.voice import Voice
from davy.killswitch.group import identifier
from davy.protocol.errors import Unreachable
from tests.keyholders.stage import Bent, Stage


class Slow:
    """Takes as long for each answer as its asker just waits, and then longer: never in time, and never away."""

    def __init__(self, inner: Voice) -> None:
        self.name, self.key, self._inner = inner.name, inner.key, inner

    async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
        if isinstance(ask, Commit | Sign):
            await anyio.sleep(patience_ms / 1000 + 1)
        return await self._inner.ask(ask, patience_ms=patience_ms)


def offline(inner: Voice) -> Voice:
    def gone(_: Ask) -> Ask:
        raise Unreachable("nobody is there")

    return Bent(inner, before=gone)


def wrong(inner: Voice) -> Voice:
    """Says yes, commits, and sends a share that is none."""

    def spoil(_: Ask, answer: Answer) -> Answer:
        if not isinstance(answer, Released):
            return answer
        return Released(msgspec.structs.replace(answer.share, share=b"\2" + bytes(31)))

    return Bent(inner, after=spoil)


def hostile(inner: Voice) -> Voice:
    """Says yes, commits first of all, so that it is among the signers, and is silent then; as often as it is asked."""

    class Silent:
        name, key = inner.name, inner.key

        async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
            if isinstance(ask, Sign):
                await anyio.sleep(patience_ms / 1000)
                raise Unreachable("silence")
            return await inner.ask(ask, patience_ms=patience_ms)

    return Silent()


WAYS: dict[str, Callable[[Voice], Voice]] = {"offline": offline, "wrong": wrong, "slow": Slow, "hostile": hostile}
OTHERS = (1, 2)
"""As many as three of five can do without: those whose answers come before the honest ones'."""


async def signed_in_spite_of(way: str | None) -> tuple[float, tuple[str, ...], tuple[str, ...]]:
    """Have three of five halt: the time that passed on the clock, the signers and the culprits.

    The honest answer a tenth of a second after the others, so that these are asked to sign whenever they may be.
    """
    stage = await Stage().start()
    alice = stage.people[0]
    voices = alice.voices()
    for n in range(1, 5):
        i = identifier(n + 1)
        voices[i] = WAYS[way](voices[i]) if n in OTHERS and way else Late(voices[i])
    began = anyio.current_time()
    done = await alice.complete(alice.order(), voices)
    return anyio.current_time() - began, done.signers, done.culprits


class Late:
    """A tenth of a second."""

    def __init__(self, inner: Voice) -> None:
        self.name, self.key, self._inner = inner.name, inner.key, inner

    async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
        await anyio.sleep(0.1)
        return await self._inner.ask(ask, patience_ms=patience_ms)
