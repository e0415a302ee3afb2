"""The market of a run, on the machine alone: its epochs pay miners once there are weights, and not before."""

from __future__ import annotations

from msgspec.structs import replace

from davy.protocol.encoding import encode
from davy.protocol.errors import TxCode
from davy.protocol.genesis import Allocation
from davy.protocol.limits import hyperparameters
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import Action, AddStake, RemoveStake, SignedTx, Transfer, TxBody
from davy.protocol.words import TOKEN
from tests.faults.market import MINERS, STAKE, VALIDATORS, KeyPair, load, pays_miners, registration, weights
from tests.faults.net import COLDKEY, PUBLIC
from tests.ledger.rules.world import World, genesis


def done(w: World, sender: KeyPair, *actions: Action) -> None:
    """One block of these transactions, which all happen."""
    public, secret = sender
    nonce = w.account(public).nonce
    bodies = [encode(TxBody(1, w.chain, public, nonce + n, action)) for n, action in enumerate(actions)]
    raws = [encode(SignedTx(1, body, sign(secret, Domain.TX, body))) for body in bodies]
    assert {TxCode(r.code) for r in w.apply(raws).results} == {TxCode.OK}


def test_epochs_pay_miners_from_the_first_with_weights_on() -> None:
    g = genesis(hyperparameters(tempo=10, commit_reveal=0))
    subnets = tuple(replace(s, owner=PUBLIC) for s in g.subnets)
    w = World(replace(g, allocations=(Allocation(PUBLIC, 1_000_000 * TOKEN),), subnets=subnets))
    done(w, COLDKEY, *(registration(w.chain, PUBLIC, hotkey) for hotkey in (*VALIDATORS, *MINERS)))
    done(w, COLDKEY, *(AddStake(public, STAKE) for public, _ in VALIDATORS))
    w.end_epoch()
    w.end_epoch()
    assert not pays_miners(w.record(1)), "nobody is weighed yet"
    neurons = w.metagraph().neurons
    done(w, VALIDATORS[0], weights(neurons, (1, 2)))
    w.end_epoch()
    assert not pays_miners(w.record(2)), "one of two weighs"
    done(w, VALIDATORS[1], weights(neurons, (2, 1)))
    for epoch in range(3, 6):
        first = w.account(PUBLIC).nonce
        done(w, COLDKEY, *map(load, range(first, first + 12)))
        w.end_epoch()
        record = w.record(epoch)
        assert pays_miners(record)
        paid = {n.hotkey for n in w.metagraph().neurons if record.miners[n.uid]}
        assert paid == {public for public, _ in MINERS}


def test_the_load_takes_away_what_it_added() -> None:
    held = dict.fromkeys((public for public, _ in VALIDATORS), 0)
    for action in map(load, range(6, 126)):
        if isinstance(action, AddStake | RemoveStake):
            held[action.hotkey] += action.amount if isinstance(action, AddStake) else -action.amount
            assert held[action.hotkey] in (0, TOKEN)
        else:
            assert isinstance(action, Transfer)
    assert set(held.values()) == {0}
