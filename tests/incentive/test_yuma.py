"""Whole epochs on numbers small enough to work by hand, and the differences between the two Yumas."""

import numpy as np
import pytest

from davy.incentive.agreement import agree
from davy.incentive.fixed_point import ONE, U16, BondFormat
from davy.incentive.mechanism import BondState, EpochInputs, Params
from davy.incentive.registry import mechanism
from tests.incentive.epochs import ints, replace, share


def epoch_of_the_docs() -> EpochInputs:
    """Three validators with stake 5, 3, 2 and two miners; the smallest one sees it differently."""
    return EpochInputs.unmasked(np.array([[3, 1], [3, 1], [1, 3]]), ints(5, 3, 2))


def test_agreement_by_hand() -> None:
    """W = (¾ ¼), (¾ ¼), (¼ ¾); the median is ¾ and ¼; the third is clipped to (¼ ¼); R = ⅘·¾ + ⅕·¼ = .65 and ¼."""
    a = agree(epoch_of_the_docs(), Params())
    assert a.S.tolist() == [ONE // 2, share(0.3), share(0.2)]
    assert a.W.tolist() == [[share(0.75), share(0.25)], [share(0.75), share(0.25)], [share(0.25), share(0.75)]]
    assert a.C.tolist() == [share(0.75), share(0.25)]
    assert a.W_clipped.tolist() == [[share(0.75), share(0.25)], [share(0.75), share(0.25)], [share(0.25), share(0.25)]]
    assert [round(r / ONE**2, 8) for r in a.R.tolist()] == [0.65, 0.25]
    assert [round(i / ONE, 8) for i in a.I.tolist()] == [round(0.65 / 0.9, 8), round(0.25 / 0.9, 8)]
    assert a.W_bonds.tolist() == a.W_clipped.tolist()


def test_yuma3_by_hand() -> None:
    """B = .1·W_b; colnorm(B) = (3/7, ⅓), (3/7, ⅓), (1/7, ⅓); B·I; times stake; normalised."""
    chosen = mechanism("yuma3")
    state, result = chosen.epoch(chosen.initial((3, 2)), epoch_of_the_docs(), Params())
    assert [[round(b / ONE, 8) for b in row] for row in state.bonds.tolist()] == [[0.075, 0.025]] * 2 + [[0.025] * 2]
    incentive = np.array([0.65, 0.25]) / 0.9
    paid = np.array([0.5, 0.3, 0.2]) * (np.array([[3, 7 / 3], [3, 7 / 3], [1, 7 / 3]]) / 7 @ incentive)
    assert np.abs(result.dividends / ONE - paid / paid.sum()).max() < 1e-8
    assert [round(t / ONE, 8) for t in result.validator_trust.tolist()] == [1, 1, 0.5]


def test_yuma3_bonds_near_their_goal_and_are_free_of_stake() -> None:
    chosen, p = mechanism("yuma3"), Params()
    x = epoch_of_the_docs()
    state = chosen.initial((3, 2))
    for n in range(1, 6):
        state, _ = chosen.epoch(state, x, p)
        assert abs(int(state.bonds[0, 0]) / ONE - 0.75 * (1 - 0.9**n)) < 1e-8
    richer, _ = chosen.epoch(chosen.initial((3, 2)), replace(x, stake=ints(50, 30, 20)), p)
    first, _ = chosen.epoch(chosen.initial((3, 2)), x, p)
    assert richer.bonds.tolist() == first.bonds.tolist()


def test_yuma2_by_hand() -> None:
    """ΔB = colnorm(W_b∘S): (.375 .225 .05)/.65 and (½ .3 .2); without earlier bonds B = ΔB, stored by the largest."""
    chosen = mechanism("yuma2")
    p = Params(bond_format=BondFormat.U16)
    state, result = chosen.epoch(chosen.initial((3, 2)), epoch_of_the_docs(), p)
    assert state.bonds.tolist() == [[U16, U16], [39_321, 39_321], [8_738, 26_214]]
    incentive = np.array([0.65, 0.25]) / 0.9
    paid = np.array([[0.375 / 0.65, 0.5], [0.225 / 0.65, 0.3], [0.05 / 0.65, 0.2]]) @ incentive
    assert np.abs(result.dividends / ONE - paid).max() < 1e-8


def test_yuma2_keeps_the_bonds_of_a_column_that_nobody_buys_into() -> None:
    chosen = mechanism("yuma2")
    p = Params(bond_format=BondFormat.U16)
    x = EpochInputs.unmasked(np.array([[1, 0], [1, 0], [1, 0]]), ints(8, 1, 1))
    state = BondState(np.array([[1, U16], [1, 8_191], [1, 12_603]]))
    for _ in range(100):
        state, _ = chosen.epoch(state, x, p)
    assert state.bonds[:, 1].tolist() == [U16, 8_191, 12_603]


def test_yuma2_knows_no_liquid_alpha() -> None:
    chosen, x = mechanism("yuma2"), epoch_of_the_docs()
    state = BondState(np.array([[ONE, 5], [7, ONE], [9, 9]]))
    fixed, _ = chosen.epoch(state, x, Params())
    liquid, _ = chosen.epoch(state, x, Params(liquid_alpha=True))
    assert fixed.bonds.tolist() == liquid.bonds.tolist()


def test_liquid_alpha_without_any_consensus_is_the_fixed_one() -> None:
    chosen = mechanism("yuma3")
    x = EpochInputs.unmasked(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]]), ints(1, 1, 1))
    state = BondState(np.full((3, 3), ONE // 2))
    fixed, result = chosen.epoch(state, x, Params())
    assert not result.consensus.any()
    liquid, _ = chosen.epoch(state, x, Params(liquid_alpha=True))
    assert liquid.bonds.tolist() == fixed.bonds.tolist()


def test_the_bond_penalty_decides_whether_weight_above_consensus_buys_bonds() -> None:
    chosen, x = mechanism("yuma3"), epoch_of_the_docs()
    bought = {
        penalty: int(chosen.epoch(chosen.initial((3, 2)), x, Params(bond_penalty=penalty))[0].bonds[2, 1])
        for penalty in (0, U16)
    }
    assert abs(bought[0] / ONE - 0.075) < 1e-8
    assert abs(bought[U16] / ONE - 0.025) < 1e-8


@pytest.mark.parametrize("name", ["yuma2", "yuma3"])
def test_a_stranger_to_the_permits_neither_votes_nor_is_paid(name: str) -> None:
    chosen, x = mechanism(name), epoch_of_the_docs()
    alone = replace(x, permits=np.array([False, False, True]))
    _, result = chosen.epoch(chosen.initial((3, 2)), alone, Params())
    assert result.active_stake.tolist() == [0, 0, ONE]
    assert result.consensus.tolist() == [share(0.25), share(0.75)]
    assert result.dividends.tolist() == [0, 0, ONE]
    assert result.permits.tolist() == [True, True, True]


@pytest.mark.parametrize("name", ["yuma2", "yuma3"])
def test_an_idle_validator_loses_its_vote_and_not_its_weights(name: str) -> None:
    chosen, x = mechanism(name), epoch_of_the_docs()
    idle = replace(x, last_update=ints(10_000, 10_000, 4_999), now=np.asarray(10_000), previous_epoch=np.asarray(9_640))
    state, result = chosen.epoch(chosen.initial((3, 2)), idle, Params())
    assert result.active_stake.tolist() == [share(0.625), share(0.375), 0]
    assert result.dividends[2] == 0
    assert abs(int(state.bonds[2, 0]) - (share(0.025) if name == "yuma3" else 0)) <= 1


def test_registering_anew_drops_a_miners_bonds_and_its_old_weights() -> None:
    chosen, x = mechanism("yuma3"), epoch_of_the_docs()
    state, _ = chosen.epoch(chosen.initial((3, 2)), x, Params())
    later = replace(x, now=np.asarray(362), previous_epoch=np.asarray(2), registered_at=ints(0, 100))
    state, result = chosen.epoch(state, later, Params())
    assert not state.bonds[:, 1].any()
    assert result.incentive.tolist() == [ONE, 0]
    assert result.consensus.tolist() == [ONE, 0]


def test_losing_the_permit_loses_the_bonds_after_they_were_paid_for() -> None:
    chosen, x = mechanism("yuma3"), epoch_of_the_docs()
    state, result = chosen.epoch(chosen.initial((3, 2)), x, Params(max_validators=2))
    assert result.permits.tolist() == [True, True, False]
    assert result.dividends[2] > 0
    assert state.bonds[2].tolist() == [0, 0]
    assert state.bonds[:2].all()
