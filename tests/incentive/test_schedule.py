"""What a block may mint: by height, as the ledger does, and by what is issued, as subtensor does."""

import pytest

from davy.incentive.door import BadInput
from davy.incentive.fixed_point import MAX_AMOUNT
from davy.incentive.schedule import block_emission, block_reward, subnet_reward


@pytest.mark.parametrize(
    ("issued", "minted"),
    [(0, 64), (499, 64), (500, 32), (749, 32), (750, 16), (874, 16), (875, 8), (984, 2), (985, 1), (993, 0), (999, 0)],
)
def test_halving(issued: int, minted: int) -> None:
    """Of 1000, 64 a block at first, halved at 500, 750, 875, 937.5, 968.75, 984.375, and to nothing at 992.1875."""
    assert block_emission(issued, supply=1000, initial=64) == minted


def test_halving_ends_with_the_supply() -> None:
    assert block_emission(10**9 - 1, supply=10**9, initial=10**12) == 1
    assert block_emission(10**9, supply=10**9, initial=10**12) == 0
    with pytest.raises(BadInput, match="issued"):
        block_emission(1001, supply=1000, initial=1)


def test_the_reward_halves_by_height() -> None:
    heights = (1, 10, 11, 20, 21, 61, 71, 81, 10**12)
    assert [block_reward(h, initial=101, interval=10) for h in heights] == [101, 101, 50, 50, 25, 1, 0, 0, 0]
    assert block_reward(1 << 63, initial=MAX_AMOUNT, interval=1) == 0


def test_both_schedules_are_one_where_everything_is_minted() -> None:
    """21 million at a unit a block: halved at 10.5 million blocks, and at 10.5 + 5.25 · 2 = 21 million."""
    supply, interval = 21_000, 10_500
    issued = 0
    for height in range(1, 2 * interval + 1):
        reward = block_reward(height, initial=1 << 20, interval=interval)
        assert reward == block_emission(issued, supply=supply << 20, initial=1 << 20)
        issued += reward


@pytest.mark.parametrize(
    "change",
    [{"height": 0}, {"interval": 0}, {"initial": -1}, {"initial": MAX_AMOUNT + 1}, {"height": 1.5}, {"interval": True}],
)
def test_schedules_that_are_refused(change: dict[str, int]) -> None:
    given = {"height": 1, "initial": 1, "interval": 1} | change
    with pytest.raises(BadInput, match="|".join(change)):
        block_reward(given["height"], initial=given["initial"], interval=given["interval"])


def test_a_subnets_part_is_rounded_down() -> None:
    assert [subnet_reward(101, share) for share in (0, 333_333, 500_000, 10**6)] == [0, 33, 50, 101]
