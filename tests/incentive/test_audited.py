"""Gates on votes and pay: by hand, against exact fractions, and what they must leave alone."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davy.incentive import chunks, masks
from davy.incentive.audited import Audited, Gates, gated, gates, reference
from davy.incentive.door import BadInput
from davy.incentive.evidence import Evidence
from davy.incentive.fixed_point import MAX_TOTAL_STAKE, ONE, U16, Int64
from davy.incentive.mechanism import BondState, EpochInputs, Params
from davy.incentive.news import GAIN_BITS, MOST_GAIN, Found, admit, audits, found
from davy.incentive.registry import mechanism
from tests.incentive import epochs, evident, oracle, peer_oracle
from tests.incentive.epochs import Stream, arrays, ints, replace

AUDIT = 1 << GAIN_BITS
PLAIN = Params(
    audit_low=U16 // 5, audit_high=3 * (U16 // 5), audit_wrong=U16 // 5, audit_lost=2 * (U16 // 5), audit_floor=0,
    audit_enough=1,
)  # fmt: skip
"""65535 is five times 13107: the thresholds are exact fifths."""


def told(gain: list[int], wrong: list[int] | None = None) -> Found:
    """Of rows that said something on ten audits."""
    return Found(ints(*gain) * AUDIT, ints(*[10] * len(gain)), ints(*(wrong or [0] * len(gain))))


def shares(values: Int64) -> list[float]:
    return [round(v / ONE, 4) for v in values.tolist()]


# the reference and the gates


@pytest.mark.parametrize(
    ("gain", "stake", "expected"),
    [
        ([9, 5, 1], [1, 1, 2], 9),  # a quarter has 9
        ([9, 5, 1], [1, 1, 3], 5),
        ([9, 5, 1], [0, 1, 3], 5),
        ([9, 1, 1], [1, 50, 49], 1),
        ([-3, -1], [1, 1], 0),
        ([7], [1], 7),
        ([7, 7], [0, 0], 0),
    ],
)
def test_the_reference_is_what_a_quarter_of_the_stake_reaches(gain: list[int], stake: list[int], expected: int) -> None:
    assert int(reference(ints(*gain), ints(*stake))) == expected


def test_pay_opens_between_two_parts_of_the_reference() -> None:
    g = gates(told([10, 6, 5, 4, 2, 0, -9]), ints(*[1] * 7), replace(PLAIN, audit_enough=2))
    assert int(reference(ints(10, 6, 5, 4, 2, 0, -9), ints(*[1] * 7))) == 6
    g = gates(told([10, 6, 5, 4, 2, 0, -9]), ints(8, 1, 1, 1, 1, 1, 1), PLAIN)
    assert shares(g.pay) == [1, 1, 0.75, 0.5, 0, 0, 0]
    assert shares(g.vote) == [1] * 7


def test_votes_close_by_what_was_wrong_alone() -> None:
    g = gates(told([10] * 5, [0, 2, 3, 4, 9]), ints(*[1] * 5), PLAIN)
    assert shares(g.vote) == [1, 1, 0.5, 0, 0]
    assert shares(g.pay) == [1] * 5


def test_gates_do_not_close_below_the_floor_nor_where_little_was_seen() -> None:
    f, stake = told([10, 0], [0, 9]), ints(1, 1)
    floored = gates(f, stake, replace(PLAIN, audit_floor=U16 // 5))
    assert shares(floored.pay) == shares(floored.vote) == [1, 0.2]
    half = gates(f, stake, replace(PLAIN, audit_enough=20))
    assert shares(half.pay) == shares(half.vote) == [1, 0.5]
    nobody = gates(told([0, -5], [9, 9]), stake, PLAIN)
    assert shares(nobody.pay) == shares(nobody.vote) == [1, 1]


def test_gains_beyond_their_format_are_refused() -> None:
    f = Found(ints(MOST_GAIN, -MOST_GAIN), ints(1, 1), ints(0, 1))
    assert shares(gates(f, ints(1, 1), PLAIN).pay) == [1, 0]
    with pytest.raises(BadInput, match="a gain is beyond"):
        gates(f._replace(gain=f.gain + 1), ints(1, 1), PLAIN)


@given(st.integers(0, MAX_TOTAL_STAKE), st.integers(0, ONE))
def test_a_gate_takes_its_part_to_the_unit(stake: int, gate: int) -> None:
    assert int(gated(ints(stake), ints(gate))[0]) == stake * gate // ONE


def voting(x: EpochInputs, p: Params) -> Int64:
    stake = masks.above_threshold(x.stake, p.stake_threshold)
    return masks.active_stake(stake, masks.inactive(x.last_update, p.activity_cutoff, x.now), x.permits)


def gates_of(x: EpochInputs, p: Params) -> Gates:
    assert x.evidence is not None
    stake = voting(x, p)
    return gates(found(audits(x.evidence, stake), p.audit_tolerance, p.audit_penalty), stake, p)


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_gates_are_those_of_the_formula(seed: int) -> None:
    """Within the rounding of a gain, in relation to the reference: eight units of 2^-20, over the width of a ramp."""
    _, x, _ = evident.epoch(seed, rows=5, columns=12)
    assert x.evidence is not None
    g, stake = gates_of(x, Params()), voting(x, Params())
    for row, (vote, pay) in enumerate(peer_oracle.gates(x.evidence, stake.tolist(), Params())):
        assert abs(Fraction(int(g.vote[row]), ONE) - vote) < Fraction(1, 10_000)
        assert abs(Fraction(int(g.pay[row]), ONE) - pay) < Fraction(1, 10_000)


# the epoch


def test_an_epoch_is_yuma_s_with_stake_behind_gates() -> None:
    """Against the oracle in float64: consensus by the stake that may vote, dividends by the stake that is paid."""
    closed = 0
    for seed in range(60):
        s, x, p = evident.epoch(seed)
        assert x.evidence is not None
        g, stake = gates_of(x, p), masks.above_threshold(x.stake, p.stake_threshold)
        closed += int((g.vote < ONE).any()) + int((g.pay < ONE).any())
        heard = oracle.solve("yuma3", s, replace(x, stake=gated(stake, g.vote)), replace(p, stake_threshold=0))
        state, result = Audited().epoch(s, x, p)
        np.testing.assert_allclose(result.consensus / ONE, heard.consensus, rtol=0, atol=2**-29)
        np.testing.assert_allclose(result.active_stake / ONE, heard.active_stake, rtol=0, atol=2**-28)
        np.testing.assert_allclose(result.incentive / ONE, np.where(x.halted, 0, heard.incentive), rtol=0, atol=1e-6)
        paid = oracle.unit_sum(gated(voting(x, p), g.pay).astype(np.float64))
        dividends = oracle.unit_sum(paid * (oracle.unit_columns(heard.bonds) @ heard.incentive))
        own = np.where(x.self_column >= 0, x.self_column, 0)
        dividends = np.where((x.self_column >= 0) & x.halted[own], 0, dividends)
        np.testing.assert_allclose(result.dividends / ONE, dividends, rtol=0, atol=1e-6)
        assert result.permits.tolist() == oracle.permitted(x, p), "by stake, whatever the gates"
        assert (state.bonds[~result.permits] == 0).all()
    assert closed > 30


def test_without_evidence_it_is_yuma_to_the_bit() -> None:
    """None, or of one epoch, or without an audit; and where nothing that all knew has changed."""
    plain = mechanism("yuma3")
    for seed in range(12):
        s, x, p = evident.epoch(seed)
        e = x.evidence
        assert e is not None
        one = Evidence(reports=e.reports[-1:], labels=e.labels[-1:], columns=e.columns[-1:])
        unaudited = replace(e, labels=np.full_like(e.labels, -1))
        still = replace(e, reports=np.full_like(e.reports, 40), labels=np.full_like(e.labels, 40))
        state, result = plain.epoch(s, replace(x, evidence=None), p)
        for evidence in (None, one, unaudited, still):
            moved, other = Audited().epoch(s, replace(x, evidence=evidence), p)
            assert (moved.bonds == state.bonds).all()
            for field, values in arrays(result).items():
                assert (arrays(other)[field] == values).all(), field


HONEST, COPIER, LIAR = 0, 4, 5


def watched(seed: int, liar: int) -> EpochInputs:
    """Six rows of 10 each but for a liar's stake; 24 miners, of which one in ten moves in an epoch.

    Four rows see places within ten, one repeats the epoch before, and the liar puts the last third, all of it poor,
    on top.
    """
    rng = Stream(seed)
    columns, length = 24, 17
    truth = np.zeros((length, columns), dtype=np.int64)
    truth[0] = rng.integers(0, 100, columns)
    for e in range(1, length):
        truth[e] = np.where(rng.chance(90, columns), truth[e - 1], rng.integers(0, 100, columns))
    truth[:, 16:] //= 2
    noise = rng.integers(-10, 11, (length, 6, columns))
    said = np.clip(truth[:, None] + noise, 0, 99)
    said[1:, COPIER] = truth[:-1]
    said[:, LIAR, 16:] = 99
    e = Evidence(
        reports=said.astype(np.int8),
        labels=np.where(rng.chance(60, truth.shape), truth, -1).astype(np.int8),
        columns=np.tile(np.arange(columns, dtype=np.int64), (length, 1)),
    )
    x = EpochInputs.unmasked(said[-1] + 1, ints(10, 10, 10, 10, 10, liar))
    return replace(x, evidence=e)


@pytest.mark.parametrize("seed", range(6))
def test_a_copier_votes_unpaid_and_a_liar_does_neither(seed: int) -> None:
    x = watched(seed, 20)
    _, result = Audited().epoch(BondState(np.zeros((6, 24), dtype=np.int64)), x, Params())
    g, floor = gates_of(x, Params()), round(Params().audit_floor / U16, 4)
    assert shares(g.pay)[COPIER] == shares(g.pay)[LIAR] == shares(g.vote)[LIAR] == floor
    assert shares(g.vote)[:5] == [1] * 5
    assert min(shares(g.pay)[:4]) > 0.9
    assert result.dividends[COPIER] < 0.03 * result.dividends[HONEST]
    assert result.active_stake[LIAR] < 0.05 * result.active_stake[HONEST]


@pytest.mark.parametrize("seed", range(6))
def test_a_liar_with_most_of_the_stake_is_muted_too(seed: int) -> None:
    """What it told the epoch before is the prior then, and the truth is news."""
    x = watched(seed, 60)
    s = BondState(np.zeros((6, 24), dtype=np.int64))
    _, plain = mechanism("yuma3").epoch(s, x, Params())
    _, result = Audited().epoch(s, x, Params())
    assert plain.active_stake[LIAR] > ONE // 2
    assert result.active_stake[LIAR] < ONE // 20
    assert result.dividends[LIAR] < ONE // 20
    assert result.incentive[16:].sum() < 0.8 * plain.incentive[16:].sum()


def batch_of(count: int) -> tuple[BondState, EpochInputs, list[EpochInputs]]:
    rng = Stream(5)
    runs = [epochs.inputs(rng, 5, 8, square=False) for _ in range(count)]
    runs = [replace(x, evidence=evident.evidence(rng, 5, 8, 5, 8)) for x in runs]
    return BondState(rng.integers(0, ONE + 1, (count, 5, 8))), evident.stack(runs), runs


@pytest.mark.parametrize("name", evident.READERS)
@pytest.mark.parametrize("elements", [1, 2 * 40, 1 << 15])
def test_a_batch_is_its_runs(name: str, elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    s, together, runs = batch_of(6)
    monkeypatch.setattr(chunks, "CHUNK_ELEMENTS", elements)
    state, result = mechanism(name).epoch(s, together, Params())
    shared = replace(epochs.stack(runs), evidence=runs[3].evidence)
    _, alike = mechanism(name).epoch(s, shared, Params())
    for i, x in enumerate(runs):
        moved, alone = mechanism(name).epoch(BondState(s.bonds[i]), x, Params())
        assert (moved.bonds == state.bonds[i]).all()
        for field, values in arrays(alone).items():
            assert (arrays(result)[field][i] == values).all(), field
            assert i != 3 or (arrays(alike)[field][i] == values).all(), field


@pytest.mark.parametrize("name", evident.READERS)
@settings(max_examples=40)
@given(seed=st.integers(0, 10**6))
def test_shares_sum_to_one_and_nothing_is_written_to(name: str, seed: int) -> None:
    s, x, p = evident.epoch(seed)
    e = x.evidence
    assert e is not None
    for array in [s.bonds, e.reports, e.labels, e.columns, *(getattr(x, field) for field in epochs.ARRAYS)]:
        array.flags.writeable = False
    _, result = mechanism(name).epoch(s, x, p)
    for field, values in arrays(result).items():
        assert values.dtype == (np.bool_ if field == "permits" else np.int64), field
        if values.dtype == np.int64 and field != "validator_trust":
            assert 0 <= values.min() <= values.max() <= ONE, field
    for part in ("incentive", "dividends", "fallback"):
        assert int(arrays(result)[part].sum() + arrays(result)[f"{part}_withheld"]) in (0, ONE)


@pytest.mark.parametrize("name", evident.READERS)
def test_evidence_that_is_no_places_is_refused(name: str) -> None:
    s, x, p = evident.epoch(3)
    assert x.evidence is not None
    admit(x.evidence)
    with pytest.raises(BadInput, match="answer 100"):
        mechanism(name).epoch(s, replace(x, evidence=replace(x.evidence, labels=x.evidence.labels * 0 + 100)), p)
