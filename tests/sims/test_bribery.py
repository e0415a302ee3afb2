"""P+ε on the live mechanism: the promise is kept, it costs a minority's briber, and a majority's nothing."""

import numpy as np
import pytest

from davy.protocol.errors import Misconfigured
from davy.sims import study
from davy.sims.beyond.bribery import PlusEpsilon
from davy.sims.play import COLUMNS, play
from tests.sims.stage import median, played


def bribing(**more: object) -> PlusEpsilon:
    s = study("plus-epsilon").having({"runs": 2, "epochs": 12} | more)
    assert isinstance(s, PlusEpsilon)
    return s


def test_nobody_who_accepts_is_worse_off_than_honest_and_each_failure_pays_epsilon() -> None:
    s = bribing(bribed=0.35, epsilon=0.25)
    numbers = play(s.scenario, range(2))
    honest, got = numbers[..., COLUMNS.index("attack_validators")]
    arrays = played(s).arrays
    assert (got < honest).any()
    assert np.array_equal(arrays["attack.acceptors"] >= honest, np.ones_like(honest, dtype=bool))
    failed = got < honest
    assert (arrays["attack.acceptors"] - honest)[failed] == pytest.approx((honest * 0.25)[failed], abs=1)
    assert not arrays["attack.bribe"][~failed].any()


def test_a_minority_s_briber_pays_and_a_majority_s_does_not() -> None:
    few, most = bribing(bribed=0.35), bribing(bribed=0.6)
    assert median(few, "bribe_rate") > 5 * median(most, "bribe_rate")
    assert median(few, "roi") < 0 < median(most, "roi")
    assert median(most, "relative_pay") > 3
    assert median(most, "griefing") == np.inf
    assert median(few, "accepting") > 1


def test_a_market_that_cannot_be_is_refused() -> None:
    for change in ({"bribed": 1.0}, {"acceptors": 16}, {"epsilon": -1}):
        with pytest.raises(Misconfigured):
            bribing(**change)
