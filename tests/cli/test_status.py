"""`davy status` does not contradict itself: who is paid by stake has emission, and neither incentive nor dividends."""

from __future__ import annotations

import pytest

from davy.cli.status import paid_by_stake
from davy.protocol.chain import Neuron
from tests.miners.stage import metagraph


def neuron(uid: int, incentive: int, dividends: int, emission: int) -> Neuron:
    key = bytes([uid]) * 32
    return Neuron(uid, key, key, 1, 0, 0, True, True, 0, incentive, dividends, 0, 0, emission, 0, (), ())


@pytest.mark.parametrize(
    ("neurons", "halves"),
    [
        ([(0, 0, 900)], ["incentive", "dividends"]),
        ([(0, 0, 0)], []),  # nothing was paid yet
        ([(0, 65_535, 450), (65_535, 0, 450)], []),
        ([(0, 0, 450), (65_535, 0, 450)], ["dividends"]),
        ([(0, 65_535, 900)], ["incentive"]),
    ],
)
def test_a_half_without_shares_went_by_stake(neurons: list[tuple[int, int, int]], halves: list[str]) -> None:
    m = metagraph(1, *(neuron(uid, *shares) for uid, shares in enumerate(neurons)))
    assert paid_by_stake(m) == halves
