"""What a weight rests on is written down round after round, by seat, and found again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest

from davy.network.openai import CompletionResponse
from davy.protocol.chain import Neuron
from davy.validators.challenger import Answered
from davy.validators.evidence import Finding
from davy.validators.examiner import Examiner, Means, Pace, Round
from davy.validators.grounds import Forgiven, Grounds, ground
from davy.validators.standing import Seat
from tests.miners.stage import metagraph
from tests.twins import MemoryStore, SeededEntropy
from tests.validators.test_halted import ASKED, Graph, stage

ALICE, BOB = Seat(b"a" * 32, 5), Seat(b"b" * 32, 7)
FOUND = [ground("identity", Finding(0.25, "one sentence", (BOB.hotkey,)))]


@pytest.mark.anyio
async def test_a_new_process_finds_what_was_found_and_how_many_rounds_were_forgiven() -> None:
    store = MemoryStore()
    grounds = Grounds(1, store)
    await grounds.add_round({ALICE: FOUND}, [ALICE, BOB], swapped=[ALICE.hotkey], halted=[])
    await grounds.add_round({}, [ALICE, BOB], swapped=[ALICE.hotkey], halted=[BOB.hotkey])
    again = Grounds(1, store.copy())
    await again.open()
    assert list(again.of(ALICE)) == FOUND
    assert again.of(BOB) == ()
    assert (again.forgiven(ALICE), again.forgiven(BOB)) == (Forgiven(2, 0), Forgiven(0, 1))


@pytest.mark.anyio
async def test_a_new_registration_begins_without_a_past() -> None:
    grounds = Grounds(1, MemoryStore())
    await grounds.add_round({ALICE: FOUND}, [ALICE], swapped=[ALICE.hotkey], halted=[])
    sniped = Seat(ALICE.hotkey, ALICE.registered_at + 1)
    await grounds.add_round({}, [sniped], swapped=[], halted=[])
    assert grounds.of(sniped) == grounds.of(ALICE) == ()
    assert grounds.forgiven(sniped) == Forgiven()


class Half:
    """A claim that halves what everybody has."""

    name = "half"

    async def prepare(self, miners: object) -> None: ...

    def observe(self, miners: object, round: object) -> None: ...

    def findings(self, miners: Sequence[Neuron], worth: Mapping[bytes, float]) -> dict[bytes, Finding]:
        return {n.hotkey: Finding(0.5, f"it had {worth[n.hotkey]:g}") for n in miners}


class One:
    """A task at which any answer scores one nat above silence."""

    def parse(self, c: object, r: CompletionResponse) -> object:
        return r

    def score(self, c: object, answers: Sequence[object]) -> Any:
        return np.array([float(a is not None) for a in answers])

    def baseline(self, c: object) -> float:
        return 0.0


async def at_once(f: Callable[[], Any]) -> Any:
    return f()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "minimum", "had", "halted"),
    [
        (Answered(CompletionResponse("id", 0, "m", []), ""), 2, "1", 0),
        (Answered(None, "late"), 2, "0", 0),
        (Answered(None, "halted", halted=True), 2, "0", 1),
    ],
)
async def test_each_claim_is_written_down_with_what_was_left_before_it(
    answer: Answered, minimum: int, had: str, halted: int
) -> None:
    s = await stage()
    store, graph = MemoryStore(), metagraph(10, s.neuron)
    nothing = cast("Any", None)
    means = Means(
        cast("Any", One()), nothing, s.challenger, [Half(), Half()], s.brake, cast("Any", Graph(s.neuron)), store,
        SeededEntropy(), s.clock, at_once,
    )  # fmt: skip
    examiner = Examiner([1], b"o" * 32, means, Pace(minimum=minimum))
    r = Round([ASKED] * 2, [s.neuron], [graph], [(0, s.neuron), (1, s.neuron)], [0, 0])
    await examiner._take_in(r, {(i, s.neuron.hotkey): answer for i in range(2)})  # pyright: ignore[reportPrivateUsage]
    kept = Grounds(1, store)
    await kept.open()
    seat = Seat(s.neuron.hotkey, s.neuron.registered_at)
    half = "0.5" if had == "1" else "0"
    assert [(g.claim, g.factor, g.said) for g in kept.of(seat)] == [
        ("half", 500_000, f"it had {had}"),
        ("half", 500_000, f"it had {half}"),
    ]
    assert kept.forgiven(seat) == Forgiven(0, halted)
