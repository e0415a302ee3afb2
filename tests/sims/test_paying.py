"""Pay in one pass is the pay of `emission.emit`, to the base unit."""

from typing import Any

import numpy as np
import pytest

from davy.incentive.fixed_point import ONE, U16, Int64, normalise
from davy.incentive.mechanism import EpochResult
from davy.sims.market import Market, Seats
from davy.sims.noise import UNIT
from davy.sims.paying import SIDES, Paid, paying

ROWS, COLUMNS, RUNS = 7, 130, 60
SEATS = Seats(ROWS, COLUMNS, 3, 20)


def shared(rng: np.random.Generator, count: int, kinds: int) -> tuple[Int64, Int64]:
    """Shares [2, runs, count] and what is withheld, ONE in all; of each run none, few or many, some of them alike."""
    wishes = rng.integers(0, 1 << 30, (2, RUNS, count)) >> rng.integers(0, 28, (2, RUNS, count))
    wishes *= rng.integers(0, kinds, (2, RUNS, count)) > 0
    wishes[:, ::7] = 0
    wishes[:, 1::7] = 1
    shares = normalise(wishes.astype(np.int64))
    held = rng.integers(0, 4, (2, RUNS, count)) == 0
    held[:, ::3] = False
    held[:, 2::9] = True
    return np.where(held, 0, shares), np.where(held, shares, 0).sum(axis=-1)


def drawn(seed: int) -> tuple[EpochResult, Int64, np.ndarray]:
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for name, count in (("incentive", COLUMNS), ("dividends", ROWS), ("fallback", ROWS)):
        found[name], found[f"{name}_withheld"] = shared(rng, count, 3)
    for name in ("consensus", "rank", "validator_trust", "active_stake", "permits"):
        found[name] = np.zeros(1, dtype=np.int64)
    used = rng.integers(0, UNIT + 1, (2, RUNS, COLUMNS))
    return EpochResult(**found), used, rng.integers(0, 3, (2, RUNS, ROWS)) == 0


@pytest.mark.parametrize("penalty", [0, 3_001, U16])
@pytest.mark.parametrize("tokens", [0.0, 1e-9, 1.23e-7, 100.0, 999_999.000000007])
def test_compiled_nobody_gets_another_base_unit(tokens: float, penalty: int) -> None:
    market = Market(emission=tokens, unrevealed_penalty=penalty)
    result, used, missed = drawn(penalty)
    reference, found = (paying(market, SEATS, compiled=c).paid(result, used, missed) for c in (False, True))
    assert np.array_equal(reference.sides, found.sides)
    assert np.array_equal(reference.dividends, found.dividends)
    assert told(found, "owner").max() == (round(tokens * 10**9) * market.owner_cut // U16)


def told(paid: Paid, name: str) -> Int64:
    return paid.sides[..., SIDES.index(name)]


def test_what_is_paid_and_what_is_lost_is_the_emission() -> None:
    result, used, missed = drawn(4)
    paid = paying(Market(unrevealed_penalty=U16), SEATS, compiled=False).paid(result, used, missed)
    assert (paid.sides[..., :6].sum(axis=-1) == 100 * 10**9).all()
    assert (paid.dividends[missed] == 0).all(), "who lost all of its dividends has none"
    nobody = (result.incentive.sum(axis=-1) == 0) & (result.incentive_withheld == 0)
    assert nobody.any()
    assert (told(paid, "bought")[nobody] == 0).all()
    assert ((result.incentive.sum(axis=-1) + result.incentive_withheld)[~nobody] == ONE).all()
    assert (told(paid, "hurt")[0] == 0).all()
    assert (told(paid, "hurt")[1] > 0).any()
