"""Front-running, moved stake, caches and lateness: each does what its story says."""

from typing import NamedTuple

import numpy as np
import pytest

from davy.incentive.consensus import minority, weighted_median
from davy.incentive.fixed_point import row_normalise
from davy.protocol.errors import TxCode
from davy.protocol.transaction import CommitWeights, RevealWeights
from davy.protocol.words import TOKEN
from davy.sims import Scenario, scenario
from davy.sims.attack import scaled
from davy.sims.attacks.presence import Timing
from davy.sims.holding import Holding
from davy.sims.noise import UNIT
from davy.sims.play import Play
from davy.validators.examiner import Pace
from tests.ledger.rules.world import market
from tests.sims.stage import median, played, shares, watched


def few(name: str, **more: object) -> Scenario:
    changes = {"runs": 3, "epochs": 16, "watch": False} | {k.replace("__", "."): v for k, v in more.items()}
    return scenario(name).having(changes)


# front-running


def test_a_commit_may_follow_the_reveals_of_its_epoch_and_no_other_s_commitment_can_be_opened() -> None:
    """The live ledger: ann reveals, ben commits what he saw, in the last block; her commitment as his own is void."""
    w = market()
    row = w.row({"cat-hot": 3, "dan-hot": 1})
    first = w.commit("ann-hot", row)
    stolen = w.commitment("ann-hot", row, first)
    w.ok("ben-hot", CommitWeights(1, first, stolen))
    w.end_epoch()
    w.reveal("ann-hot", row, first)
    w.refused(TxCode.MISMATCH, "ben-hot", RevealWeights(1, first, row, bytes(32)))
    while w.subnet().next_epoch_at - w.machine.height > 1:
        w.block()
    epoch = w.subnet().epoch
    w.ok("ben-hot", CommitWeights(1, epoch, w.commitment("ben-hot", row, epoch)))
    assert w.subnet().epoch == epoch + 1
    w.reveal("ben-hot", row, epoch)


def test_who_waits_longer_copies_what_is_fresher() -> None:
    seen = {waited: watched(few("front-running-reveals", attack__waited=waited)) for waited in (0.0, 0.5, 1.0)}
    # What was committed in an epoch is in force in the next one: hold it against the honest rows of both epochs.
    apart: dict[float, tuple[float, float]] = {}
    for waited, s in seen.items():
        fresh, old = (
            np.abs(shares(s.theirs[3:]).mean(axis=2) - shares(s.honest[3 - lag : -lag]).mean(axis=2)).sum(axis=-1)
            for lag in (1, 2)
        )
        apart[waited] = (float(fresh.mean()), float(old.mean()))
    assert apart[1.0][0] < apart[1.0][1]
    assert apart[0.0][0] > apart[0.0][1]
    assert apart[1.0][0] < apart[0.5][0] < apart[0.0][0]


def test_running_ahead_is_worth_less_than_an_epoch_of_freshness() -> None:
    ahead, copy, stale = (
        median(few(name, market__concealment=1, **more), "relative_pay")
        for name, more in (
            ("front-running-reveals", {}),
            ("weight-copying", {}),
            ("weight-copying", {"attack__lag": 1}),
        )
    )
    assert stale <= ahead <= copy


# moved stake


def test_moved_stake_counts_at_once_by_a_snapshot_and_not_on_the_ledger() -> None:
    for rule in ("snapshot", "least-held"):
        s = few("stake-grinding", attack__rule=rule)
        p = watched(s).play
        whole, theirs = p.world.stake[:, s.seats.their_rows].sum(axis=1), p.stake[1, :, s.seats.their_rows]
        assert theirs.shape == (3, 4)
        if rule == "snapshot":
            assert theirs.sum(axis=1).tolist() == whole.tolist()
            assert (theirs.max(axis=1) > 0.99 * whole).all()
        else:
            assert (theirs.sum(axis=1) <= whole).all()
        assert np.array_equal(p.stake[0], p.world.stake)


def test_moving_pays_where_a_snapshot_counts_and_costs_where_the_least_held_does() -> None:
    snapshot, davy = (
        median(few("stake-grinding", attack__rule=rule), "relative_pay") for rule in ("snapshot", "least-held")
    )
    assert snapshot > 1.001
    assert davy < min(0.99, snapshot - 0.02)


def test_an_owner_s_own_stake_moves_once_and_a_delegator_s_as_it_likes() -> None:
    owner, delegator = (Holding([10 * TOKEN, TOKEN], tempo=360, delegated=d) for d in (False, True))
    for held, again in ((owner, False), (delegator, True)):
        assert held.move(0, 1, 5 * TOKEN, block=359)
        assert held.end_epoch() == [5 * TOKEN, TOKEN]
        assert held.move(1, 0, 5 * TOKEN, block=359) == again
    assert [h.held(0) for h in (owner, delegator)] == [5 * TOKEN, 10 * TOKEN]


