"""Whom a registrant lets ask: the rule over several subnets, and when the ledger is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import anyio
import pytest
from msgspec.structs import replace

from davy.network.access import Accesses, Applicant, admits, applicant, applicants
from davy.protocol.manifest import Access
from davy.protocol.recorded import AccessRecord
from tests.miners.stage import metagraph, neuron
from tests.twins.brake import ANYBODY

A, B, COLD = b"\x0a" * 32, b"\x0b" * 32, b"\x01" * 32
ADMITTED = AccessRecord(Access.ADMITTED, (), (), 1)
NOBODY_NAMED = AccessRecord(Access.NAMED, (), (), 1)


def test_stake_and_permit_count_from_any_of_the_subnets_and_each_by_its_own_threshold() -> None:
    one = metagraph(1, neuron(0, A, 5), neuron(1, B, 5, permit=False), stake_threshold=6)
    other = metagraph(1, neuron(0, A, 5, permit=False))
    assert applicants([one]) == {A: Applicant(A, COLD, False, True), B: Applicant(B, COLD, False, False)}
    for graphs in ([one, other], [other, one]):
        assert applicants(graphs)[A] == Applicant(A, COLD, True, True)
        for who in (A, B, COLD):
            assert applicant(who, graphs) == applicants(graphs).get(who, Applicant(who)), "alone as among all"
    assert not applicants([metagraph(1, neuron(0, A, 5))], minimum_stake=6)[A].staked
    assert not applicants([metagraph(1, neuron(0, A, 0))])[A].staked, "no stake is never enough"


def test_a_permit_is_for_scoring_and_not_for_users() -> None:
    validator = Applicant(A, COLD, True, True)
    assert admits(NOBODY_NAMED, validator)
    assert not admits(NOBODY_NAMED, validator, for_scoring=False)
    for named in (replace(NOBODY_NAMED, hotkeys=(A,)), replace(NOBODY_NAMED, coldkeys=(COLD,))):
        assert admits(named, validator, for_scoring=False)
    assert admits(ADMITTED, validator, for_scoring=False)
    assert admits(ANYBODY, Applicant(B), for_scoring=False)


class Ledger:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, ...]] = []
        self.changed_at = 0
        self.said = ANYBODY

    def unchanged(self, netuid: int, since: int) -> bool:
        return since >= self.changed_at

    async def accesses(self, models: Sequence[bytes]) -> tuple[AccessRecord, ...]:
        self.asked.append(tuple(models))
        await anyio.lowlevel.checkpoint()
        return (self.said,) * len(models)


@pytest.mark.anyio
async def test_the_ledger_is_asked_about_all_at_once_and_again_when_something_changed() -> None:
    ledger = Ledger()
    accesses = Accesses(cast("Any", ledger))
    await accesses.follow([1], [B, A, B], 5)
    for height in (5, 9):
        assert [await accesses.of(model, height) for model in (A, B)] == [ANYBODY] * 2
    assert ledger.asked == [(A, B)]
    ledger.said, ledger.changed_at = ADMITTED, 10
    async with anyio.create_task_group() as tasks:
        for model in (A, B, A):
            tasks.start_soon(accesses.of, model, 10)
    assert [await accesses.of(model, 11) for model in (A, B)] == [ADMITTED] * 2
    assert ledger.asked == [(A, B), (A, B)], "once, however many wait for it"
    await accesses.follow([1], [B], 11)
    assert len(ledger.asked) == 2
    await accesses.follow([1], [B, COLD], 11)
    assert ledger.asked[2:] == [(COLD, B)]


@pytest.mark.anyio
async def test_what_is_not_followed_and_a_ledger_that_says_nothing_of_changes_are_asked_each_time() -> None:
    ledger = Ledger()
    accesses = Accesses(cast("Any", ledger))
    for _ in range(2):
        assert await accesses.of(A, 5) == ANYBODY
    assert ledger.asked == [(A,), (A,)]
    ledger.changed_at = 2**60
    await accesses.follow([1], [B], 5)
    await accesses.of(B, 6)
    assert ledger.asked[2:] == [(B,), (B,)]


@pytest.mark.anyio
@pytest.mark.parametrize("others", [(B, COLD), (B,)], ids=["more", "as many"])
async def test_other_models_are_followed_while_the_ledger_is_asked(others: tuple[bytes, ...]) -> None:
    """What it says is of those that it was asked about; of the others it is asked next."""
    ledger = Ledger()
    accesses = Accesses(cast("Any", ledger))

    async def said(models: Sequence[bytes]) -> tuple[AccessRecord, ...]:
        ledger.asked.append(tuple(models))
        if len(ledger.asked) == 1:
            tasks.start_soon(accesses.follow, [1], others, 5)
            await anyio.wait_all_tasks_blocked()
        return tuple(ADMITTED if model == A else ANYBODY for model in models)

    ledger.accesses = said
    async with anyio.create_task_group() as tasks:
        await accesses.follow([1], [A], 5)
    assert [await accesses.of(model, 5) for model in others] == [ANYBODY] * len(others)
    assert ledger.asked == [(A,), tuple(sorted(others))]
