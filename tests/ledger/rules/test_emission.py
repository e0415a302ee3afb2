"""What is minted is the schedule, and what is paid is what was minted, to the last unit."""

import pytest
from msgspec.structs import replace

from davy.ledger.rules.emission import reward_at, scheduled_issuance
from davy.ledger.rules.epoch import KEPT_EPOCH_BYTES, KEPT_EPOCHS, drop_oldest
from davy.ledger.rules.machine import Machine
from davy.ledger.rules.records import PAID, RUNNING, PaidRecord, epoch_key, subnet_key
from davy.protocol.chain import Issuance
from davy.protocol.encoding import decode
from davy.protocol.genesis import Allocation, Genesis, GenesisSubnet
from davy.protocol.limits import chain_parameters, hyperparameters
from davy.protocol.words import MAX_SUPPLY, TOKEN
from tests.ledger.rules.world import FAST, SMALL, World, begins, genesis, market, pub


def test_the_reward_halves_by_interval() -> None:
    p = chain_parameters(block_reward=101, halving_interval=10)
    assert [reward_at(h, p) for h in (1, 10, 11, 20, 21, 10**9)] == [101, 101, 50, 50, 25, 0]


@pytest.mark.parametrize(("interval", "share"), [(7, 333_333), (1, 1_000_000), (1_000, 1)])
def test_issuance_equals_the_schedule_in_every_block(interval: int, share: int) -> None:
    w = World(genesis(p=chain_parameters(block_reward=TOKEN + 7, halving_interval=interval), share=share))
    w.register("ann", "ann-hot")
    w.block(60)  # World.check compares them after each
    by_hand = sum(((TOKEN + 7) >> ((h - 1) // interval)) * share // 1_000_000 for h in range(1, 62))
    assert w.issuance().issued == 6_000 * TOKEN + by_hand


def test_the_supply_is_never_exceeded() -> None:
    left = 5 * TOKEN // 2
    subnets = tuple(GenesisSubnet(n, pub("owner"), "t", "yuma3", SMALL, 500_000) for n in (1, 2))
    g = Genesis(1, "", 0, FAST, (pub("p"),), (Allocation(pub("ann"), MAX_SUPPLY - left),), subnets, ())
    m = Machine.from_genesis(g)
    for height in range(1, 5):
        m.apply_block(height, height, [])
        assert m.state.records
        issued = decode(m.query("/issuance", b""), Issuance, limit=1_000).issued
        assert issued == min(MAX_SUPPLY, MAX_SUPPLY - left + height * TOKEN) == scheduled_issuance(g, height)


def test_an_epoch_pays_exactly_what_was_pending() -> None:
    w = market(genesis(p=chain_parameters(block_reward=1_000_000_007, burn_low=1, unbonding=5)))
    row = w.row({"cat-hot": 3, "dan-hot": 7})
    for _ in range(3):
        epoch = w.commit("ann-hot", row)
        w.end_epoch()
        w.reveal("ann-hot", row, epoch)
        owner = w.account("owner").free
        stakes, burned = w.issuance().stakes, w.issuance().burned
        w.end_epoch()
        r = w.record(w.subnet().epoch - 1)
        assert r.minted == 10 * 1_000_000_007
        assert r.owner == r.minted * FAST.owner_cut // 65_535 == w.account("owner").free - owner
        assert r.owner + sum(r.miners) + sum(r.validators) == r.minted
        assert sum(r.miners) == (r.minted - r.owner) // 2
        assert w.issuance().stakes - stakes == sum(r.miners) + sum(r.validators)
        assert w.issuance().burned == burned
        assert [n.emission for n in w.metagraph().neurons] == [
            a + b for a, b in zip(r.miners, r.validators, strict=True)
        ]


def test_an_epoch_in_which_nobody_voted_pays_by_stake() -> None:
    w = market()
    w.end_epoch()
    r = w.record(w.subnet().epoch - 1)
    assert r.miners == (0, 0, 0, 0)
    assert sum(r.validators) == r.minted - r.owner
    assert r.validators[0] / r.validators[1] == pytest.approx(1.5, rel=0.01)
    assert r.validators[2:] == (0, 0)


def test_what_nobody_can_be_paid_is_burned_and_no_pot_waits_for_the_first_to_come() -> None:
    w = World()
    w.block(8)
    assert w.issuance().burned == 8 * TOKEN, "nobody is registered, and the owner of nothing has no cut"
    w.register("cat", "cat-hot")
    w.end_epoch()
    r = w.record(1)
    assert r.owner == 10 * TOKEN * FAST.owner_cut // 65_535
    assert w.issuance().burned == 8 * TOKEN + FAST.burn_low + 10 * TOKEN - r.owner, "and nobody has stake"
    assert w.neuron("cat-hot").earned == w.issuance().stakes == 0


def test_records_of_epochs_are_kept_and_the_oldest_goes() -> None:
    w = World(genesis(hyperparameters(tempo=2, max_uids=8, max_validators=4)))
    w.register("cat", "cat-hot")
    w.block(2 * (KEPT_EPOCHS + 5))
    kept = [key for key in w.rows if key[:1] == PAID.tag]
    assert len(kept) == KEPT_EPOCHS
    last = w.subnet().epoch - 1
    assert w.record(last).epoch == last
    assert w.record(last - KEPT_EPOCHS + 1).epoch == last - KEPT_EPOCHS + 1


@pytest.mark.parametrize(("edition", "kept"), [(7, 11), (8, 8)])
def test_records_of_epochs_are_kept_while_they_are_not_too_large_together(edition: int, kept: int) -> None:
    """Those of before as large as of 1,024 rows with as many weights; the new one is small."""
    w = World(genesis(hyperparameters(tempo=2, max_uids=8, max_validators=4)))
    w.register("cat", "cat-hot")
    w.block(19)
    m = Machine.restore(w.genesis, w.rows.items(), w.machine.height, w.machine.time, begins(edition))
    paid, voters, rows = bytes(8 * 1_024), tuple(range(1_024)), (bytes(4 * 1_024),) * 1_024
    for key in [key for key in w.rows if key[:1] == PAID.tag]:
        before = m.state.need(PAID, key[1:], "")
        m.state.records[key] = replace(before, miners=paid, validators=paid, voters=voters, weights=rows)
    ended = m.state.need(RUNNING, subnet_key(1), "").epoch
    while m.state.need(RUNNING, subnet_key(1), "").epoch == ended:
        m.apply_block(m.height + 1, m.time + 250, [])
    told = [epoch for epoch in range(ended + 1) if m.state.get(PAID, epoch_key(1, epoch))]
    assert told == list(range(ended + 1 - kept, ended + 1))


def test_the_newest_record_of_an_epoch_is_kept_however_large_it_is() -> None:
    w = World()
    s = w.machine.state
    large = PaidRecord(7, 6, 5, bytes(KEPT_EPOCH_BYTES), bytes(KEPT_EPOCH_BYTES), (), ())
    for epoch in range(3):
        s.records[PAID.tag + epoch_key(1, epoch)] = large
    drop_oldest(s, 1, 2)
    assert [s.get(PAID, epoch_key(1, epoch)) for epoch in range(3)] == [None, None, large]
