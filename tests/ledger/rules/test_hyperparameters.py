"""Hyperparameters: an owner changes them a bounded way at a time, at an epoch's end, and cannot turn everybody out."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from davy.incentive.mechanism import Mechanism
from davy.incentive.registry import mechanism
from davy.ledger.rules import block, epoch, subnets, upgrades
from davy.ledger.rules.block import EPOCH_WORK, MAX_EPOCH_WORK, epoch_work
from davy.ledger.rules.hyperparameters import set_hyperparameters
from davy.ledger.rules.records import COMING, NEURONS, OUTCOMES, RUNNING, neuron_key, subnet_key
from davy.protocol.chain import ComingHyperparameters
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.genesis import GenesisSubnet
from davy.protocol.limits import Hyperparameters, describe, hyperparameters
from davy.protocol.order import Subnet
from davy.protocol.transaction import AddStake, CommitWeights, RevealWeights, SetHyperparameters, SetWeights
from davy.protocol.words import TOKEN, Moment
from tests.ledger.rules.world import SMALL, World, begins, genesis, market, pub


def change(w: World, **changes: int) -> SetHyperparameters:
    """From what is in force on subnet 1."""
    return SetHyperparameters(1, replace(w.subnet().hyperparameters, **changes))


def coming(w: World, netuid: int = 1) -> tuple[int, tuple[Hyperparameters, ...]]:
    answer = w.query("/coming", netuid.to_bytes(2, "big"), ComingHyperparameters)
    return answer.height, answer.hyperparameters


def permits(w: World) -> int:
    return sum(n.permit for n in w.metagraph().neurons)


def test_a_change_takes_effect_when_the_running_epoch_ends_and_is_seen_before() -> None:
    w = market()
    before = w.subnet().hyperparameters
    w.ok("owner", change(w, tempo=15, kappa=30_000))
    assert w.subnet().hyperparameters == before
    ends = w.subnet().next_epoch_at
    assert coming(w) == (ends, (replace(before, tempo=15, kappa=30_000),))
    w.block(ends - w.machine.height - 1)
    assert w.subnet().hyperparameters == before
    w.block()
    assert w.subnet().hyperparameters == replace(before, tempo=15, kappa=30_000)
    assert coming(w)[1] == ()


def test_only_the_owner_changes_a_subnet_that_is_there() -> None:
    w = market()
    w.refused(TxCode.NOT_OWNER, "ann", change(w, kappa=30_000))
    w.refused(TxCode.NOT_FOUND, "owner", SetHyperparameters(7, SMALL))
    w.refused(TxCode.EXISTS, "owner", change(w))
    assert coming(w)[1] == ()


def test_a_second_change_in_one_epoch_takes_the_place_of_the_first_and_goes_no_further() -> None:
    w = market()
    w.ok("owner", change(w, tempo=20))
    w.ok("owner", change(w, kappa=30_000))
    assert coming(w)[1] == (replace(SMALL, kappa=30_000),)
    w.ok("owner", change(w, tempo=20))
    w.refused(TxCode.OUT_OF_RANGE, "owner", change(w, tempo=21))
    w.ok("owner", change(w))
    assert coming(w)[1] == (), "what is in force withdraws it"
    w.end_epoch()
    assert w.subnet().hyperparameters == SMALL


def test_a_change_of_tempo_never_makes_an_epoch_too_short_to_reveal_in() -> None:
    """To tempos that fall on the old one's ends and to others: what was committed before is revealed by all."""
    for tempo in (5, 9, 11, 20):
        w = market()
        row = w.row({"cat-hot": 1, "dan-hot": 1})
        w.ok("owner", change(w, tempo=tempo))
        epoch = w.commit("ann-hot", row)
        w.end_epoch()
        begun, ends = w.machine.height, w.subnet().next_epoch_at
        assert tempo <= ends - begun < 2 * tempo
        assert (ends + 2) % tempo == 0, "and it ends where this subnet's epochs end"
        w.block(ends - begun - 1)
        w.reveal("ann-hot", row, epoch)
        w.end_epoch()
        assert w.subnet().next_epoch_at - w.machine.height == tempo


