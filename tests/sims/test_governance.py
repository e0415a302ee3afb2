"""Keyholders and votes: worked out by hand where it can be, and by the live brake and stake rules where it matters."""

import math

import numpy as np
import pytest

from davy.protocol.errors import Misconfigured
from davy.protocol.limits import ALLOWANCE_MS, DAY_MS, HALT_TERM_MS, LEASE_GRACE_MS, LEASE_TERM_MS, chain_parameters
from davy.protocol.words import TOKEN
from davy.sims import Study, study
from davy.sims.beyond.roster import GOALS, KeyholderBribery, held
from davy.sims.beyond.votes import FlashStake, VoteBuying
from davy.sims.holding import Holding
from davy.sims.noise import Purpose, Stream
from tests.sims.stage import median, played


def having(name: str, **more: object) -> Study:
    return study(name).having({"runs": 40} | more)


def bribing(**more: object) -> KeyholderBribery:
    s = having("keyholder-bribery", **more)
    assert isinstance(s, KeyholderBribery)
    return s


def mean(s: Study, metric: str) -> float:
    return float(np.mean(played(s).metrics[metric]))


# keyholders


def test_the_thresholds_say_how_many_have_to_be_bribed() -> None:
    assert [bribing(goal=goal).needed for goal in GOALS] == [3, 4, 2, 3]
    nine = {"keyholders": 9, "halt_threshold": 4, "lift_threshold": 6}
    assert [bribing(goal=goal, **nine).needed for goal in GOALS] == [4, 6, 4, 6]


@pytest.mark.parametrize("systemic", [False, True])
def test_what_a_captured_quorum_gets_is_the_live_brake_s_word(systemic: bool) -> None:
    days = {goal: held(bribing(goal=goal, systemic=systemic)) for goal in GOALS}
    leased = (LEASE_TERM_MS + LEASE_GRACE_MS) // DAY_MS
    assert days == {
        "halt": 90 if systemic else ALLOWANCE_MS // DAY_MS,
        "lift": 90,
        "veto-lift": 90 if systemic else HALT_TERM_MS // DAY_MS,
        "veto-halt": leased - 1 if systemic else 90,  # no lease without those who were not bribed
    }


def test_a_briber_who_offers_what_all_ask_pays_for_as_many_as_it_needs() -> None:
    s = bribing(honest=0.0, spread=0.0, price=100.0, offer=100.0, worth=50.0)
    m = played(s).metrics
    assert set(m["captured"]) == {1.0}
    assert set(m["asked"]) == {3.0}
    assert set(m["cost"]) == {300.0}
    assert set(m["cheapest"]) == {300.0}
    assert m["roi"] == pytest.approx(np.full(40, (21 * 50 - 300) / 300))


def test_an_offer_below_the_price_wins_nobody() -> None:
    m = played(bribing(honest=0.0, spread=0.0, price=100.0, offer=99.0, reports=0.0)).metrics
    assert set(m["captured"]) == {0.0}
    assert set(m["cost"]) == {0.0}
    assert set(m["asked"]) == {5.0}


def test_who_tells_ends_it_and_what_was_paid_is_lost() -> None:
    silent, telling = (bribing(reports=p, runs=300, goal="lift") for p in (0.0, 1.0))
    assert mean(silent, "captured") > 1.5 * mean(telling, "captured")
    m = played(telling).metrics
    told = m["reported"] == 1
    assert told.any()
    assert (m["captured"][told] == 0).all()
    assert np.array_equal(np.isnan(m["noticed"]), ~told)
    assert (m["cost"][told] > 0).any()
    # All must be won at the first asking: each is for sale with .7, and asks at most 300 with Φ(ln 3).
    each = 0.7 * 0.5 * (1 + math.erf(math.log(3) / math.sqrt(2)))
    assert mean(telling, "captured") == pytest.approx(each**4, abs=0.06)


def test_a_veto_is_cheaper_than_a_halt_and_a_halt_than_a_lift() -> None:
    chances = [mean(bribing(goal=goal, runs=300), "captured") for goal in ("veto-lift", "halt", "lift")]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > chances[2] + 0.2


# stake that votes


