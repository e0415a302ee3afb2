"""What a row told that was not known: by hand, against exact fractions, and of those that repeat what all know."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davy.incentive.door import BadInput
from davy.incentive.evidence import MAX_EPOCHS, MAX_TASKS, Evidence, Int8
from davy.incentive.mechanism import Params
from davy.incentive.news import GAIN_BITS, MOST, MOST_GAIN, STRATA, admit, audits, found, news, stake_median
from tests.incentive import evident, peer_oracle
from tests.incentive.epochs import Stream, ints, replace

AUDIT = 1 << GAIN_BITS


def told(reports: list[list[list[int]]], labels: list[list[int]], columns: list[list[int]] | None = None) -> Evidence:
    count = len(labels[0])
    return Evidence(
        reports=np.array(reports, dtype=np.int8),
        labels=np.array(labels, dtype=np.int8),
        columns=np.array(columns or [list(range(count))] * len(labels), dtype=np.int64),
    )


def test_news_is_what_stands_far_from_the_prior() -> None:
    prior = np.array([50, 50, 50, 50, 50, 99, 0], dtype=np.int8)
    place = np.array([79, 80, 21, 20, -1, 0, 99], dtype=np.int8)
    assert news(place, prior, 30).tolist() == [0, 1, 0, -1, 2, -1, 1]


def test_four_audits_by_hand() -> None:
    """All priors are 10. Two columns rose to 90, two did not; the rows: who saw it, who cried wolf, who slept, who was
    silent, who saw one and missed one."""
    before = [[10] * 4] * 5
    now = [[90, 90, 10, 10], [90, 90, 90, 90], [10] * 4, [-1] * 4, [90, 10, 10, 10]]
    e = told([before, now], [[-1] * 4, [90, 90, 10, 10]])
    f = found(audits(e, ints(1, 1, 1, 1, 1)), 30, 0)
    # n = 4: (n·matched − Σ c·z) / (n − 1), with two labels up and two the same.
    assert f.gain.tolist() == [(16 - 8) * AUDIT // 3, (8 - 8) * AUDIT // 3, 0, 0, (12 - 8) * AUDIT // 3]
    assert f.said.tolist() == [4, 4, 4, 0, 4]
    assert f.wrong.tolist() == [0, 2, 2, 0, 1]
    punished = found(audits(e, ints(1, 1, 1, 1, 1)), 30, 65_535)
    assert (f.gain - punished.gain).tolist() == [0, 2 * AUDIT, 0, 0, 0]


def test_the_prior_is_of_the_same_column_by_stake() -> None:
    """Columns come in another order each epoch; a column nobody was asked about before does not count."""
    e = told(
        [[[10, 20, 30], [40, 50, 60]], [[1, 2, 3], [4, 5, 6]]],
        [[-1, -1, -1], [0, 0, 0]],
        [[5, 6, 7], [7, 8, 5]],
    )
    light, heavy = audits(e, ints(1, 2)), audits(e, ints(1, 1))
    assert light.prior.tolist() == [[60, -1, 40]]
    assert light.counts.tolist() == [[True, False, True]]
    assert heavy.prior.tolist() == [[30, -1, 10]], "half of the stake is enough, so the lower of two"


def test_what_was_not_audited_or_has_no_column_does_not_count() -> None:
    e = told([[[10, 10, 10]]] * 3, [[9, 9, 9], [-1, 9, 9], [-1, -1, -1]], [[0, 1, 2], [0, -1, 2], [0, 1, 2]])
    a = audits(e, ints(1))
    assert a.label[a.counts].tolist() == [9]
    assert audits(told([[[10]]] * 2, [[-1]] * 2), ints(1)).counts.tolist() == [[False]]


@given(st.lists(st.tuples(st.integers(-1, 99), st.integers(0, 9)), min_size=1, max_size=8))
def test_the_median_is_by_reporting_stake(rows: list[tuple[int, int]]) -> None:
    said, stake = [r for r, _ in rows], [s for _, s in rows]
    median = stake_median(np.array(said, dtype=np.int8)[:, None], ints(*stake))
    assert int(median[0]) == peer_oracle.middle(said, stake)


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_gains_are_those_of_the_formula(seed: int) -> None:
    rng = Stream(seed)
    rows = int(rng.integers(1, 6))
    e = evident.evidence(rng, rows, 12, int(rng.integers(2, 6)), 12)
    stake = rng.integers(0, 9, rows)
    p = Params(audit_tolerance=int(rng.integers(1, 60)), audit_penalty=int(rng.integers(0, 65_536)))
    f = found(audits(e, stake), p.audit_tolerance, p.audit_penalty)
    tasks = peer_oracle.counted(e, stake.tolist())
    for row in range(rows):
        off = Fraction(int(f.gain[row]), AUDIT) - peer_oracle.gain(tasks, row, p)
        # Each of the strata is rounded down; the penalty is, so the gain is not below by more than that.
        assert -Fraction(STRATA, AUDIT) <= off <= Fraction(len(tasks), AUDIT)
        assert (int(f.said[row]), int(f.wrong[row])) == peer_oracle.wrong(tasks, row, p)


@given(st.integers(0, 10**6), st.integers(0, 29))
def test_who_stays_near_what_all_knew_gains_nothing(seed: int, off: int) -> None:
    """However fresh or stale the source and however fine: it never tells news."""
    rng = Stream(seed)
    e = evident.evidence(rng, 5, 12, 5, 12)
    stake = ints(9, 9, 9, 9, 0)
    reports = e.reports.copy()
    for epoch in range(1, 5):
        before = {int(c): t for t, c in enumerate(e.columns[epoch - 1]) if c >= 0}
        for t, column in enumerate(e.columns[epoch].tolist()):
            if column in before:
                prior = peer_oracle.middle(e.reports[epoch - 1, :, before[column]].tolist(), [9, 9, 9, 9, 0])
                reports[epoch, 4, t] = min(99, prior + off) if prior >= 0 else -1
    f = found(audits(replace(e, reports=reports), stake), 30, 10_923)
    assert int(f.gain[4]) == 0


def alternating(length: int, tasks: int) -> tuple[Int8, Int8]:
    """Labels that turn half of the columns over in each epoch; one row sees it, and one inverts it."""
    labels = np.zeros((length, tasks), dtype=np.int8)
    labels[1::2, ::2] = 99
    return np.stack([labels, 99 - labels], axis=1), labels


def test_no_overflow_in_the_largest_window() -> None:
    """63 epochs of 4,096 audits: what Python's integers give, and within the declared format."""
    reports, labels = alternating(MAX_EPOCHS, MAX_TASKS)
    columns = np.broadcast_to(np.arange(MAX_TASKS, dtype=np.int64), labels.shape)
    e = Evidence(reports=reports, labels=labels, columns=columns)
    n = (MAX_EPOCHS - 1) * MAX_TASKS
    assert n < MOST
    f = found(audits(e, ints(2, 1)), 1, 65_535)
    # Priors are 0 (the lower half of places) and 99: turning columns give up and down, the others nothing new.
    up = sum(labels[e + 1, 0] > labels[e, 0] for e in range(MAX_EPOCHS - 1)) * (MAX_TASKS // 2)
    down = n // 2 - up
    low, high = n - down, down
    chance = (up**2 + (low - up) ** 2, down**2)
    assert int(f.gain[0]) == ((low * low - chance[0]) * AUDIT) // (low - 1) + ((high * high - chance[1]) * AUDIT) // (
        high - 1
    )
    assert f.said.tolist() == [n, n]
    assert f.wrong.tolist() == [0, n]
    assert int(np.abs(f.gain).max()) <= MOST_GAIN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reports": np.full((2, 1, 2), 100, dtype=np.int8)}, "the answer 100"),
        ({"labels": np.full((2, 2), 126, dtype=np.int8)}, "the answer 126"),
        ({"columns": np.full((2, 2), 3, dtype=np.int64)}, "two tasks on a column"),
    ],
)
def test_evidence_that_is_not_of_places_is_refused(change: dict[str, np.ndarray], message: str) -> None:
    e = told([[[1, 2]]] * 2, [[3, 4]] * 2)
    admit(e)
    admit(replace(e, columns=np.full((2, 2), -1, dtype=np.int64)))
    with pytest.raises(BadInput, match=message):
        admit(replace(e, **change))