def test_no_validator_pays_for_a_change_of_when_weights_are_revealed() -> None:
    """What was committed under one rule is due by that rule: reveal_epochs and commit_reveal change in between."""
    w = market()
    row = w.row({"cat-hot": 1, "dan-hot": 1})
    w.ok("owner", change(w, reveal_epochs=2, commit_reveal=0))
    epoch = w.commit("ann-hot", row)
    w.end_epoch()
    w.refused(TxCode.NOT_ENABLED, "ann-hot", CommitWeights(1, epoch + 1, bytes(32)))
    w.reveal("ann-hot", row, epoch)
    w.ok("ben-hot", SetWeights(1, row))
    w.ok("owner", change(w, commit_reveal=1))
    w.end_epoch()
    w.refused(TxCode.NOT_ENABLED, "ben-hot", SetWeights(1, row))
    epoch = w.commit("ann-hot", row)
    w.end_epoch()
    w.refused(TxCode.WRONG_TIME, "ann-hot", RevealWeights(1, epoch, row, bytes(32)))
    w.end_epoch()
    w.reveal("ann-hot", row, epoch)
    w.end_epoch()
    seats = [w.machine.state.need(NEURONS, neuron_key(1, uid), "") for uid in range(4)]
    assert [seat.unrevealed for seat in seats] == [0] * 4


def test_no_stake_threshold_takes_the_permit_from_more_than_half() -> None:
    """Three validators hold 400, 300 and 200 tokens: an owner who asks for more and more is left with two, then one."""
    w = market(genesis(h=replace(SMALL, stake_threshold=190 * TOKEN)))
    w.register("eve", "eve-hot")
    w.ok("eve", AddStake(pub("eve-hot"), 400 * TOKEN))
    w.end_epoch()
    w.end_epoch()
    assert permits(w) == 3
    w.refused(TxCode.OUT_OF_RANGE, "owner", change(w, stake_threshold=350 * TOKEN))
    w.ok("owner", change(w, stake_threshold=250 * TOKEN))
    w.end_epoch()
    assert permits(w) == 3, "the change holds from the end of the epoch on"
    w.end_epoch()
    assert permits(w) == 2
    most = max(n.stake for n in w.metagraph().neurons)
    w.refused(TxCode.OUT_OF_RANGE, "owner", change(w, stake_threshold=most + TOKEN))
    w.ok("owner", change(w, stake_threshold=most - 30 * TOKEN))
    w.end_epoch()
    w.end_epoch()
    assert permits(w) == 1
    for _ in range(8):
        h = w.subnet().hyperparameters
        row = w.subnet().hyperparameters.stake_threshold
        w.send("owner", SetHyperparameters(1, replace(h, stake_threshold=2 * row)))
        w.end_epoch()
    assert permits(w) == 1, "whatever it asks for"


WORST = {
    "max_validators": 1, "max_uids": 2, "activity_cutoff": 1, "immunity": 0, "tempo": 2, "kappa": 65_535,
    "stake_threshold": 10**18, "registrations_an_epoch": 4_096, "unrevealed_penalty": 65_535, "bonds_penalty": 0,
    "bonds_moving_average": 0, "reveal_epochs": 100,
}  # fmt: skip


def worst(w: World) -> SetHyperparameters:
    """As much of it as one change is let do."""
    now = asked = w.subnet().hyperparameters
    mark, refused = w.machine.state.savepoint(), set[TxCode]()
    for row in describe(Hyperparameters):
        low, high = row.reach(getattr(now, row.name))
        more = replace(asked, **{row.name: min(max(WORST.get(row.name, low), low), high)})
        w.machine.state.changed.clear()  # else only the first in a block
        try:
            set_hyperparameters(w.machine.state, Moment(w.machine.height, 0), pub("owner"), SetHyperparameters(1, more))
            asked = more
        except TxFailed as e:
            refused.add(e.code)
    assert refused <= {TxCode.OUT_OF_RANGE, TxCode.EXISTS}
    w.machine.state.rollback(mark)
    return SetHyperparameters(1, asked)


