"""Who is asked first: the share of incentive, the less loaded of two, who rests last."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from davy.gateway.routing import (
    CROWDED_MS,
    LONGEST_REST_MS,
    MEMORY,
    NEW,
    REST_MS,
    Candidate,
    Health,
    answered,
    asked,
    crowded,
    failed,
    left,
    load,
    order,
)

NOW = 1_800_000_000_000


def candidate(name: int, incentive: int = 100, health: Health = NEW) -> Candidate:
    return Candidate(bytes([name]) * 32, incentive, health)


def firsts(*candidates: Candidate, draws: int = 4_000) -> dict[int, float]:
    rng = random.Random(5)
    count = Counter(order(candidates, NOW, rng)[0].hotkey[0] for _ in range(draws))
    return {c.hotkey[0]: count[c.hotkey[0]] / draws for c in candidates}


def test_equal_loads_are_asked_in_proportion_to_incentive() -> None:
    share = firsts(candidate(1, 600), candidate(2, 300), candidate(3, 100))
    for name, expected in ((1, 0.6), (2, 0.3), (3, 0.1)):
        assert abs(share[name] - expected) < 0.03  # four standard errors of 4,000 draws


def test_the_less_loaded_of_the_first_two_mostly_goes_first() -> None:
    slow = Health(under_way=3, first_byte_ms=100.0)
    share = firsts(candidate(1, 100, slow), candidate(2, 100, Health(first_byte_ms=100.0)))
    assert abs(share[1] - 0.5 / 4) < 0.02, "drawn first by half of the draws, left there by a fourth of those"
    three = firsts(candidate(1, 100, slow), candidate(2), candidate(3))
    assert three[1] < 0.01
    assert min(three[2], three[3]) > 0.4


def test_a_slow_miner_is_still_asked_now_and_then() -> None:
    """Else its time is never measured again, and nobody learns what it gives to users."""
    quick = Health(first_byte_ms=20.0)
    share = firsts(candidate(1, 300, Health(first_byte_ms=60.0)), candidate(2, 300, quick), candidate(3, 300, quick))
    assert 0.05 < share[1] < 0.2


def test_who_has_no_incentive_is_asked_after_who_has_and_who_rests_last() -> None:
    soon, late = Health(rests_until=NOW + 5), Health(rests_until=NOW + 9)
    given = [candidate(4, 900, late), candidate(3, 900, soon), candidate(2, 0), candidate(1, 1)]
    for seed in range(50):
        assert [c.hotkey[0] for c in order(given, NOW, random.Random(seed))] == [1, 2, 3, 4]
    assert order([candidate(1, 5, Health(rests_until=NOW))], NOW, random.Random(0))[0].hotkey[0] == 1


@given(
    st.lists(
        st.builds(
            Candidate,
            st.binary(min_size=32, max_size=32),
            st.integers(0, 65_535),
            st.builds(Health, st.integers(0, 9), st.integers(0, 9), st.integers(NOW - 9, NOW + 9), st.floats(0, 1e6)),
        ),
        max_size=20,
    ),
    st.integers(0, 2**32),
)
def test_everybody_is_in_the_order_once(candidates: list[Candidate], seed: int) -> None:
    assert sorted(order(candidates, NOW, random.Random(seed))) == sorted(candidates)


def test_rest_doubles_with_each_failure_in_a_row_up_to_a_bound() -> None:
    h, rests = NEW, []
    for _ in range(12):
        h = failed(h, NOW)
        rests.append(h.rests_until - NOW)
    assert rests[:4] == [REST_MS, 2 * REST_MS, 4 * REST_MS, 8 * REST_MS]
    assert rests[-1] == LONGEST_REST_MS
    assert failed(h._replace(failures=10**6), NOW).rests_until == NOW + LONGEST_REST_MS
    well = answered(h, 20.0)
    assert (well.failures, well.rests_until) == (0, 0)


def test_a_busy_miner_rests_without_having_failed() -> None:
    h = crowded(Health(failures=2), NOW)
    assert (h.failures, h.rests_until) == (2, NOW + CROWDED_MS)


def test_load_counts_what_is_under_way_and_how_long_the_first_byte_took() -> None:
    h = answered(answered(NEW, 100.0), 200.0)
    assert h.first_byte_ms == MEMORY * 100.0 + (1 - MEMORY) * 200.0
    assert load(asked(asked(h))) == 3 * h.first_byte_ms
    assert left(asked(h)) == h
    assert left(NEW) == NEW
    assert load(NEW) == 1.0
