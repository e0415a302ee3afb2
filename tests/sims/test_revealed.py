"""What attackers look back on is kept as long as they read it, and no longer."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from davy.incentive.fixed_point import U16, Int64, UInt16
from davy.protocol.errors import Misconfigured
from davy.sims import Scenario, run, scenario
from davy.sims.attack import Attack, View
from davy.sims.revealed import Revealed


def rows(k: int) -> UInt16:
    return np.full((2, 3, 4), U16 - k, dtype=np.uint16)


def test_the_oldest_kept_stands_for_what_was_before_there_was_any() -> None:
    kept = Revealed(3)
    kept.add(rows(0))
    kept.add(rows(1))
    assert [int(kept.ago(lag)[0, 0, 0]) for lag in (0, 1, 2)] == [U16 - 1, U16, U16]
    for k in (2, 3):
        kept.add(rows(k))
    assert [int(kept.ago(lag)[0, 0, 0]) for lag in (0, 1, 2)] == [U16 - 3, U16 - 2, U16 - 1]


@dataclass(frozen=True, kw_only=True)
class Forgetful(Attack):
    """Validators copy what they did not say they would look at."""

    kind: str = field(default="forgetful", init=False, repr=False)

    def rows(self, v: View) -> Int64:
        return v.each(v.consensus(1))


def test_an_attack_that_looks_further_back_than_it_said_is_told_so() -> None:
    with pytest.raises(Misconfigured, match="looks_back"):
        run(Scenario(attack=Forgetful(stake=0.2), runs=1, start=3, epochs=1))


@dataclass(frozen=True, kw_only=True)
class Meddling(Attack):
    """Validators subtract from each row that they see."""

    by: int = 0
    kind: str = field(default="meddling", init=False, repr=False)

    def rows(self, v: View) -> Int64:
        assert (v.own - U16 < 0).any(), "unsigned numbers would wrap in an attack's differences"
        assert (v.before - U16 < 0).any()
        assert (v.public() - U16 < 0).any()
        return v.own - self.by


def test_an_attack_may_subtract_but_give_no_weight_below_0() -> None:
    assert run(Scenario(attack=Meddling(stake=0.2), runs=1, start=3, epochs=1)).numbers.shape[2] == 1
    with pytest.raises(Misconfigured, match="a weight of -"):
        run(Scenario(attack=Meddling(stake=0.2, by=U16), runs=1, start=3, epochs=1))


@pytest.mark.parametrize("name", ["weight-copying", "front-running-reveals"])
def test_copiers_say_how_far_they_look_back(name: str) -> None:
    few = {"attack.lag": 3, "runs": 1, "start": 6, "epochs": 1, "market.validators": 6, "market.miners": 8}
    assert run(scenario(name).having(few)).numbers.shape[2] == 1
