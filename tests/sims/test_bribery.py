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


def test_the_promise_is_what_refusing_pays_and_epsilon_where_accepting_paid_less() -> None:
    s = bribing(bribed=0.35, epsilon=0.25)
    numbers = play(s.scenario, range(2))
    got = numbers[1, ..., COLUMNS.index("attack_validators")]
    refused = numbers[1, ..., COLUMNS.index("honest_validators")] * (0.35 / 0.65)
    arrays = played(s).arrays
    failed = got < refused
    assert failed.any()
    assert arrays["attack.refusing"] == pytest.approx(refused, rel=1e-3)
    assert arrays["attack.acceptors"][failed] == pytest.approx(1.25 * refused[failed], rel=1e-3)
    assert not arrays["attack.bribe"][~failed].any()


@pytest.mark.parametrize("bribed", [0.2, 0.3, 0.4])
def test_who_refuses_alone_while_the_others_accept_is_paid_less_than_who_accepts(bribed: float) -> None:
    """Played: of six that were asked one refuses, and measures. Equal stakes, so each stands for any of them."""
    s = bribing(bribed=bribed)
    asked = s.scenario.having({"market.spread": 0})
    one = bribed / 6
    alone = asked.having({"attack.validators": 5, "attack.stake": bribed - one})
    kept = play(alone, range(2))[1, ..., COLUMNS.index("honest_validators")].sum(axis=1) * one / (1 - bribed + one)
    assert (played(s).arrays["attack.acceptors"].sum(axis=1) / 6 > kept).all()


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
