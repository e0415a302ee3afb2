"""The metrics of numbers worked out by hand, and the test of who would be noticed."""

import math

import numpy as np
import pytest

from davy.incentive.fixed_point import ONE, U16, row_normalise
from davy.sims import scenario
from davy.sims.metrics import METRICS, metrics
from davy.sims.middle import middle
from davy.sims.noise import LEVELS, UNIT, Draws, Purpose, normal
from davy.sims.paying import lost
from davy.sims.play import ARMS, COLUMNS
from davy.sims.watch import CLIP, EQUAL_SHARES, Watch, apart, distances_by, kin, lower_median, outlying

T = 10**9


def numbers(**of: list[list[int]]) -> dict[str, np.ndarray]:
    """Tokens by `arm__name`; 0 where nothing is said."""
    shape = np.shape(next(iter(of.values())))
    empty = {f"{arm}.{name}": np.zeros(shape, dtype=np.int64) for arm in ARMS for name in COLUMNS}
    return empty | {k.replace("__", "."): np.array(v, dtype=np.int64) for k, v in of.items()}


def test_an_attack_worked_out_by_hand() -> None:
    """One run, two epochs. Honest: 20 of 100 and 4 spent; attacking: 30, 6 spent, 10 burned; others lose 12, gain 2."""
    s = scenario("cartel").having({"attack.stake": 0.25, "market.stake": 1000})
    m = metrics(
        s,
        numbers(
            honest__attack_validators=[[10 * T, 10 * T]],
            honest__honest_miners=[[40 * T, 40 * T]],
            attack__attack_validators=[[10 * T, 12 * T]],
            attack__attack_miners=[[4 * T, 4 * T]],
            attack__honest_miners=[[30 * T, 26 * T]],
            attack__honest_validators=[[6 * T, 8 * T]],
            honest__spent=[[2 * T, 2 * T]],
            attack__spent=[[3 * T, 3 * T]],
            attack__invested=[[10 * T, 0]],
            attack__hurt=[[5 * T, 7 * T]],
            honest__bought=[[100, 100]],
            attack__bought=[[90, 60]],
            attack__noticed=[[0, 3]],
            honest__noticed=[[0, 4]],
        ),
    )
    assert set(m) == set(METRICS)
    wanted = {
        "roi": ((30 - 6 - 10) - (20 - 4)) / (250 + 10),
        "relative_pay": 1.5,
        "relative_dividend": (22 / 0.25) / (14 / 0.75),
        "emission_share": 0.3,
        "honest_share": 0.2,
        "capital": 260,
        "cost": 12,
        "harm": 12,
        "honest_loss": 10 / 80,
        "griefing": 12 / 2,
        "quality_loss": 0.25,
        "noticed": 2,
        "alarms": 4 / 16,
    }
    assert {name: float(values[0]) for name, values in m.items()} == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("pay", "hurt", "factor"), [(20, 5, math.inf), (25, 5, math.inf), (10, 5, 0.5), (10, 0, 0.0), (25, 0, 0.0)]
)
def test_a_griefing_factor_needs_harm_and_a_loss(pay: int, hurt: int, factor: float) -> None:
    m = metrics(
        scenario("cartel"),
        numbers(honest__attack_miners=[[20 * T]], attack__attack_miners=[[pay * T]], attack__hurt=[[hurt * T]]),
    )
    assert m["griefing"].tolist() == [factor]


def test_what_cannot_be_said_is_not_a_number() -> None:
    m = metrics(scenario("sybils"), numbers(attack__attack_miners=[[1]]))
    unknown = ("relative_pay", "relative_dividend", "noticed", "quality_loss", "honest_loss")
    assert all(math.isnan(m[name][0]) for name in unknown)


def test_one_s_gain_is_no_comfort_for_another_one_s_loss() -> None:
    assert lost(np.array([[[5, 5, 5]], [[9, 4, 3]]])).tolist() == [3]


# who would be noticed


