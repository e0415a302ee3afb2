"""The demo's keyholders: five processes with homes of their own, who make keys together, halt and lift.

Alice coordinates. Bob's process was told to sign unseen; carol and dave look at what waits for them and say yes by
hand; erin helps to make the keys and is away from then on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import anyio

from davy.cli.demo.stage import Stage, StageFailed

COORDINATOR: Final = "alice"
UNSEEN: Final = "bob"
BY_HAND: Final = ("carol", "dave")
AWAY: Final = "erin"
KEYHOLDERS: Final[tuple[str, ...]] = (COORDINATOR, UNSEEN, *BY_HAND, AWAY)
HALT: Final = 3
LIFT: Final = 4
_PATIENCE_S: Final = 45.0
_TOO_FEW: Final = "3s"
"""How long the others are asked where too few of them will say yes."""


class Given(NamedTuple):
    """An order that was signed: by whom, and when it left, by the coordinator's clock in ms."""

    id: bytes
    raw: bytes
    signers: Sequence[str]
    signed_at: int


class Council:
    """Five keyholders on a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.roster = stage.root / "roster"
        self.book = stage.root / "book"

    async def found(self) -> None:
        """Make everybody's own key, then the two keys of all."""
        addresses: dict[str, str] = dict(zip(KEYHOLDERS, self._stage.free_addresses(len(KEYHOLDERS)), strict=True))
        lines: dict[str, str] = {}

        async def init(name: str) -> None:
            words = ("keyholder", "init", "--name", name, "--address", addresses[name], "--quick")
            lines[name] = (await self._stage.do(*words, home=name))["line"]

        await _each(KEYHOLDERS, init)
        file = self._stage.root / "circle"
        file.write_text("".join(f"{lines[name]}\n" for name in KEYHOLDERS))

        async def keep(name: str) -> None:
            await self._stage.do("keyholder", "circle", str(file), home=name)

        await _each(KEYHOLDERS, keep)
        for name in KEYHOLDERS[1:]:
            kinds = "dkg,halt,lift,drill" if name == UNSEEN else "dkg"
            self._stage.start(name, "keyholder", "serve", "--yes-to", kinds)
        for name in KEYHOLDERS[1:]:
            await self._stage.until_said(name, f"{name} listens at")
        words = ("dkg", "--halt", str(HALT), "--lift", str(LIFT), "--yes", "--out", str(self.roster))
        await self._stage.do("keyholder", *words, home=COORDINATOR)
        await self._stage.end(AWAY)

    async def belong(self, genesis: Path) -> None:
        """Let everybody who is there know which chain the keys are for."""

        async def learn(name: str) -> None:
            await self._stage.do("keyholder", "genesis", str(genesis), home=name)

        await _each([name for name in KEYHOLDERS if name != AWAY], learn)

    async def give(self, *words: str, reason: str, by_hand: Sequence[str], by_book: bool = True) -> Given:
        """Have an order signed by alice, bob and those who say yes by hand, and released.

        Raises
        ------
        StageFailed
            It was not signed.
        """
        done: list[Any] = []

        async def coordinate() -> None:
            book = ("--book", str(self.book)) if by_book else ()
            done.append(await self._stage.do(*words, "--reason", reason, *book, "--yes", home=COORDINATOR))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(coordinate)
            for name in by_hand:
                tasks.start_soon(self._say_yes, name, reason)
        told = done[0]
        raw = bytes.fromhex(told["signed"])
        return Given(bytes.fromhex(told["order"]), raw, tuple(told["signers"]), told["signed_at"])

    async def try_with_too_few(self, *words: str, reason: str, by_hand: Sequence[str]) -> str:
        """Try the same with too few; return why it was not signed, or nothing if it was."""
        try:
            async with anyio.create_task_group() as tasks:
                for name in by_hand:
                    tasks.start_soon(self._say_yes, name, reason)
                given = ("--reason", reason, "--patience", _TOO_FEW, "--yes")
                await self._stage.do(*words, *given, home=COORDINATOR)
        except BaseExceptionGroup as group:
            refused = group.subgroup(StageFailed)
            if refused is None:
                raise
            return _only(refused).said
        return ""

    async def _say_yes(self, name: str, reason: str) -> None:
        with anyio.fail_after(_PATIENCE_S):
            while True:
                waiting: list[dict[str, str]] = await self._stage.do("keyholder", "pending", "--wait", "10s", home=name)
                found = [m["id"] for m in waiting if reason in m["screen"]]
                if found:
                    await self._stage.do("keyholder", "sign", found[0][:16], "--yes", home=name)
                    return
                await anyio.sleep(0.1)


def _only(group: BaseExceptionGroup[StageFailed]) -> StageFailed:
    inner = group.exceptions[0]
    return _only(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _each(names: Sequence[str], job: Callable[[str], Awaitable[None]], at_once: int = 3) -> None:
    limit = anyio.CapacityLimiter(at_once)

    async def one(name: str) -> None:
        async with limit:
            await job(name)

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(one, name)
