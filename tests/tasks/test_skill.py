"""Standings are exact sums: mergeable in any order, and their mean and error are the textbook's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Misconfigured
from davy.tasks.skill import (
    EMPTY,
    LARGEST,
    MINIMUM,
    UNIT,
    Standing,
    hopeless,
    merge,
    observe,
    weight,
    weights_u16,
)

nats = st.lists(st.floats(-20, 20), min_size=2, max_size=60)


@given(nats)
def test_skill_and_error_are_mean_and_standard_error(d: list[float]) -> None:
    s = observe(EMPTY, d)
    steps = np.round(np.array(d) * UNIT) / UNIT
    assert s.skill == pytest.approx(steps.mean(), abs=1e-9)
    assert s.error == pytest.approx(steps.std(ddof=1) / np.sqrt(len(d)), abs=1e-7)


@given(nats, nats, nats)
def test_merging_is_exact_and_knows_no_order(a: list[float], b: list[float], c: list[float]) -> None:
    x, y, z = (observe(EMPTY, d) for d in (a, b, c))
    assert merge([x, merge([y, z])]) == merge([merge([z, x]), y]) == observe(EMPTY, [*a, *b, *c])
    assert merge([]) == EMPTY


def test_a_standing_is_a_wire() -> None:
    s = observe(EMPTY, [0.5, -1.25])
    assert decode(encode(s), Standing, limit=64) == s


def test_no_weight_before_enough_challenges_nor_within_two_errors() -> None:
    assert weight(observe(EMPTY, [1.0, 1.1] * (MINIMUM // 2 - 1))) == 0.0
    assert weight(observe(EMPTY, [1.0, 1.1] * (MINIMUM // 2))) == pytest.approx(1.05, abs=0.02)
    assert weight(observe(EMPTY, [3.0, -2.9] * 64)) == 0.0
    assert weight(EMPTY, minimum=0) == 0.0


def test_before_there_are_differences_there_is_no_skill_and_any_error_is_possible() -> None:
    assert (EMPTY.skill, EMPTY.error, weight(EMPTY)) == (0.0, np.inf, 0.0)
    one = observe(EMPTY, [2.5])
    assert (one.skill, one.error, weight(one, minimum=1)) == (2.5, np.inf, 0.0)


def test_a_quarter_of_the_challenges_can_leave_no_hope() -> None:
    spread = [-0.5, 0.5]
    assert hopeless(observe(EMPTY, [-0.3 + d for d in spread * (MINIMUM // 8)]))  # −0.3 + 2·0.09 < 0
    assert not hopeless(observe(EMPTY, [-0.3 + d for d in spread * (MINIMUM // 8 - 1)]))
    assert not hopeless(observe(EMPTY, [-0.1 + d for d in spread * (MINIMUM // 8)]))  # −0.1 + 2·0.09 > 0
    assert not hopeless(observe(EMPTY, [1.0 + d for d in spread * MINIMUM]))  # who is paid is never spared
    assert hopeless(observe(EMPTY, [-1.0] * (MINIMUM // 4)))  # who never answers
    assert not hopeless(EMPTY, minimum=4)
    assert not hopeless(observe(EMPTY, [-1.0]), minimum=4)
    assert hopeless(observe(EMPTY, [-1.0, -1.0]), minimum=4)


def test_weight_grows_linearly_with_skill() -> None:
    spread = np.tile([-0.5, 0.5], 128)
    w = [weight(observe(EMPTY, m + spread)) for m in (1.0, 2.0, 3.0)]
    assert w[2] - w[1] == pytest.approx(w[1] - w[0]) == pytest.approx(1.0)


@pytest.mark.parametrize("d", [float("nan"), float("inf"), LARGEST * 1.01])
def test_what_no_bounded_rule_gives_is_refused(d: float) -> None:
    with pytest.raises(Misconfigured):
        observe(EMPTY, [d])


def test_weights_keep_their_proportions() -> None:
    assert weights_u16({"a": 0.5, "b": 0.25, "c": 0.0, "d": 1e-9}) == {"a": 65535, "b": 32768}
    assert weights_u16({"a": 0.0}) == {} == weights_u16({})
    for bad in (-0.1, float("nan"), float("inf")):
        with pytest.raises(Misconfigured):
            weights_u16({"a": bad})
