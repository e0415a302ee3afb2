"""Another key signs for a coldkey: after a delay, for all it owns, and nothing else happens meanwhile."""

from __future__ import annotations

import pytest

from davy.ledger.rules import upgrades
from davy.ledger.rules.records import ACCOUNTS, SIGNERS, SWAPS
from davy.protocol.chain import ColdkeyInfo
from davy.protocol.errors import TxCode
from davy.protocol.limits import chain_parameters
from davy.protocol.manifest import ModelClass
from davy.protocol.order import Models
from davy.protocol.transaction import (
    AddStake,
    AnnounceColdkeySwap,
    ExecuteColdkeySwap,
    RegisterModel,
    RemoveStake,
    SetTake,
    Transfer,
)
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import FAST, World, begins, genesis, manifest, market, pub


def swapped(w: World, old: str, new: str, by: str | None = None) -> None:
    """`old` is the name of what is owned; `by` signs for it now."""
    w.ok(by or old, w.announcement(old, new))
    w.block(FAST.unbonding - 1)
    w.ok(by or old, w.execution(old, new))


def info(w: World, key: str) -> ColdkeyInfo:
    return w.query("/coldkey", pub(key), ColdkeyInfo)


def test_the_successor_signs_for_all_that_the_coldkey_owns() -> None:
    w = market()
    free, nonce = w.account("ann").free, w.account("ann").nonce
    swapped(w, "ann", "new")
    assert (info(w, "ann").owner, info(w, "ann").signer) == (pub("ann"), pub("new"))
    assert info(w, "new") == info(w, "ann")
    assert w.account("new") == w.account("ann")
    assert w.account("ann").nonce == nonce + 2
    w.ok("new", Transfer(pub("eve"), TOKEN), SetTake(pub("ann-hot"), 7), RemoveStake(pub("ann-hot"), TOKEN))
    w.ok("new", w.registration("ann", "another-hot"), RegisterModel(manifest("m"), (), ModelClass.ORDINARY))
    assert w.neuron("another-hot").coldkey == pub("ann")
    assert w.account("eve").free == 1_001 * TOKEN
    assert w.account("ann").free < free


def test_the_old_key_signs_nothing_any_more() -> None:
    w = market()
    swapped(w, "ann", "new")
    before = w.account("ann")
    raw = w.tx("ann", Transfer(pub("eve"), 1))
    assert w.machine.check_tx(raw).code is TxCode.NOT_OWNER
    assert w.apply([raw]).results[0].code == TxCode.NOT_OWNER
    assert w.account("ann") == before, "not even its nonce"


def test_what_is_sent_to_either_key_is_the_coldkeys() -> None:
    w = market()
    w.ok("eve", Transfer(pub("new"), 3 * TOKEN))
    free = w.account("ann").free
    swapped(w, "ann", "new")
    assert w.account("ann").free == free + 3 * TOKEN, "what it was sent before is not lost"
    w.ok("eve", Transfer(pub("new"), TOKEN), Transfer(pub("ann"), TOKEN))
    assert w.account("ann").free == free + 5 * TOKEN


def test_while_a_swap_is_announced_nothing_else_is_done() -> None:
    w = market()
    w.ok("ann", w.announcement("ann", "new"))
    due = w.machine.height + FAST.unbonding
    assert info(w, "ann").due == due
    for action in (Transfer(pub("eve"), 1), RemoveStake(pub("ann-hot"), TOKEN), AddStake(pub("ann-hot"), TOKEN)):
        w.refused(TxCode.WRONG_TIME, "ann", action)
    w.refused(TxCode.WRONG_TIME, "ann", w.execution("ann", "new"))
    assert w.machine.height == due - 1
    w.ok("ann", w.execution("ann", "new"))
    assert w.machine.state.get(SWAPS, pub("ann")) is None


def test_a_thief_cannot_put_his_own_key_in_the_place_of_one_that_is_announced() -> None:
    w = market()
    w.ok("ann", w.announcement("ann", "new"))
    w.refused(TxCode.WRONG_TIME, "ann", w.announcement("ann", "thief"))
    w.block(FAST.unbonding - 2)
    w.refused(TxCode.MISMATCH, "ann", w.execution("ann", "thief"))
    w.ok("ann", w.execution("ann", "new"))
    assert info(w, "ann").signer == pub("new")