def test_whatever_an_owner_sets_every_epoch_validators_stay() -> None:
    """An owner as hostile as its reach, again and again; validators only go on voting."""
    w = market(genesis(h=replace(SMALL, activity_cutoff=50)))
    row, voters = w.row({"cat-hot": 1, "dan-hot": 1}), ("ann-hot", "ben-hot")
    held, made = permits(w), list[tuple[int, int]]()
    for _ in range(6):
        epoch = w.subnet().epoch
        for hot in voters:
            for then, due in made:
                if due == epoch:
                    w.send(hot, RevealWeights(1, then, row, bytes(32)))
            w.send(hot, CommitWeights(1, epoch, w.commitment(hot, row, epoch)))
        made.append((epoch, epoch + w.subnet().hyperparameters.reveal_epochs))
        w.send("owner", worst(w))
        assert w.block()[-1] is TxCode.OK
        if w.subnet().epoch == epoch:
            w.end_epoch()
        assert permits(w) >= (held + 1) // 2
        assert any(n.permit and n.active for n in w.metagraph().neurons)
        assert len(w.metagraph().neurons) == 4
        held = permits(w)
    assert (w.subnet().hyperparameters.tempo, w.subnet().hyperparameters.max_validators) == (2, 1)


def test_a_subnet_never_has_more_neurons_than_its_epoch_may_weigh() -> None:
    """max_uids is not set below the neurons there are, and nobody registers beyond what is coming."""
    w = market()
    w.register("eve", "eve-1")
    w.refused(TxCode.OUT_OF_RANGE, "owner", change(w, max_uids=4))
    w.ok("owner", change(w, max_uids=5))
    w.register("eve", "eve-2")
    assert len(w.metagraph().neurons) == 5, "a seat was changed, none added"
    w.ok("owner", change(w, max_uids=6))
    w.register("eve", "eve-3")
    w.refused(TxCode.FULL, "eve", w.registration("eve", "eve-4"))
    assert len(w.metagraph().neurons) == 6
    w.end_epoch()
    assert w.subnet().hyperparameters.max_uids == 6


def test_permits_of_before_are_counted_in_an_epochs_work() -> None:
    h = hyperparameters(tempo=256, max_uids=2_048, max_validators=512, immunity=0)
    w = World(genesis(h=h))
    w.register("ann", "ann-hot")
    w.refused(TxCode.OUT_OF_RANGE, "owner", change(w, max_uids=4_096, max_validators=256))
    w.ok("owner", change(w, max_uids=2_048, max_validators=256))
    w.end_epoch()
    w.end_epoch()
    s = w.machine.state
    n, key, s.edition = 2_048, subnet_key(1), 7  # before what else an epoch looks up counts
    s.put(RUNNING, key, replace(s.need(RUNNING, key, ""), neurons=n))
    s.put(OUTCOMES, key, replace(s.need(OUTCOMES, key, ""), permits=bytes([1]) * 512 + bytes(n - 512)))
    assert epoch_work(s, 1) == EPOCH_WORK + n * (256 + 512) <= MAX_EPOCH_WORK


