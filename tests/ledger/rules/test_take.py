"""A take falls at once, rises slowly, and is what a delegator pays and no more."""

from davy.protocol.chain import HotkeyInfo
from davy.protocol.errors import TxCode
from davy.protocol.limits import MAX_TAKE, TAKE_STEP, chain_parameters
from davy.protocol.transaction import AddStake, SetTake
from davy.protocol.words import TOKEN, U16
from tests.ledger.rules.world import FAST, World, genesis, market, pub

HOT = pub("ann-hot")


def hotkey(w: World) -> HotkeyInfo:
    return w.query("/hotkey", HOT, HotkeyInfo)


def split(w: World) -> tuple[int, int, int, int]:
    """What ann's hotkey got for its stake in one epoch, what of it went to ann and to cat, and ann's stake before."""
    before = {who: dict(w.account(who).stakes).get(HOT, 0) for who in ("ann", "cat")}
    w.end_epoch()
    paid = w.record(w.subnet().epoch - 1).validators[w.neuron("ann-hot").uid]
    ann, cat = (dict(w.account(who).stakes)[HOT] - before[who] for who in ("ann", "cat"))
    assert ann + cat == paid, "to the last unit"
    return paid, ann, cat, before["ann"]


def test_a_delegator_is_paid_by_the_take_that_stands_at_the_epochs_end() -> None:
    w = market()
    w.ok("cat", AddStake(HOT, 300 * TOKEN))
    w.end_epoch()
    for take in (MAX_TAKE, 5_000, 0):
        if hotkey(w).take != take:
            w.ok("ann", SetTake(HOT, take))
        info = hotkey(w)
        assert (info.owner, info.take, info.netuids) == (pub("ann"), take, (1,))
        held = info.owned + info.delegated
        paid, _, cat, owned = split(w)
        assert owned == info.owned
        assert abs(cat - (paid - paid * take // U16) * info.delegated // held) <= 1


def test_a_take_rises_by_a_hundredth_each_unbonding_time() -> None:
    w = World(genesis(p=chain_parameters(unbonding=5, default_take=1_000)))
    w.register("ann", "ann-hot")
    assert hotkey(w).may_raise == 1 + 5
    w.refused(TxCode.WRONG_TIME, "ann", SetTake(HOT, 1_001))
    w.block(3)
    w.refused(TxCode.OUT_OF_RANGE, "ann", SetTake(HOT, 1_000 + TAKE_STEP + 1))
    w.ok("ann", SetTake(HOT, 1_000 + TAKE_STEP))
    assert hotkey(w).take == 1_000 + TAKE_STEP
    raised = w.machine.height
    w.block(3)
    w.refused(TxCode.WRONG_TIME, "ann", SetTake(HOT, 1_000 + TAKE_STEP + 1))
    w.ok("ann", SetTake(HOT, 1_000 + TAKE_STEP + 1))
    assert w.machine.height == raised + 5


def test_down_and_up_again_is_no_way_to_raise_it_sooner() -> None:
    w = market()
    w.ok("ann", SetTake(HOT, MAX_TAKE - 1), SetTake(HOT, MAX_TAKE))
    w.ok("ann", SetTake(HOT, MAX_TAKE - 1))
    w.refused(TxCode.WRONG_TIME, "ann", SetTake(HOT, MAX_TAKE))
    assert hotkey(w).take == MAX_TAKE - 1
    assert hotkey(w).may_raise == w.machine.height - 2 + FAST.unbonding


def test_only_the_owner_of_a_known_hotkey_sets_its_take() -> None:
    w = market()
    w.refused(TxCode.NOT_OWNER, "ben", SetTake(HOT, 0))
    w.refused(TxCode.NOT_OWNER, "ann-hot", SetTake(HOT, 0))
    w.refused(TxCode.NOT_FOUND, "ann", SetTake(pub("nobody"), 0))
    w.refused(TxCode.EXISTS, "ann", SetTake(HOT, MAX_TAKE))
    w.send("ann", SetTake(HOT, MAX_TAKE + 1))
    assert w.block() == [TxCode.MALFORMED], "it cannot even be read"
