"""A sparing validator asks half as often whom it knows; what it judges of the others is what it was."""

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

    async def asked(self, challenges: int = 4) -> list[tuple[int, int]]:
        """Numbers of challenges and UIDs of one round."""
        seat = Seat(self.known.hotkey, self.known.registered_at)
        await self.examiner.standings[1].add_round({seat: self._verdicts}, [seat])
        r = await self.examiner._plan(np.random.default_rng(1), [ASKED] * challenges)  # pyright: ignore[reportPrivateUsage]
        assert len(r.leave_ms) == len(r.asked)
        answered = {(i, n.hotkey): Answered(None, "late") for i, n in r.asked}
        await self.examiner._take_in(r, answered)  # pyright: ignore[reportPrivateUsage]
        return [(i, n.uid) for i, n in r.asked]


BOTH, SPARED = [(i, uid) for i in range(4) for uid in (1, 2)], [(0, 1), (0, 2), (1, 2), (2, 1), (2, 2), (3, 2)]


@pytest.mark.parametrize(
    ("spares", "known", "difference", "expected"),
    [
        (True, 8, 5_000, SPARED),
        (True, 7, 5_000, BOTH),
        (True, 2, -5_000, SPARED),  # no luck would pay it
        (True, 1, -5_000, BOTH),
        (False, 8, 5_000, BOTH),
    ],
)
async def test_who_is_settled_gets_every_second_challenge(
    spares: bool, known: int, difference: int, expected: list[tuple[int, int]]
) -> None:
    v = Validator(await stage(), Pace(minimum=8, spares=spares), known, difference)
    assert await v.asked() == expected
    one, two = v.known.hotkey, v.stranger.hotkey
    assert v.seen.answered == [sorted([one, two] if (i, 1) in expected else [two]) for i in range(4)]
    standing = v.examiner.standings[1].of(Seat(one, v.known.registered_at))
    assert standing.count == known + sum(uid == 1 for _, uid in expected)


async def test_a_new_model_is_asked_as_one_not_known_until_it_was_served_for_two_tempos() -> None:
    v = Validator(await stage(), Pace(minimum=8, spares=True), 8)
    tempo = metagraph(1).subnet.hyperparameters.tempo
    v.ledger.height = v.known.model[0].since + 2 * tempo - 1
    assert await v.asked() == BOTH
    v.ledger.height += 1
    assert await v.asked() == SPARED
