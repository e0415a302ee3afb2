"""Commit and reveal: bound to who, for what and when; and weights that count for nobody but whom they were given to."""

import pytest

from davy.ledger.rules.records import COMMITS, neuron_key
from davy.protocol.errors import TxCode
from davy.protocol.limits import hyperparameters
from davy.protocol.transaction import CommitWeights, RemoveStake, RevealWeights, SetWeights, Weight
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import World, genesis, manifest, market, pub


def test_a_commit_is_revealed_in_its_epoch_and_then_votes() -> None:
    w = market()
    row = w.row({"cat-hot": 100, "dan-hot": 50})
    epoch = w.commit("ann-hot", row)
    w.end_epoch()
    assert w.neuron("cat-hot").incentive == 0, "hidden weights do not vote"
    w.reveal("ann-hot", row, epoch)
    w.end_epoch()
    voted = w.record(w.subnet().epoch - 1).weights
    assert [(r.uid, r.values) for r in voted] == [(0, ((2, 100), (3, 50)))]
    assert w.neuron("cat-hot").incentive > w.neuron("dan-hot").incentive > 0


def test_a_commit_in_the_very_block_an_epoch_ends_reveals_like_any_other() -> None:
    w = market()
    row = w.row({"cat-hot": 1})
    epoch = w.subnet().epoch
    w.block(w.subnet().next_epoch_at - 1 - w.machine.height)
    w.commit("ann-hot", row)
    assert w.subnet().epoch == epoch + 1
    w.reveal("ann-hot", row, epoch)
    w.end_epoch()
    assert w.neuron("cat-hot").incentive == 65_535


def test_a_reveal_before_or_after_its_epoch_or_of_something_else_is_refused() -> None:
    w = market()
    row = w.row({"cat-hot": 1, "dan-hot": 2})
    epoch = w.commit("ann-hot", row)
    w.refused(TxCode.WRONG_TIME, "ann-hot", RevealWeights(1, epoch, row, bytes(32)))
    w.end_epoch()
    w.refused(TxCode.NOT_FOUND, "ann-hot", RevealWeights(1, epoch + 1, row, bytes(32)))
    w.refused(TxCode.MISMATCH, "ann-hot", RevealWeights(1, epoch, row, b"\1" + bytes(31)))
    w.refused(TxCode.MISMATCH, "ann-hot", RevealWeights(1, epoch, row[:1], bytes(32)))
    w.reveal("ann-hot", row, epoch)
    w.refused(TxCode.NOT_FOUND, "ann-hot", RevealWeights(1, epoch, row, bytes(32)))
    late = w.commit("ann-hot", row)
    w.end_epoch()
    w.end_epoch()
    w.refused(TxCode.NOT_FOUND, "ann-hot", RevealWeights(1, late, row, bytes(32)))


def test_reveal_epochs_moves_the_one_epoch_in_which_a_commit_is_due() -> None:
    h = hyperparameters(tempo=10, immunity=0, max_uids=8, max_validators=4, reveal_epochs=3)
    w = market(genesis(h))
    row = w.row({"cat-hot": 1})
    epoch = w.commit("ann-hot", row)
    for _ in range(2):
        w.end_epoch()
        w.refused(TxCode.WRONG_TIME, "ann-hot", RevealWeights(1, epoch, row, bytes(32)))
    w.end_epoch()
    w.reveal("ann-hot", row, epoch)


def test_another_s_commitment_can_be_copied_but_never_revealed() -> None:
    """A copier that repeats the bytes of a commit sees the weights in the first reveal, and still cannot use them."""
    w = market()
    row = w.row({"cat-hot": 7, "dan-hot": 9})
    epoch = w.commit("ann-hot", row)
    copied = w.commitment("ann-hot", row, epoch)
    w.ok("ben-hot", CommitWeights(1, epoch, copied))
    w.end_epoch()
    w.reveal("ann-hot", row, epoch)
    w.refused(TxCode.MISMATCH, "ben-hot", RevealWeights(1, epoch, row, bytes(32)))


def test_the_later_commit_of_an_epoch_takes_the_place_of_the_earlier_one() -> None:
    w = market()
    first, second = w.row({"cat-hot": 1}), w.row({"dan-hot": 1})
    epoch = w.commit("ann-hot", first)
    w.commit("ann-hot", second)
    w.end_epoch()
    w.refused(TxCode.MISMATCH, "ann-hot", RevealWeights(1, epoch, first, bytes(32)))
    w.reveal("ann-hot", second, epoch)


@pytest.mark.parametrize(("penalty", "kept"), [(65_535, 0.0), (32_768, 0.5), (0, 1.0)])
def test_an_unrevealed_commit_costs_its_validator_once(penalty: int, kept: float) -> None:
    h = hyperparameters(tempo=10, immunity=0, max_uids=8, max_validators=4, unrevealed_penalty=penalty)
    w = market(genesis(h))
    w.end_epoch()
    honest = w.record(w.subnet().epoch - 1)
    w.commit("ben-hot", w.row({"cat-hot": 1}))
    w.end_epoch()
    burned = w.issuance().burned
    w.end_epoch()
    record = w.record(w.subnet().epoch - 1)
    assert record.validators[1] / honest.validators[1] == pytest.approx(kept, abs=0.01)
    assert record.validators[0] == pytest.approx(honest.validators[0], rel=0.05), "nobody gains by it"
    lost = record.minted - record.owner - sum(record.miners) - sum(record.validators)
    assert w.issuance().burned - burned == lost
    assert COMMITS.tag + neuron_key(1, 1) not in w.rows
    w.end_epoch()
    assert w.record(w.subnet().epoch - 1).validators[1] > honest.validators[1] * 0.9


