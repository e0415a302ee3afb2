"""Correlated agreement: by hand, against the paper's formula in exact fractions, and what the paper promises."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davy.incentive.correlated import Correlated, agreements
from davy.incentive.evidence import MAX_EPOCHS, MAX_TASKS, Evidence
from davy.incentive.fixed_point import ONE, Int64, normalise
from davy.incentive.mechanism import BondState, EpochInputs, Params
from davy.incentive.registry import mechanism
from tests.incentive import evident, peer_oracle
from tests.incentive.epochs import Stream, arrays, ints, replace

UNIT = 1 << 14
"""Of stake, in the room's format for this rule."""


def said(*rows: list[int]) -> Evidence:
    """Rows on one task a column, quarters by their number, in one epoch."""
    reports = np.array(rows, dtype=np.int8)[None]
    places = np.where(reports < 0, -1, reports * 25).astype(np.int8)
    columns = np.arange(reports.shape[-1], dtype=np.int64)[None]
    return Evidence(reports=places, labels=np.full(columns.shape, -1, dtype=np.int8), columns=columns)


def test_three_rows_by_hand() -> None:
    """Two agree in all of four tasks, the third always says the same.

    For either of the two: against the other, P(0, 0) − P(0)·P(0) = ½ − ¼, and as much for 1; against the third nothing.
    Times four tasks, and the other's third of the stake.
    """
    e = said([0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0])
    third = UNIT // 3
    assert agreements(e, ints(ONE // 3, ONE // 3, ONE // 3)).tolist() == [2 * third, 2 * third, 0]


def test_answers_that_go_together_are_agreement() -> None:
    """One calls 2 what the other calls 1, always: Δ learns that it is the same thing. Whoever inverts it disagrees."""
    e = said([0, 0, 1, 1], [0, 0, 2, 2])
    assert agreements(e, ints(ONE // 2, ONE // 2)).tolist() == [2 * UNIT // 2] * 2


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_agreements_are_those_of_the_paper(seed: int) -> None:
    rng = Stream(seed)
    rows = int(rng.integers(2, 5))
    e = evident.evidence(rng, rows, 10, int(rng.integers(1, 4)), 10)
    share = normalise(rng.integers(0, 9, rows))
    weight = [Fraction(s >> 16, UNIT) for s in share.tolist()]
    count = max(1, int((e.reports >= 0).any(axis=1).sum()))
    expected = peer_oracle.agreements(e, weight)
    for row, value in enumerate(agreements(e, share).tolist()):
        # A pair of answers is rounded down by less than a unit of weight and task, and a Δ of 0 may fall either way.
        assert abs(Fraction(value, UNIT * count) - expected[row]) <= Fraction(32, UNIT * count)


@given(st.integers(0, 3), st.integers(0, 10**6))
def test_who_always_says_the_same_agrees_with_nobody(answer: int, seed: int) -> None:
    e = evident.evidence(Stream(seed), 4, 10, 3, 10)
    reports = e.reports.copy()
    heard = (reports >= 0).any(axis=1)
    reports[:, 3] = np.where(heard, 25 * answer, -1)
    # P(a, b) is P(b) for its one answer and so is the product, but for what rounding down leaves.
    assert abs(int(agreements(replace(e, reports=reports), normalise(ints(1, 2, 3, 4)))[3])) <= 16


def test_the_largest_window_keeps_its_format() -> None:
    """Everybody agrees on 2^18 tasks, all with the answers of half of them: what Python's integers give."""
    half = np.arange(MAX_TASKS) % 2 * 99
    reports = np.broadcast_to(half.astype(np.int8), (MAX_EPOCHS, 4, MAX_TASKS)).copy()
    columns = np.broadcast_to(np.arange(MAX_TASKS, dtype=np.int64), (MAX_EPOCHS, MAX_TASKS))
    e = Evidence(reports=reports, labels=np.full(columns.shape, -1, dtype=np.int8), columns=columns)
    tasks, others = MAX_EPOCHS * MAX_TASKS, 3 * UNIT // 4
    beyond = (tasks // 2 * others * tasks - (tasks // 2) * (tasks // 2) * others) // tasks
    assert agreements(e, ints(*[ONE // 4] * 4)).tolist() == [2 * beyond] * 4
    s, x = (
        BondState(np.zeros((4, 3), dtype=np.int64)),
        EpochInputs.unmasked(np.ones((4, 3), dtype=np.int64), ints(1, 1, 1, 1)),
    )
    with pytest.raises(ValueError, match="of column"):
        replace(x, evidence=e)
    e = replace(e, columns=np.where(e.columns < 3, e.columns, -1))
    assert Correlated().epoch(s, replace(x, evidence=e), Params())[1].dividends.tolist() == [ONE // 4] * 4


def test_an_epoch_pays_yuma_s_dividends_by_agreement() -> None:
    changed = 0
    for seed in range(60):
        s, x, p = evident.epoch(seed)
        x = replace(x, halted=np.zeros_like(x.halted))
        assert x.evidence is not None
        state, plain = mechanism("yuma3").epoch(s, x, p)
        moved, result = Correlated().epoch(s, x, p)
        assert (moved.bonds == state.bonds).all()
        for field, values in arrays(plain).items():
            assert field == "dividends" or (arrays(result)[field] == values).all(), field
        agreed = np.maximum(agreements(x.evidence, plain.active_stake), 0)
        paid = agreed / max(1, agreed.max()) * plain.dividends
        expected = paid / paid.sum() if paid.sum() else plain.dividends / ONE
        np.testing.assert_allclose(result.dividends / ONE, expected, rtol=0, atol=2e-6)
        changed += int((result.dividends != plain.dividends).any())
    assert changed > 15


def test_a_halted_validator_s_pay_is_not_minted_and_no_rival_s() -> None:
    """Shares of the others are what they are without the halt."""
    rng = Stream(2)
    e = evident.evidence(rng, 4, 4, 6, 4)
    own: Int64 = np.arange(4, dtype=np.int64)
    x = replace(EpochInputs.unmasked(rng.integers(1, 9, (4, 4)), ints(1, 2, 3, 4)), self_column=own, evidence=e)
    s = BondState(np.zeros((4, 4), dtype=np.int64))
    for name in evident.READERS:
        _, free = mechanism(name).epoch(s, x, Params())
        _, halted = mechanism(name).epoch(s, replace(x, halted=own == 1), Params())
        assert int(free.dividends[1]) > 0
        assert halted.dividends.tolist() == np.where(own == 1, 0, free.dividends).tolist()
        assert int(halted.dividends_withheld) == int(free.dividends[1])


def test_without_evidence_it_is_yuma_to_the_bit() -> None:
    s, x, p = evident.epoch(1)
    state, plain = mechanism("yuma3").epoch(s, replace(x, evidence=None), p)
    moved, result = Correlated().epoch(s, replace(x, evidence=None), p)
    assert (moved.bonds == state.bonds).all()
    assert all((arrays(result)[field] == values).all() for field, values in arrays(plain).items())