def test_who_announced_a_key_that_is_gone_may_announce_another_later() -> None:
    w = market()
    w.ok("ann", AnnounceColdkeySwap(bytes(32)))
    w.block(2 * FAST.unbonding - 2)
    w.refused(TxCode.WRONG_TIME, "ann", w.announcement("ann", "new"))
    swapped(w, "ann", "new")


def test_nobodys_key_is_taken_without_its_consent_or_twice() -> None:
    w = market()
    w.refused(TxCode.NOT_FOUND, "ann", w.execution("ann", "new"))
    w.ok("ann", w.announcement("ann", "ben"))
    w.ok("cat", w.announcement("cat", "new"))
    w.ok("dan", w.announcement("dan", "dan-hot"))
    w.ok("eve", w.announcement("eve", "new"))
    w.block(FAST.unbonding)
    w.refused(TxCode.EXISTS, "ann", w.execution("ann", "ben"))
    w.refused(TxCode.EXISTS, "dan", w.execution("dan", "dan-hot"))
    w.refused(TxCode.BAD_SIGNATURE, "cat", ExecuteColdkeySwap(pub("new"), w.execution("eve", "new").consent))
    w.ok("cat", w.execution("cat", "new"))
    w.refused(TxCode.EXISTS, "eve", w.execution("eve", "new"))


def test_a_successor_is_replaced_in_turn_and_signs_nothing_any_more() -> None:
    w = market()
    swapped(w, "ann", "new")
    swapped(w, "ann", "newer", by="new")
    assert info(w, "ann").signer == pub("newer")
    assert w.machine.state.need(SIGNERS, pub("ann"), "").key == pub("newer")
    free = w.account("ann").free
    w.ok("eve", Transfer(pub("new"), TOKEN))
    assert w.account("ann").free == free + TOKEN, "what is sent to it is still the coldkey's"
    for nonce in (0, w.account("ann").nonce):
        raw = w.tx("new", Transfer(pub("eve"), 1), nonce=nonce)
        assert w.machine.check_tx(raw).code is TxCode.NOT_OWNER
        assert w.apply([raw]).results[0].code == TxCode.NOT_OWNER
    w.ok("newer", Transfer(pub("eve"), 1))


def test_a_hotkey_is_no_coldkey_and_a_coldkeys_key_becomes_no_hotkey() -> None:
    w = market()
    w.refused(TxCode.NOT_OWNER, "ann-hot", w.announcement("ann-hot", "new"))
    swapped(w, "ann", "new")
    for key in ("ann", "new"):
        w.refused(TxCode.NOT_OWNER, "ben", w.registration("ben", key))
        w.refused(TxCode.EXISTS, "ben", w.rotation("ben", "ben-hot", key))


def test_no_halt_of_a_registrant_is_escaped_by_a_swap() -> None:
    w = World(genesis(p=chain_parameters(unbonding=5)))
    w.ok("cat", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
    w.halt(Models((), (), (pub("cat"),)))
    swapped(w, "cat", "new")
    w.refused(TxCode.HALTED, "new", RegisterModel(manifest("two"), (), ModelClass.ORDINARY))


@pytest.mark.parametrize("edition", [4, 5])
def test_a_subnet_does_not_lose_its_owner_to_a_coldkey_that_it_signs_for(
    edition: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In old editions what the subnet earned was nobody's from then on."""
    monkeypatch.setattr(upgrades, "FROM_THE_START", begins(edition))
    w = market()
    w.ok("ann", w.announcement("ann", "owner"))
    w.block(FAST.unbonding - 1)
    if edition > 4:
        w.refused(TxCode.EXISTS, "ann", w.execution("ann", "owner"))
        w.ok("owner", Transfer(pub("eve"), 1))
        return
    w.ok("ann", w.execution("ann", "owner"))
    w.end_epoch()
    lost = w.machine.state.need(ACCOUNTS, pub("owner"), "").free
    assert lost > 0
    assert w.account("owner") == w.account("ann"), "and no key signs for it"


@pytest.mark.parametrize(("edition", "code"), [(4, TxCode.OK), (5, TxCode.NOT_OWNER)])
def test_a_coldkey_that_is_being_replaced_becomes_no_hotkey(
    edition: int, code: TxCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not announce another successor then."""
    monkeypatch.setattr(upgrades, "FROM_THE_START", begins(edition))
    w = market()
    w.ok("cat", w.announcement("cat", "new"))
    w.send("dan", w.registration("dan", "cat"))
    assert w.block() == [code]