def rows(*values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_distances_are_total_variations() -> None:
    shares = rows([ONE, 0], [ONE // 2, ONE // 2], [0, ONE])
    assert apart(shares, shares[:1]).tolist() == [0, ONE // 2, ONE]
    assert kin(shares).tolist() == [ONE // 2] * 3
    assert kin(rows([ONE, 0], [0, ONE], [ONE, 0])).tolist() == [0, ONE, 0]


def test_an_outlier_is_measured_by_the_middle_of_the_others() -> None:
    z = outlying(rows([10, 20, 30, 40, 50]) * ONE // 1000)[0] / 256
    assert z == pytest.approx([-20 / 14.8, -10 / 14.8, 0, 10 / 14.8, 20 / 14.8], rel=0.01)
    assert outlying(rows([0, 0, 0, 0, ONE]))[0].tolist() == [0, 0, 0, 0, CLIP * 256]


def test_who_strays_is_noticed_the_sooner_the_further_and_the_honest_are_not() -> None:
    table, alarms = normal(0.1, 1.0, 0.0), 0.0
    first: dict[float, int] = {}
    for off in (0.15, 0.6):
        watch, draws = Watch(), Draws(1, range(8), Purpose.ATTACK)
        for epoch in range(80):
            force = draws.of(table, 2, 16, 40).swapaxes(0, 1)
            force[:, :, -1, ::2] += round(off * UNIT)
            seen = watch.see(force.astype(np.uint16))
            alarms = max(alarms, float(seen[..., :-1].mean()))
            if seen[..., -1].all():
                first.setdefault(off, epoch)
    assert alarms < 0.02
    assert first[0.6] <= 3
    assert first[0.6] < first[0.15] < 80


# chance


def test_normal_numbers_are_normal() -> None:
    table = normal(1.0) / UNIT
    assert len(table) == LEVELS
    assert table.mean() == pytest.approx(0, abs=1e-9)
    assert table.std() == pytest.approx(1, abs=1e-4)
    assert (np.abs(table) < 1.959964).mean() == pytest.approx(0.95, abs=1e-4)
    assert set(normal(0.0, 1.0).tolist()) == {UNIT}
    assert normal(1.0, 1.0, 0.0).min() == 0


def test_streams_of_runs_and_purposes_are_apart() -> None:
    whole = Draws(5, range(4), Purpose.SCORES).words(3, 5)
    assert np.array_equal(Draws(5, range(2, 4), Purpose.SCORES).words(3, 5), whole[2:])
    assert len({w.tobytes() for w in [*whole, *Draws(5, range(4), Purpose.ATTACK).words(3, 5)]}) == 8
    chance = Draws(5, range(4), Purpose.ENTRY).chance(0.25, 10_000).mean()
    assert chance == pytest.approx(0.25, abs=0.01)
    drawn = Draws(5, range(4), Purpose.ENTRY).below(10, 10_000)
    assert np.unique(drawn, return_counts=True)[1] / 40_000 == pytest.approx([0.1] * 10, abs=0.01)


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
def test_distances_are_the_same_in_one_pass(rows: int) -> None:
    rng = np.random.default_rng(rows)
    force, before = (rng.integers(0, U16 + 1, (2, 3, rows, 130)).astype(np.uint16) for _ in range(2))
    force[:, 1, -1], force[:, 2, 0], force[1, 1, 0] = 0, U16, force[1, 1, -1]
    now, then = (row_normalise(rng.integers(0, ONE, (2, 3, 130))) for _ in range(2))
    reference, found = (distances_by(compiled=c)(force, before, now, then) for c in (False, True))
    assert reference.shape == (4, 2, 3, rows)
    np.testing.assert_array_equal(reference, found, strict=True)


@pytest.mark.parametrize("rows", [1, 2, 3, 16, 17, 4096])
def test_the_watch_looks_at_the_lower_median(rows: int) -> None:
    force = np.random.default_rng(rows).integers(0, 9, (rows, 5)).astype(np.uint16)
    found = middle(compiled=False)(force, np.ones(rows, dtype=np.int64), EQUAL_SHARES)
    shares = row_normalise(force.astype(np.int64))
    assert np.array_equal(found, lower_median(shares, axis=0)[0])