@pytest.mark.parametrize("edition", [5, 6])
def test_permits_of_an_epoch_before_one_that_was_skipped_are_counted_too(
    edition: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a bug in one mechanism could stop the epochs of all subnets for good, also once it is mended.

    With 256 cells for 2^20: of 32 neurons 8 have a permit. In one epoch that fails the validators are halved, in the
    next the neurons doubled. Then 12 rows of 43 neurons are too much. At full size it is 2,731 of 4,096 neurons, with
    512 permits of before and 256 to come.
    """
    monkeypatch.setattr(upgrades, "FROM_THE_START", begins(edition))
    monkeypatch.setattr(subnets, "MAX_EPOCH_CELLS", 256)
    monkeypatch.setattr(block, "MAX_EPOCH_WORK", EPOCH_WORK + 2 * 256)
    g = genesis(h=replace(SMALL, max_uids=32, max_validators=8, registrations_an_epoch=32), mechanism="yuma2")
    other = GenesisSubnet(11, pub("owner"), "text", "yuma3", SMALL, 0)
    w = World(replace(g, subnets=(*g.subnets, other)))
    names = [f"hot {n}" for n in range(43)]
    w.register("ann", *names[:8])
    w.ok("ann", *(AddStake(pub(name), TOKEN) for name in names[:8]))
    w.end_epoch()
    w.end_epoch()
    assert permits(w) == 8

    def broken(name: str) -> Mechanism[Any]:
        if name == "yuma2":
            raise ZeroDivisionError
        return mechanism(name)

    def fails() -> None:
        """The running epoch, at its end."""
        m = w.machine
        w.block(w.subnet().next_epoch_at - m.height - 1)
        assert m.apply_block(m.height + 1, m.time, []).faults
        w.rows = dict(m.rows())

    monkeypatch.setattr(epoch, "mechanism", broken)
    w.ok("owner", change(w, max_validators=4))
    fails()
    if edition > 5:
        w.refused(TxCode.OUT_OF_RANGE, "owner", change(w, max_uids=64))
    else:
        w.ok("owner", change(w, max_uids=64))
    fails()
    monkeypatch.setattr(epoch, "mechanism", mechanism)
    w.register("ann", *names[8 : 32 if edition > 5 else 43])
    before = w.subnet().epoch, w.subnet(11).epoch
    w.block(30)
    after = w.subnet().epoch, w.subnet(11).epoch
    if edition > 5:
        assert after == (before[0] + 3, before[1] + 3)
        w.ok("owner", change(w, max_uids=64))
    else:
        assert after == before, "neither subnet goes on"


@pytest.mark.parametrize(
    "changes",
    [
        {"tempo": 21}, {"tempo": 4}, {"kappa": 32_767 + 6_555}, {"max_validators": 1}, {"immunity": 101},
        {"stake_threshold": TOKEN + 1}, {"reveal_epochs": 3}, {"alpha_low": 52_430, "alpha_high": 52_428},
        {"bonds_format": 24}, {"alpha_steepness": 10_001}, {"activity_cutoff": 2_499},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_out_of_reach_or_does_not_fit_together_is_refused(changes: dict[str, int]) -> None:
    w = market()
    w.refused(TxCode.OUT_OF_RANGE, "owner", change(w, **changes))
    assert coming(w)[1] == ()


def test_no_owner_makes_a_subnet_ordinary_again() -> None:
    w = World(genesis(h=replace(SMALL, systemic=1)))
    w.refused(TxCode.OUT_OF_RANGE, "owner", change(w, systemic=0))
    w = World(genesis())
    w.ok("owner", change(w, systemic=1))


def test_an_activity_cutoff_leaves_three_tempos() -> None:
    w = World(genesis(h=replace(SMALL, activity_cutoff=60)))
    w.refused(TxCode.OUT_OF_RANGE, "owner", change(w, activity_cutoff=29))
    w.ok("owner", change(w, activity_cutoff=30))
    w.refused(TxCode.OUT_OF_RANGE, "owner", change(w, activity_cutoff=30, tempo=11))
    w.ok("owner", change(w, tempo=20))
    w = World(genesis(h=replace(SMALL, activity_cutoff=5)))
    w.ok("owner", change(w, kappa=30_000))
    w.ok("owner", change(w, activity_cutoff=6))


def test_a_change_waits_while_its_subnet_is_halted() -> None:
    w = market()
    w.ok("owner", change(w, tempo=20))
    order = w.halt(Subnet(1))
    w.block(40)
    assert w.subnet().hyperparameters == SMALL
    w.refused(TxCode.HALTED, "owner", change(w, tempo=5))
    w.lift(order)
    w.end_epoch()
    assert w.subnet().hyperparameters.tempo == 20
    begun = w.machine.height
    w.halt(Subnet(1))
    w.block(3)
    assert w.subnet().next_epoch_at - begun >= 20 + 3, "frozen blocks come on top of the longer epoch"
    assert w.machine.state.get(COMING, subnet_key(1)) is None