def test_only_a_permit_commits_and_only_for_the_running_epoch() -> None:
    w = market()
    epoch = w.subnet().epoch
    w.refused(TxCode.NO_PERMIT, "cat-hot", CommitWeights(1, epoch, bytes(32)))
    w.refused(TxCode.WRONG_TIME, "ann-hot", CommitWeights(1, epoch - 1, bytes(32)))
    w.refused(TxCode.WRONG_TIME, "ann-hot", CommitWeights(1, epoch + 1, bytes(32)))
    w.refused(TxCode.NOT_FOUND, "ann-hot", CommitWeights(2, epoch, bytes(32)))
    w.refused(TxCode.NOT_FOUND, "ann", CommitWeights(1, epoch, bytes(32)))
    w.refused(TxCode.NOT_ENABLED, "ann-hot", SetWeights(1, ()))


def test_a_row_names_each_uid_once_in_order() -> None:
    w = market()
    cat, dan = w.row({"cat-hot": 1, "dan-hot": 1})
    beyond = Weight(4, bytes(8), 1)
    for row in ((dan, cat), (cat, cat), (cat, beyond)):
        epoch = w.commit("ann-hot", row)
        w.end_epoch()
        w.refused(TxCode.OUT_OF_RANGE, "ann-hot", RevealWeights(1, epoch, row, bytes(32)))


OPEN = hyperparameters(tempo=10, immunity=0, max_uids=8, max_validators=4, commit_reveal=0)


def test_where_commit_reveal_is_off_weights_are_set_in_the_open() -> None:
    w = market(genesis(OPEN))
    row = w.row({"cat-hot": 1, "dan-hot": 3})
    w.refused(TxCode.NOT_ENABLED, "ann-hot", CommitWeights(1, w.subnet().epoch, bytes(32)))
    w.refused(TxCode.NO_PERMIT, "cat-hot", SetWeights(1, row))
    w.ok("ann-hot", SetWeights(1, row))
    w.end_epoch()
    assert w.neuron("dan-hot").incentive > w.neuron("cat-hot").incentive > 0


def test_a_weight_counts_zero_once_its_neuron_serves_another_model() -> None:
    w = market(genesis(OPEN))
    w.served("cat", "cat-hot", "one")
    w.ok("ann-hot", SetWeights(1, w.row({"cat-hot": 1, "dan-hot": 1})))
    w.end_epoch()
    assert w.neuron("cat-hot").incentive > 0
    w.served("cat", "cat-hot", "two")
    w.end_epoch()
    assert w.neuron("cat-hot").incentive == 0
    assert w.neuron("dan-hot").incentive == 65_535
    w.ok("cat-hot", w.serving("one"))
    w.end_epoch()
    assert w.neuron("cat-hot").incentive > 0, "it is again what was scored"
    assert manifest("one") != manifest("two")


def test_a_weight_on_oneself_counts_zero_but_for_the_subnet_s_owner() -> None:
    w = World(genesis(OPEN))
    for coldkey, hotkey, amount in (("ann", "ann-hot", 500), ("owner", "owner-hot", 400)):
        w.register(coldkey, hotkey)
        w.stake(coldkey, hotkey, amount * TOKEN)
    w.register("cat", "cat-hot")
    w.end_epoch()
    w.end_epoch()
    w.ok("ann-hot", SetWeights(1, w.row({"ann-hot": 1_000, "cat-hot": 1})))
    w.end_epoch()
    assert w.neuron("ann-hot").incentive == 0
    assert w.neuron("cat-hot").incentive == 65_535
    w.ok("owner-hot", SetWeights(1, w.row({"owner-hot": 1_000, "cat-hot": 1})))
    w.ok("ann", RemoveStake(pub("ann-hot"), 400 * TOKEN))
    w.end_epoch()
    assert w.neuron("owner-hot").incentive > 0, "by its own word alone, which holds most of the stake now"


def test_a_validator_that_stops_revealing_stops_voting() -> None:
    h = hyperparameters(tempo=10, immunity=0, max_uids=8, max_validators=4, commit_reveal=0, activity_cutoff=15)
    w = market(genesis(h))
    row = w.row({"cat-hot": 1})
    w.ok("ann-hot", SetWeights(1, row))
    w.end_epoch()
    w.ok("ben-hot", SetWeights(1, row))
    w.end_epoch()
    assert w.neuron("ann-hot").active is False
    assert w.neuron("ann-hot").dividends == 0
    assert w.neuron("ben-hot").dividends == 65_535
    assert w.account("ann").stakes[0][1] > 300 * TOKEN
    assert pub("ann-hot") == w.account("ann").stakes[0][0]