def test_what_is_borrowed_for_a_block_counts_where_a_block_is_looked_at() -> None:
    snapshot, davy = (having("flash-stake", rule=rule) for rule in ("snapshot", "least-held"))
    assert mean(snapshot, "passed") > 0.9
    assert mean(davy, "passed") == 0
    assert mean(davy, "counted") == 0
    assert median(davy, "roi") == -1
    assert np.isnan(played(snapshot).metrics["noticed"]).all()


def test_who_holds_a_whole_epoch_pays_for_it_and_is_seen() -> None:
    s = having("flash-stake", plan="epoch")
    assert mean(s, "passed") > 0.9
    assert median(s, "noticed") == 360
    assert median(s, "held") == 360 + chain_parameters().unbonding
    flash = having("flash-stake", rule="snapshot")
    assert median(s, "cost") > 2 * median(flash, "cost")


def test_the_loan_s_price_is_that_of_its_time() -> None:
    s = having("flash-stake", plan="epoch", spread=0.0, turnout=0.3, interest=1.0, block_ms=10_000)
    assert isinstance(s, FlashStake)
    blocks = 360 + chain_parameters().unbonding
    assert median(s, "borrowed") == pytest.approx(0.3, abs=1e-6)
    assert median(s, "cost") == pytest.approx(300_000 * blocks * 10 / (365 * 86_400), rel=1e-6)


def test_stake_counts_as_the_ledger_counts_it() -> None:
    t = TOKEN
    own, delegated = (Holding([100 * t, 0], tempo=360, delegated=d) for d in (False, True))
    for h in (own, delegated):
        assert h.end_epoch() == [100 * t, 0]
        assert h.move(0, 1, 100 * t, block=300)
        assert h.end_epoch() == [0, 0]
    assert not own.move(1, 0, 100 * t, block=10)  # it answers for where it came from
    assert delegated.move(1, 0, 100 * t, block=10)
    assert own.end_epoch() == [0, 100 * t]
    assert delegated.end_epoch() == [0, 0]


# votes for sale


def test_a_holder_asks_for_what_its_own_vote_changes() -> None:
    s = having("vote-buying", damage=0.1, doubt=0.2, effort=0.0)
    assert isinstance(s, VoteBuying)
    assert s.asks(20 * TOKEN, 1_000 * TOKEN) == 20 * TOKEN // 100  # a tenth of its damage: it decides with 1 in 10
    assert s.asks(400 * TOKEN, 1_000 * TOKEN) == 40 * TOKEN  # it decides


def test_stakes_are_pareto_and_all_there_is() -> None:
    even, heavy = (having("vote-buying", tail=tail, voters=2_000) for tail in (10.0, 1.1))
    assert isinstance(heavy, VoteBuying)
    drawn = np.array(heavy.stakes(Stream(1, 0, Purpose.PRICES)))
    assert drawn.sum() == pytest.approx(1e6 * TOKEN, rel=1e-9)
    ranked = np.sort(drawn)[::-1]
    tail = np.polyfit(np.log(ranked[20:500]), np.log(np.arange(20, 500)), 1)[0]
    assert tail == pytest.approx(-1.1, abs=0.15)
    assert median(even, "largest") < 0.01 < median(heavy, "largest")


def test_a_majority_is_cheap_and_free_where_it_is_paid_only_if_it_fails() -> None:
    paid, free = having("vote-buying"), having("vote-buying", sure=False)
    assert median(paid, "passed") == median(free, "passed") == 1
    assert 0 < median(paid, "price") < 0.02
    assert median(free, "cost") == 0
    assert median(free, "capital") == median(paid, "capital") > 0  # it has to be shown
    assert median(paid, "bought") > 0.5 * 0.3


def test_turnout_and_loyalty_make_it_dearer_until_it_fails() -> None:
    costs = [median(having("vote-buying", turnout=t), "cost") for t in (0.1, 0.4, 0.9)]
    assert costs == sorted(costs)
    lost = having("vote-buying", loyal=0.9, turnout=0.9)
    assert mean(lost, "passed") < 0.1
    assert median(lost, "harm") == 0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("keyholder-bribery", {"goal": "crown"}),
        ("keyholder-bribery", {"lift_threshold": 2}),
        ("flash-stake", {"needed": 0.99}),
        ("vote-buying", {"tail": 0.1}),
    ],
)
def test_what_cannot_be_is_refused(name: str, change: dict[str, object]) -> None:
    with pytest.raises(Misconfigured):
        study(name).having(change)
