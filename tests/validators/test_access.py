"""A validator asks for no model whose registrant keeps it out, and holds that against nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from trio.testing import MockClock

from davy.network.access import applicant
from davy.protocol.chain import Metagraph
from davy.protocol.manifest import Access
from davy.protocol.recorded import AccessRecord
from davy.protocol.words import TOKEN, KeyRole
from davy.validators import examiner
from davy.validators.examiner import Examiner, Pace, Round
from tests.miners.stage import VALIDATOR, metagraph, neuron
from tests.validators.test_halted import ASKED, Graph, Stage, stage

pytestmark = pytest.mark.anyio
OWN = VALIDATOR.public(KeyRole.HOTKEY)
NAMED = AccessRecord(Access.NAMED, (), (), 1)


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Ranked:
    """A stage whose validator has a UID, with a permit or not, and a registrant who says something."""

    def __init__(self, s: Stage, *, permit: bool, stake: int = 5 * TOKEN) -> None:
        self.s = s
        self.graph: Metagraph = metagraph(10, neuron(0, OWN, stake, permit=permit), s.neuron)
        self.ledger = Graph(*self.graph.neurons)
        self.examiner = Examiner([1], OWN, s.means._replace(ledger=cast("Any", self.ledger)), Pace())

    async def planned(self) -> int:
        import numpy as np

        r = await self.examiner._plan(np.random.default_rng(1), [ASKED])  # pyright: ignore[reportPrivateUsage]
        return len(r.miners)

    async def ask(self) -> Any:
        r = Round([ASKED], [self.s.neuron], [self.graph], [(0, self.s.neuron)], [0])
        answers = await self.examiner._ask_all(r, self.s.clock.now())  # pyright: ignore[reportPrivateUsage]
        return answers[0, self.s.neuron.hotkey]


@pytest.mark.parametrize("permit", [False, True])
async def test_a_named_model_is_scored_by_who_has_a_permit(permit: bool) -> None:
    v = Ranked(await stage(), permit=permit)
    assert await v.planned() == 1
    v.ledger.said = NAMED
    assert await v.planned() == permit
    answer = await v.ask()
    assert (answer.response is not None, answer.halted) == (permit, not permit)


async def test_a_plan_looks_for_the_validator_once(monkeypatch: pytest.MonkeyPatch) -> None:
    v = Ranked(await stage(), permit=True)
    v.ledger.said = NAMED
    looks: list[Any] = []
    monkeypatch.setattr(examiner, "applicant", lambda own, graphs: looks.append(graphs) or applicant(own, graphs))
    for _ in range(3):
        assert await v.examiner._permitted(v.s.neuron, [v.graph])  # pyright: ignore[reportPrivateUsage]
    assert len(looks) == 1
    v.graph = metagraph(10, neuron(0, OWN, 5 * TOKEN, permit=False), v.s.neuron)
    assert not await v.examiner._permitted(v.s.neuron, [v.graph])  # pyright: ignore[reportPrivateUsage]


async def test_who_is_named_scores_without_a_permit_and_who_has_stake_where_callers_are_admitted() -> None:
    v = Ranked(await stage(), permit=False)
    v.ledger.said = AccessRecord(Access.NAMED, (), (OWN,), 1)
    assert await v.planned() == 1
    v.ledger.said = AccessRecord(Access.ADMITTED, (), (), 1)
    assert await v.planned() == 1
    assert await Ranked(v.s, permit=False, stake=0).planned() == 1, "nothing is said there"
    poor = Ranked(v.s, permit=False, stake=0)
    poor.ledger.said = v.ledger.said
    assert await poor.planned() == 0


async def test_a_refusal_that_the_ledger_does_not_bear_out_counts_against_the_miner() -> None:
    """Else a miner answered only what it likes."""
    s = await stage()
    s.miner.handler.serving.access = NAMED
    s.miner.admission.update(metagraph(10, neuron(0, OWN, 5 * TOKEN, permit=False)))
    answer = await Ranked(s, permit=False).ask()
    assert (answer.response, answer.halted) == (None, False)
    assert "names who may ask" in answer.reason


async def test_a_refusal_by_what_was_said_meanwhile_does_not() -> None:
    """The miner heard of it first; the ledger bears it out when it is asked again."""
    s = await stage()
    v = Ranked(s, permit=False)
    s.miner.handler.serving.access = NAMED
    s.miner.admission.update(metagraph(10, neuron(0, OWN, 5 * TOKEN, permit=False)))
    known = v.ledger.accesses
    asked: list[bytes] = []

    async def accesses(models: Sequence[bytes]) -> tuple[AccessRecord, ...]:
        asked.extend(models)
        return (NAMED,) * len(models) if len(asked) > 1 else await known(models)

    v.ledger.accesses = accesses  # type: ignore[method-assign]
    answer = await v.ask()
    assert (answer.response, answer.halted, len(asked)) == (None, True, 2)
