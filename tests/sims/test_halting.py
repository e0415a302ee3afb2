"""Abuse of the brake: what the live verdict makes of what keyholders sign, and what the live epoch makes of that."""

import numpy as np
import pytest

from davy.protocol.errors import Misconfigured
from davy.protocol.limits import ALLOWANCE_MS, ALLOWANCE_WINDOW_MS, DAY_MS, LEASE_GRACE_MS, LEASE_TERM_MS
from davy.protocol.order import GroupKey
from davy.sims import Scenario, scenario
from davy.sims.attacks.halting import Halting
from davy.sims.brake import START, Brake
from tests.sims.stage import median, played, watched

NAMES = ["false-halts", "refusing-to-lift", "silence-under-leases"]
ALLOWANCE, WINDOW = ALLOWANCE_MS // DAY_MS, ALLOWANCE_WINDOW_MS // DAY_MS


def small(name: str, **more: object) -> Scenario:
    changes = {"runs": 2, "watch": False} | {k.replace("__", "."): v for k, v in more.items()}
    return scenario(name).having(changes)


def stopped(s: Scenario, days: int, *, attacking: bool = True) -> list[bool]:
    assert isinstance(s.attack, Halting)
    return [bool(s.attack.stops(day, s.seats, attacking=attacking)) for day in range(days)]


def test_a_stolen_halt_key_stops_an_ordinary_model_as_long_as_the_allowance_goes() -> None:
    days = stopped(small("false-halts"), 2 * WINDOW)
    assert days[:ALLOWANCE] == [True] * ALLOWANCE
    assert not any(days[ALLOWANCE : WINDOW - 1])
    assert max(sum(days[d : d + WINDOW]) for d in range(WINDOW)) <= ALLOWANCE + 1  # a day is looked at by its end
    assert sum(days) >= 2 * ALLOWANCE - 1


def test_a_systemic_model_stays_stopped() -> None:
    assert all(stopped(small("false-halts", attack__systemic=True), 120))


@pytest.mark.parametrize("name", NAMES)
def test_without_bribes_nothing_stops_that_would_not_anyway(name: str) -> None:
    s = small(name, attack__corrupt=0)
    assert stopped(s, 100) == stopped(s, 100, attacking=False)
    assert sum(stopped(s, 100)) <= 1


def test_one_too_few_for_the_key_is_none() -> None:
    assert not any(stopped(small("false-halts", attack__corrupt=2), 40))
    assert sum(stopped(small("refusing-to-lift", attack__corrupt=1), 40)) == 1
    assert not any(stopped(small("silence-under-leases", attack__corrupt=1), 100))


def test_the_deceived_lift_what_they_signed_and_may_be_deceived_again() -> None:
    s = small("false-halts", attack__corrupt=1, attack__deceived=2, attack__lift_after=48)
    days = stopped(s, 60)
    assert days[:6] == [True, True, False, True, True, False]
    assert sum(days) <= ALLOWANCE + 1
    assert stopped(small("false-halts", attack__corrupt=1, attack__deceived=1), 10) == [False] * 10


def test_who_refuses_keeps_a_systemic_model_stopped_and_an_ordinary_one_for_a_week() -> None:
    assert all(stopped(small("refusing-to-lift"), 60))
    assert stopped(small("refusing-to-lift"), 60, attacking=False) == [True] + [False] * 59
    assert stopped(small("refusing-to-lift", attack__systemic=False), 30) == [True] * 7 + [False] * 23


def test_silence_stops_systemic_models_when_the_last_lease_and_its_grace_are_over() -> None:
    last = (LEASE_TERM_MS + LEASE_GRACE_MS) // DAY_MS
    days = stopped(small("silence-under-leases"), 60)
    assert days == [False] * (last - 1) + [True] * (61 - last)
    assert not any(stopped(small("silence-under-leases", attack__systemic=False), 60))


@pytest.mark.parametrize("name", NAMES)
def test_a_halt_hurts_and_pays_nobody(name: str) -> None:
    """What the halted lose is not minted: no rival gets a base unit of it, whatever it paid for the halt."""
    s = small(name)
    result = played(s)
    units = s.market.miners  # the last units go by largest remainder, and remainders are others
    for side in ("attack_miners", "attack_validators"):
        gained = result.arrays[f"attack.{side}"] - result.arrays[f"honest.{side}"]
        assert np.abs(gained).max() <= units
    withheld = result.arrays["attack.lost"] - result.arrays["honest.lost"]
    owner = result.arrays["honest.owner"] - result.arrays["attack.owner"]
    assert np.abs(withheld - owner - result.arrays["attack.hurt"]).max() <= units
    assert withheld.max() > 10**9
    assert median(s, "roi") == pytest.approx(-1)
    assert result.metrics["griefing"] == pytest.approx(result.metrics["harm"] / result.metrics["cost"])
    assert isinstance(s.attack, Halting)
    assert median(s, "cost") == pytest.approx(s.attack.corrupt * 10)


def test_a_halt_is_seen_when_it_stands_and_silence_when_the_lease_is_over() -> None:
    assert median(small("false-halts"), "noticed") == 1
    assert median(small("silence-under-leases"), "noticed") == 33
    assert np.isnan(played(small("silence-under-leases", attack__corrupt=1)).metrics["noticed"]).all()


def test_the_victims_and_nobody_else_earn_nothing() -> None:
    s = small("false-halts", attack__victims=3, epochs=25)
    told = watched(s).numbers[:, 1, :, 3] / watched(s).numbers[:, 0, :, 3]
    assert (told[: ALLOWANCE - 1] < 0.98).all()
    assert told[ALLOWANCE + 1 :] == pytest.approx(1, abs=0.02)


def test_beyond_the_allowance_the_lift_key_stops_still() -> None:
    b = Brake(5, 3, 4, systemic=False)
    for week in range(4):
        b.halt(START + week * 7 * DAY_MS)
    late = START + 24 * DAY_MS
    assert b.runs(late)
    b.halt(late, authority=GroupKey.LIFT)
    assert not b.runs(late + 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("lift_threshold", 2), ("keyholders", 7), ("corrupt", 6), ("halt_threshold", 1), ("hours", 0), ("victims", 0)],
)
def test_what_no_roster_can_be_is_refused(name: str, value: float) -> None:
    with pytest.raises(Misconfigured):
        scenario("false-halts").having({f"attack.{name}": value})
