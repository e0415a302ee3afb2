"""Each attack by validators does what its story says, and comes to what the story promises."""

import numpy as np
import pytest

from davy.incentive.consensus import minority, weighted_median
from davy.incentive.fixed_point import row_normalise
from davy.ledger.rules.payment import unrevealed_cost
from davy.ledger.rules.records import NeuronRecord
from davy.sims import Scenario, scenario
from tests.sims.stage import Seen, median, shares, watched

FEW = {"runs": 4, "epochs": 8}
OPEN = {"market.concealment": 0}


def few(name: str, **more: object) -> Scenario:
    return scenario(name).having(FEW | {k.replace("__", "."): v for k, v in more.items()})


def settled(name: str, **more: object) -> Scenario:
    return few(name, epochs=30, runs=3, start=25, watch=False, **more)


# cartel


def test_a_cartel_gives_its_miners_what_it_agreed_on_and_the_others_what_it_measured() -> None:
    s = few("cartel", attack__favour=0.7, **{"market.concealment": 0})
    seen = watched(s)
    given = shares(seen.theirs)
    assert given[..., s.seats.their_columns].sum(axis=-1) == pytest.approx(0.7, abs=1e-3)
    assert np.ptp(given[..., s.seats.their_columns], axis=-1).max() < 1e-4
    honest = watched(s.having({"attack.favour": 0})).theirs[..., s.seats.honest_columns]
    assert shares(seen.theirs[..., s.seats.honest_columns]) == pytest.approx(shares(honest), abs=1e-3)


def test_a_cartel_below_the_median_loses_and_above_it_takes_what_miners_earn() -> None:
    minority, majority = (settled("cartel", attack__stake=stake) for stake in (0.3, 0.6))
    assert median(minority, "relative_pay") < 0.9
    assert median(minority, "roi") < 0
    assert median(majority, "relative_pay") > 1.3
    assert median(majority, "honest_loss") > 0.5
    assert median(majority, "griefing") == np.inf


def test_self_dealers_do_not_help_each_other() -> None:
    s = few("self-dealing", attack__favour=0.5, **OPEN)
    given = shares(watched(s).theirs)[..., s.seats.their_columns]
    own = np.diagonal(given, axis1=-2, axis2=-1)
    assert own == pytest.approx(0.5, abs=1e-3)
    others = given.sum(axis=-1) - own
    assert others.max() < 0.05
    # Agreement is what pays: with the same stake, the same miners and the same favour a cartel does better by far.
    alone = settled("self-dealing", attack__stake=0.6)
    together = settled("cartel", attack__stake=0.6, attack__miners=4, attack__favour=0.5)
    assert median(alone, "emission_share") < 0.8 * median(together, "emission_share")


# copying


def consensus_of_others(seen: Seen, at: int) -> np.ndarray:
    s = seen.play.s
    stake = seen.play.world.stake[:, s.seats.honest_rows]
    return weighted_median(row_normalise(seen.honest[at]), stake, minority(stake.sum(axis=1), s.params.kappa))


@pytest.mark.parametrize(("concealment", "lag"), [(0, 0), (0, 2), (1, 0), (2, 1)])
def test_a_copier_gives_the_consensus_that_it_could_see(concealment: int, lag: int) -> None:
    seen = watched(few("weight-copying", attack__lag=lag, market__concealment=concealment))
    for epoch in range(concealment + lag, 8):
        # In force now: committed `concealment` epochs ago, from rows that had been in force `lag` epochs by then.
        wanted = consensus_of_others(seen, epoch - concealment - lag)[:, None, :]
        if epoch >= 2 * concealment + lag:
            assert shares(seen.theirs[epoch]) == pytest.approx(shares(np.repeat(wanted, 2, axis=1)), abs=1e-3)


def test_an_average_is_by_stake() -> None:
    seen = watched(few("weight-copying", attack__source="average", **OPEN))
    s = seen.play.s
    stake = seen.play.world.stake[:, s.seats.honest_rows]
    mean = (stake[..., None] * shares(seen.honest[3])).sum(axis=1) / stake.sum(axis=1)[:, None]
    assert shares(seen.theirs[3]) == pytest.approx(np.repeat(mean[:, None, :], 2, axis=1), abs=1e-3)


@pytest.mark.parametrize("source", ["consensus", "average"])
def test_fresh_copying_pays_better_than_work_and_stale_copying_does_not(source: str) -> None:
    fresh, stale = (settled("weight-copying", attack__source=source, attack__lag=lag) for lag in (0, 10))
    assert median(fresh, "relative_pay") > 1.03
    assert median(stale, "relative_pay") < 1
    assert median(fresh, "cost") == 0  # it saves the measuring


def test_a_copier_s_dividend_falls_with_the_concealment_interval() -> None:
    pay = [median(settled("weight-copying", market__concealment=c), "relative_pay") for c in (0, 1, 4, 12)]
    assert pay == sorted(pay, reverse=True)
    assert pay[0] > 1.05
    assert pay[0] - pay[3] > 0.05
    assert pay[3] < 1


def test_nothing_changes_for_a_copier_where_no_miner_does() -> None:
    """Without churn an old consensus is as good as a new one: concealment is no defence."""
    pay = [median(settled("weight-copying", market__churn=0, market__concealment=c), "relative_pay") for c in (1, 12)]
    assert pay[0] == pytest.approx(pay[1], abs=0.01)
    assert pay[1] > 1.02


