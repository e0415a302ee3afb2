"""A sparing validator asks half as often who has no hope of pay; what it judges of the others is what it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from davy.protocol.chain import Metagraph, Neuron
from davy.validators.challenger import Answered
from davy.validators.evidence import Finding
from davy.validators.examiner import Examiner, Means, Pace
from davy.validators.standing import Seat, Verdict
from tests.miners.stage import metagraph
from tests.twins import MemoryStore, SeededEntropy
from tests.validators.test_grounds import One, at_once
from tests.validators.test_halted import ASKED, Graph, Stage, anyio_backend, stage

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


ROUND = 64


class At(Graph):
    """A ledger at some height."""

    height = 10_000

    async def metagraph(self, netuid: int, at: int | None = None) -> Metagraph:
        return metagraph(self.height, *self._neurons)


class Seen:
    """Evidence that keeps what it was shown."""

    name = "seen"

    def __init__(self) -> None:
        self.answered: list[list[bytes]] = []

    async def prepare(self, miners: Sequence[Neuron]) -> None: ...

    def observe(self, miners: Sequence[Neuron], round: Sequence[Any]) -> None:
        self.answered += [sorted(x.answers) for x in round]

    def findings(self, miners: Sequence[Neuron], worth: Any) -> dict[bytes, Finding]:
        return {}


class Validator:
    """Two miners: one of whom `known` challenges are scored, `difference`/10,000 nats each; and a stranger."""

    def __init__(self, s: Stage, pace: Pace, known: int, difference: int = 5_000) -> None:
        self.known, self.stranger = s.neuron, msgspec.structs.replace(s.neuron, uid=2, hotkey=b"s" * 32)
        self.ledger, self.seen = At(self.known, self.stranger), Seen()
        brake: Any = s.brake
        means = Means(
            cast("Any", One()), cast("Any", None), s.challenger, [self.seen], brake, cast("Any", self.ledger),
            MemoryStore(), SeededEntropy(), s.clock, at_once,
        )  # fmt: skip
        self.examiner = Examiner([1], b"o" * 32, means, pace)
        self._verdicts = [Verdict(str(i), 0, difference + i % 2, "") for i in range(known)]

    async def asked(self) -> tuple[set[int], set[int]]:
        """Which of a round's challenges the known one and the stranger were asked."""
        seat = Seat(self.known.hotkey, self.known.registered_at)
        await self.examiner.standings[1].add_round({seat: self._verdicts}, [seat])
        r = await self.examiner._plan(np.random.default_rng(1), [ASKED] * ROUND)  # pyright: ignore[reportPrivateUsage]
        assert len(r.leave_ms) == len(r.asked)
        answered = {(i, n.hotkey): Answered(None, "late") for i, n in r.asked}
        await self.examiner._take_in(r, answered)  # pyright: ignore[reportPrivateUsage]
        one, two = ({i for i, n in r.asked if n.uid == uid} for uid in (1, 2))
        return one, two


@pytest.mark.parametrize(
    ("spares", "known", "difference", "spared"),
    [
        (True, 8, 5_000, False),  # who is paid would be paid for longer than it worked
        (True, 2, -5_000, True),
        (True, 1, -5_000, False),
        (False, 8, -5_000, False),
    ],
)
async def test_a_coin_decides_which_challenges_the_hopeless_get(
    spares: bool, known: int, difference: int, spared: bool
) -> None:
    v = Validator(await stage(), Pace(minimum=8, spares=spares), known, difference)
    asked, others = await v.asked()
    assert others == set(range(ROUND))
    assert (ROUND // 4 < len(asked) < ROUND * 3 // 4) if spared else asked == others
    one, two = v.known.hotkey, v.stranger.hotkey
    assert v.seen.answered == [sorted([one, two] if i in asked else [two]) for i in range(ROUND)]
    standing = v.examiner.standings[1].of(Seat(one, v.known.registered_at))
    assert standing.count == known + len(asked)


async def test_who_serves_a_new_model_is_asked_in_full_for_two_tempos() -> None:
    v = Validator(await stage(), Pace(minimum=8, spares=True), 8, -5_000)
    tempo = metagraph(1).subnet.hyperparameters.tempo
    v.ledger.height = v.known.model[0].since + 2 * tempo - 1
    asked, others = await v.asked()
    assert asked == others
    v.ledger.height += 1
    asked, others = await v.asked()
    assert asked < others