# child keys


class Chosen(NamedTuple):
    """Of each epoch of the attack: whose row was nearest, and whose had the stake, [epochs, runs]."""

    nearest: np.ndarray
    holds: np.ndarray


def chosen(s: Scenario) -> Chosen:
    p = Play(s, range(s.runs))
    nearest, holds = [], []
    for t in range(s.start + s.epochs):
        p.epoch(t)
        if t < s.start:
            continue
        theirs, honest, force = s.seats.their_rows, s.seats.honest_rows, p.force.astype(np.int64)
        stake = p.world.stake[:, honest]
        median = weighted_median(row_normalise(force[1, :, honest]), stake, minority(stake.sum(axis=1), s.params.kappa))
        apart = np.abs(row_normalise(force[1, :, theirs]) - row_normalise(scaled(median))[:, None]).sum(axis=-1)
        nearest.append(apart.argmin(axis=1))
        counted = p.stake[1, :, theirs]
        assert counted.sum(axis=1).tolist() == p.world.stake[:, theirs].sum(axis=1).tolist(), "lent stake always votes"
        holds.append(counted.argmax(axis=1))
        assert (counted.max(axis=1) > 0.99 * counted.sum(axis=1)).all()
        assert (counted >= TOKEN).all(), "each keeps its permit"
    return Chosen(np.stack(nearest), np.stack(holds))


def test_a_child_votes_an_epoch_after_it_was_right_and_at_once_where_that_counts() -> None:
    at_once, davy = (chosen(few("child-key-shuffling", attack__rule=rule)) for rule in ("at-once", "next-epoch"))
    assert np.array_equal(at_once.holds, at_once.nearest)
    assert np.array_equal(davy.holds[1:], davy.nearest[:-1])
    assert (davy.holds[0] == 0).all(), "nothing was lent in the epoch in which it was set"
    assert len(np.unique(davy.holds)) == 4
    seldom = chosen(few("child-key-shuffling", attack__every=5))
    assert np.array_equal(seldom.holds[[0, 4]], np.zeros((2, 3)))
    for first in (5, 10):  # each choice holds for five epochs
        assert (seldom.holds[first : first + 5] == seldom.nearest[first - 1]).all()


@pytest.mark.parametrize("rule", ["next-epoch", "at-once"])
def test_a_choice_of_children_costs_nothing_and_gains_next_to_nothing(rule: str) -> None:
    """One vote of four, whichever it is, is an honest one: bonds remember who measured well, and all of them did."""
    assert 1 < median(few("child-key-shuffling", attack__rule=rule), "relative_pay") < 1.02


# caches and lateness


def test_a_cache_is_worth_what_is_asked_twice() -> None:
    fresh, fixed = few("caching"), few("caching", attack__repeats=0.95)
    assert median(fresh, "relative_pay") < 0.4
    assert median(fixed, "relative_pay") > 0.9
    spent = [fixed.attack.spends(fixed.market, attacking=attacking) for attacking in (False, True)]
    assert spent[1] < 0.2 * spent[0]
    seen = watched(few("caching", epochs=1, market__noise=0, market__concealment=0, attack__repeats=0.5))
    theirs = seen.force[0, 1][..., seen.play.s.seats.their_columns]
    assert set(theirs.flat) == {round((0.2 + 0.6 * 0.5) * UNIT)}
    assert median(fixed, "quality_loss") > 0.03


def test_slowness_is_free_up_to_the_deadline_and_costly_beyond() -> None:
    within, beyond = few("timing"), few("timing", attack__batch=20)
    assert median(within, "relative_pay") > 0.98
    assert median(within, "quality_loss") > 0.01  # users wait in vain
    assert median(beyond, "relative_pay") < 0.4
    assert within.attack.spends(within.market, attacking=True) * 4 == within.attack.spends(
        within.market, attacking=False
    )
    assert isinstance(within.attack, Timing)
    assert within.attack.deadline_ms == Pace().deadline_ms
    assert within.attack.in_time(1_500, 1) == pytest.approx(0.5)
    assert within.attack.in_time(12_000, 4) == pytest.approx(0.958, abs=1e-3)  # Φ(ln 2 / .4)
    strict = few("timing", attack__deadline_ms=8_000)
    assert median(strict, "relative_pay") < 0.95
    assert played(strict).metrics["noticed"].shape == (3,)