# laziness


@pytest.mark.parametrize("row", ["uniform", "frozen"])
def test_a_constant_row_never_moves(row: str) -> None:
    seen = watched(few("lazy-constant", attack__row=row, **OPEN))
    assert (seen.theirs == seen.theirs[0]).all()
    assert (np.ptp(seen.theirs, axis=-1) == 0).all() == (row == "uniform")
    assert not (seen.honest == seen.honest[0]).all()


def test_random_rows_are_all_different() -> None:
    seen = watched(few("lazy-random", **OPEN))
    rows = seen.theirs.reshape(-1, seen.theirs.shape[-1])
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert shares(rows).mean(axis=0) == pytest.approx(1 / 64, rel=0.25)


def test_the_lazier_the_less() -> None:
    frozen, constant, random = (
        median(settled(name, **more), "relative_pay")
        for name, more in (("lazy-constant", {"attack__row": "frozen"}), ("lazy-constant", {}), ("lazy-random", {}))
    )
    assert random < constant < 1
    assert random < frozen < 1


@pytest.mark.parametrize("informed", [True, False])
def test_a_shared_row_is_the_same_for_all_and_new_each_epoch(informed: bool) -> None:
    seen = watched(few("shared-noise", attack__informed=informed, **OPEN))
    assert (seen.theirs == seen.theirs[:, :, :1]).all()
    assert len(np.unique(seen.theirs[:, 0, 0], axis=0)) == 8
    truth, theirs = shares(seen.honest).mean(axis=2), shares(seen.theirs[:, :, 0])
    related = [np.corrcoef(a, b)[0, 1] for a, b in zip(truth.reshape(-1, 64), theirs.reshape(-1, 64), strict=True)]
    assert (min(related) > 0.7) if informed else (max(np.abs(related)) < 0.5)


def test_agreeing_on_noise_pays_a_majority_and_not_a_minority() -> None:
    few_of_them, most = (settled("shared-noise", attack__stake=stake) for stake in (0.25, 0.6))
    assert median(few_of_them, "relative_pay") < 0.95
    # Bonds average fresh noise away, so that a majority gains little; what is bought by then is noise.
    assert median(most, "relative_pay") > 1.05
    assert median(most, "quality_loss") > 0.05


def test_one_measurement_for_all_saves_the_others() -> None:
    s = settled("shared-noise", attack__informed=True)
    result = run_spent(s)
    assert result == (6 * 10**8, 10**8)
    assert median(s, "relative_pay") > 1


def run_spent(s: Scenario) -> tuple[int, int]:
    return s.attack.spends(s.market, attacking=False), s.attack.spends(s.market, attacking=True)


# griefing


def test_the_best_miners_get_nothing_from_the_under_weighers() -> None:
    s = few("under-weighing", attack__victims=5, **OPEN)
    seen = watched(s)
    best = np.argsort(-seen.play.world.quality, axis=1)
    assert ((seen.theirs == 0).sum(axis=-1) >= 5).all()
    assert (np.take_along_axis(seen.theirs[-1], best[:, None, :2], axis=-1) == 0).mean() > 0.7
    half = watched(s.having({"attack.given": 0.5}))
    kept = seen.theirs > 0
    assert np.array_equal(half.theirs[kept], seen.theirs[kept])
    assert (half.theirs[~kept] > 0).mean() > 0.9


def test_a_griefer_hurts_its_victims_and_pays_for_it() -> None:
    s = settled("under-weighing")
    factor, harm = median(s, "griefing"), median(s, "harm")
    assert 1 < factor < np.inf
    assert harm > median(s, "cost")
    assert median(s, "relative_pay") < 0.97
    # What one miner loses the others get: without counting that as comfort there is no loss at all.
    assert median(s, "honest_loss") < 0.01


def test_a_commit_is_opened_only_where_it_turned_out_well() -> None:
    s = few("commit-without-reveal", attack__apart=0.06, epochs=20)
    seen = watched(s)
    kept_back = (seen.theirs[1:] == seen.theirs[:-1]).all(axis=-1)
    assert 0 < kept_back.mean() < 1
    always, never = s.having({"attack.apart": 1}), s.having({"attack.apart": 0})
    assert not (watched(always).theirs[1:] == watched(always).theirs[:-1]).all(axis=-1).any()
    assert (watched(never).theirs[2:] == watched(never).theirs[1:-1]).all()


def test_what_is_not_opened_costs_what_the_ledger_takes() -> None:
    s = few("commit-without-reveal", attack__apart=0)
    half = 32_768
    free, fined = (watched(s.having({"market.unrevealed_penalty": p})) for p in (0, half))
    neuron = NeuronRecord(b"h", b"c", 1, (), b"s", 1, 0)
    first = 0  # the first commit of the attack is due as it starts to count
    for run in range(s.runs):
        dividends = int(free.numbers[first, 1, run, 0])
        lost = dividends - int(fined.numbers[first, 1, run, 0])
        assert abs(lost - unrevealed_cost(neuron, dividends, half)) <= 1  # two validators, each rounded down
        assert int(fined.numbers[first, 1, run, 5]) == lost


def test_the_option_pays_only_where_it_is_free() -> None:
    free, fined = (settled("commit-without-reveal", market__unrevealed_penalty=p) for p in (0, 65_535))
    assert median(free, "relative_pay") > 1
    assert median(fined, "relative_pay") < 0.8
