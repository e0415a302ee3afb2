"""Verdicts from gaps, and thresholds from measurements."""

import msgspec
import numpy as np
import pytest

from davy.protocol.errors import Malformed
from davy.tasks.answer import Answer, Position
from davy.tasks.identity import (
    ALARMS,
    EXAMINED,
    Calibration,
    Verdict,
    gap,
    read_calibration,
    threshold_between,
    upper_bound,
    verdict,
)

CALIBRATION = Calibration("m", "00", "float32", 0.01, 0.1, 0.01, 0.01, ())


def test_a_gap_is_the_median_over_all_listed_tokens() -> None:
    rerun = np.log(np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]))
    answer = Answer(
        (
            Position(0, np.array([0, 2]), np.log([0.5, 0.2]) + 0.1),
            Position(2, np.array([2, 1, 0]), np.log([0.7, 0.2, 0.1]) - 0.3),
        )
    )
    assert gap(answer, rerun) == pytest.approx(0.3)
    assert gap(Answer((answer.positions[0],)), rerun[:1]) == pytest.approx(0.1)


def test_two_alarms_are_a_verdict_whatever_the_others_show() -> None:
    assert verdict([0.001] * EXAMINED, CALIBRATION) is Verdict.SAME
    assert verdict([0.001] * (EXAMINED - 1), CALIBRATION) is Verdict.UNKNOWN
    assert verdict([0.001] * 30 + [0.5], CALIBRATION) is Verdict.SAME
    # One alarm is chance, the second ends a miner's pay: written as numbers, so that another constant fails here.
    assert verdict([0.001] * 30 + [0.5] * 2, CALIBRATION) is Verdict.DIFFERENT
    assert verdict([0.5] * 2, CALIBRATION) is Verdict.DIFFERENT
    assert (verdict([0.5], CALIBRATION), ALARMS) == (Verdict.UNKNOWN, 2)
    assert verdict([], CALIBRATION) is Verdict.UNKNOWN


def test_the_upper_bound_is_clopper_and_pearsons() -> None:
    assert upper_bound(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100))
    assert upper_bound(3, 50) == pytest.approx(0.14778, abs=2e-4)
    assert upper_bound(7, 7) == 1.0


def test_the_threshold_misjudges_fewest() -> None:
    assert threshold_between([1e-6, 1e-5], [1e-1, 1.0]) == pytest.approx(1e-3)
    rng = np.random.default_rng(1)
    h, d = rng.lognormal(0, 1, 400), rng.lognormal(2, 1, 400)
    t = threshold_between(h, d)
    wrong = (h > t).sum() + (d <= t).sum()
    assert all((h > x).sum() + (d <= x).sum() >= wrong for x in np.geomspace(0.05, 50, 300))


def test_a_calibration_is_read_strictly() -> None:
    raw = msgspec.json.encode(CALIBRATION)
    assert read_calibration(raw) == CALIBRATION
    for bad in (b"", b"[]", raw.replace(b'"threshold":0.01', b'"threshold":"low"'), raw[:-1] + b',"more":1}'):
        with pytest.raises(Malformed):
            read_calibration(bad)
