"""What a mechanism is told of each attack, and what mechanisms make of it: the same market, paid in different ways."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.incentive.evidence import Evidence
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params
from davy.incentive.places import places
from davy.incentive.registry import mechanism
from davy.sims import Scenario, run, scenario
from davy.sims.comparing import MEASURES, Compared, compare, kendall, table
from davy.sims.play import Play

FEW = {
    "runs": 2,
    "epochs": 6,
    "start": 9,
    "watch": False,
    "market.validators": 6,
    "market.miners": 12,
    "market.audits": 5,
}


def few(name: str, **more: object) -> Scenario:
    return scenario(name).having(FEW | {k.replace("__", "."): v for k, v in more.items()})


class Overheard:
    """A mechanism that keeps what it was told."""

    def __init__(self, name: str) -> None:
        self.rule = mechanism(name)
        self.heard: list[Evidence | None] = []

    def initial(self, shape: tuple[int, ...]) -> BondState:
        return self.rule.initial(shape)

    def epoch(self, s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
        self.heard.append(x.evidence)
        return self.rule.epoch(s, x, p)


def overheard(s: Scenario) -> tuple[list[Evidence], Play, list[np.ndarray]]:
    """Evidence, and the rows in force, of each epoch of a play."""
    p = Play(s, range(s.runs))
    p.mechanism = listener = Overheard(s.mechanism)
    force: list[np.ndarray] = []
    for t in range(s.start + s.epochs):
        p.epoch(t)
        force.append(p.force)
    return [e for e in listener.heard if e is not None], p, force[-len(listener.heard) :]


# the evidence


@pytest.mark.parametrize("name", ["audited", "correlated"])
@pytest.mark.parametrize("concealment", [0, 1, 3])
def test_reports_are_the_rows_and_labels_are_of_the_same_epoch(name: str, concealment: int) -> None:
    """Without any noise every honest row says what the audits find, however long rows are concealed."""
    s = few("lazy-random", mechanism=name, market__noise=0, market__audit_noise=0, market__concealment=concealment)
    heard, p, force = overheard(s.having({"market.churn": 0.5}))
    e = heard[-1]
    assert e.reports.shape == (2, 2, min(len(heard), 16), 6, 12)
    assert (e.reports[:, :, -1] == places(force[-1])).all()
    audited = e.labels >= 0
    assert (audited.sum(axis=-1) == 5).all()
    assert (audited[0] == audited[1]).all(), "auditors look at the same columns in both arms"
    rows = p.s.seats.honest_rows
    said = e.reports[:, :, :, rows]
    labels = np.broadcast_to(e.labels[:, :, :, None], said.shape)
    assert (said[labels >= 0] == labels[labels >= 0]).all()
    theirs = e.reports[1, :, :, p.s.seats.their_rows]
    wrong = theirs != np.broadcast_to(e.labels[1, :, :, None], theirs.shape)
    assert wrong[:, -6:][np.broadcast_to(audited[1, :, -6:, None], wrong[:, -6:].shape)].mean() > 0.8
    assert len({e.labels[0, 0, k].tobytes() for k in range(e.labels.shape[2])}) == e.labels.shape[2]


def test_who_does_not_reveal_says_nothing() -> None:
    heard, p, _ = overheard(few("commit-without-reveal", mechanism="audited", attack__apart=0))
    theirs = heard[-1].reports[1, :, -6:, p.s.seats.their_rows]
    assert (theirs == -1).all()
    assert (heard[-1].reports[0] >= 0).all()


def test_auditors_know_what_validators_know_of_copies() -> None:
    """Sybils are paid as one miner by all who look, so an audit that called them good would call everybody a liar."""
    heard, p, _ = overheard(
        few("sybils", mechanism="audited", market__noise=0, market__audit_noise=0, attack__miners=4)
    )
    e = heard[-1]
    said = e.reports[1, :, -6:]
    labels = np.broadcast_to(e.labels[1, :, -6:, None], said.shape)
    assert (said[labels >= 0] == labels[labels >= 0]).all()
    assert labels[..., p.s.seats.their_columns].max() < 50


def test_a_mechanism_that_reads_none_is_told_none_and_moves_by_no_bit() -> None:
    s = few("cartel")
    assert overheard(s)[0] == []
    other = s.having({"market.audits": 0, "market.window": 3, "params.audit_tolerance": 5})
    assert (run(s).numbers == run(other).numbers).all()


def test_runs_with_evidence_are_the_same_in_chunks_of_any_size() -> None:
    s = few("cartel", mechanism="audited", runs=3)
    assert (run(s, chunk=1).numbers == run(s, chunk=3).numbers).all()
    assert (run(s).numbers != run(s.having({"market.audits": 4})).numbers).any()


# the measures


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=9))
def test_kendall_counts_pairs(pairs: list[tuple[int, int]]) -> None:
    x, y = (np.array(v, dtype=np.int64) for v in zip(*pairs, strict=True))
    found = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i in range(len(pairs)) for j in range(i + 1, len(pairs))]
    untied = np.sqrt(float(sum(a != 0 for a, _ in found) * sum(b != 0 for _, b in found)))
    expected = sum(int(a * b) for a, b in found) / untied if untied else 0.0
    assert float(kendall(x, y)) == pytest.approx(expected)
    assert float(kendall(x, x)) in (0.0, 1.0)


@lru_cache(maxsize=64)
def compared(name: str, **more: object) -> dict[str, Compared]:
    changes = {k.replace("__", "."): v for k, v in more.items()}
    s = scenario(name).having({"runs": 3, "watch": False, **changes})
    return {c.scenario.mechanism: c for c in compare(s, ("yuma3", "audited"))}


def mean(c: Compared, measure: str) -> float:
    return float(c.measures[measure].mean())


def test_with_everybody_honest_audits_change_no_ranking() -> None:
    found = compared("honest")
    assert mean(found["audited"], "validators") == 1
    assert abs(mean(found["audited"], "tau_gain")) < 0.001
    assert mean(found["yuma3"], "unevenness") < 0.02 < mean(found["audited"], "unevenness") < 0.25


SETTLED = {
    "lazy-constant": {},
    "lazy-random": {},
    "cartel": {},
    "weight-copying": {"market__concealment": 1},
    "shared-noise": {"attack__stake": 0.6},
}


@pytest.mark.parametrize("name", SETTLED)
def test_who_does_not_look_gets_a_tenth_and_ranks_no_worse(name: str) -> None:
    found = compared(name, **SETTLED[name])
    assert mean(found["audited"], "validators_settled") < 0.1 < mean(found["yuma3"], "validators_settled")
    assert mean(found["audited"], "tau_gain") > -0.002


def test_fresh_copies_are_paid_like_work() -> None:
    """With open weights a copy tells the same news in the same epoch: audits are no defence, commits are."""
    assert mean(compared("weight-copying")["audited"], "validators") > 1


def test_without_churn_there_is_no_news_and_pay_is_yuma_s() -> None:
    found = compared("weight-copying", market__concealment=1, market__churn=0)
    yuma, audited = (found[name].measures["validators"] for name in ("yuma3", "audited"))
    assert audited == pytest.approx(yuma, abs=0.01)


def test_a_table_has_every_measure_with_its_error() -> None:
    found = table(list(compared("cartel").values()))
    assert found["mechanism"].to_list() == ["yuma3", "audited"]
    for name in MEASURES:
        assert found[name].is_not_nan().all()
        assert (found[f"{name}_error"] >= 0).all()
    assert found["attack.stake"].to_list() == [0.4, 0.4]
    assert found["tau_gain"][0] == 0
