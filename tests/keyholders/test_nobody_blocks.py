"""A holder who is offline, wrong, slow or hostile never blocks t others: what two of them cost, on a virtual clock.

The clock counts waiting alone, so the bounds do not depend on the machine. `python -m bench.quorum` prints the times.
"""

from __future__ import annotations

import pytest

from davy.keyholders.coordinator import ROUND_MS
from tests.keyholders.blockers import OTHERS, signed_in_spite_of
from tests.keyholders.stage import NAMES

pytestmark = pytest.mark.anyio
HONEST = {NAMES[n] for n in range(5) if n not in OTHERS}
ROUND_S = ROUND_MS / 1000


async def test_with_all_well_three_sign_at_once() -> None:
    took, signers, culprits = await signed_in_spite_of(None)
    assert took < 1
    assert (len(signers), culprits) == (3, ())


async def test_two_who_are_offline_cost_nothing() -> None:
    took, signers, culprits = await signed_in_spite_of("offline")
    assert (set(signers), culprits) == (HONEST, ())
    assert took < 1


async def test_two_who_are_wrong_cost_a_round_without_waiting_and_are_named() -> None:
    took, signers, culprits = await signed_in_spite_of("wrong")
    assert set(signers) == HONEST
    assert set(culprits) == {NAMES[n] for n in OTHERS}
    assert took < ROUND_S


async def test_two_who_are_slow_cost_no_more_than_a_round() -> None:
    took, signers, culprits = await signed_in_spite_of("slow")
    assert (set(signers), culprits) == (HONEST, ())
    assert took < 2 * ROUND_S


async def test_two_who_are_hostile_cost_three_rounds_each_at_most() -> None:
    took, signers, culprits = await signed_in_spite_of("hostile")
    assert (set(signers), culprits) == (HONEST, ())
    assert ROUND_S <= took <= 3 * len(OTHERS) * ROUND_S
