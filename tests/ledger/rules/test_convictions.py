"""Who served after a halt is convicted by its receipt, once; what everybody else signs is no evidence."""

from __future__ import annotations

from typing import Any

import pytest

from davy.ledger.rules.brake import brake_of
from davy.ledger.rules.records import CONVICTIONS, HOTKEYS, UIDS, subnet_key
from davy.ledger.rules.stake import stake_of
from davy.protocol.chain import ModelRecord
from davy.protocol.encoding import encode
from davy.protocol.errors import TxCode
from davy.protocol.genesis import Genesis
from davy.protocol.limits import (
    ALLOWANCE_MS,
    ALLOWANCE_WINDOW_MS,
    CONVICTION_GRACE,
    DAY_MS,
    HALT_TERM_MS,
    SIGNER_SKEW_MS,
    chain_parameters,
)
from davy.protocol.manifest import ModelClass, model_id
from davy.protocol.order import Extend, Global, GroupKey, Install, Lower, Miner, Models, OrderId, Subnet, Target
from davy.protocol.receipt import Anchor, Outcome
from davy.protocol.transaction import AddStake, BrakeOrder, CommitWeights, RaiseClass, RegisterModel, RemoveStake
from davy.protocol.words import TOKEN
from tests.ledger.rules.stand import ONE, Stand, two_subnets
from tests.ledger.rules.world import World, manifest, pub
from tests.twins.keyholders import Keyholders

FIRST = 1 + CONVICTION_GRACE
"""Blocks from a HALT's own to the first anchor that convicts, with an anchor_slack of 1."""


def served(target: Target | None = None, blocks: int = FIRST, **how: Any) -> tuple[Stand, OrderId]:
    """A market in which a HALT was recorded so many blocks ago."""
    w = Stand()
    halt = w.halt(target or Models((ONE,), (), ()), **how)
    w.block(blocks)
    return w, halt


def refused(w: Stand, code: TxCode, halt: OrderId, anchor: int | None = None, **changes: Any) -> None:
    evidence = w.evidence(halt, "cat-hot", w.machine.height if anchor is None else anchor, **changes)
    w.refused(code, "ben", evidence)
    assert w.machine.state.get(CONVICTIONS, pub("cat-hot")) is None


def at(w: Stand, time: int) -> None:
    """The next block has this time."""
    result = w.machine.apply_block(w.machine.height + 1, time, [])
    w.rows = dict(w.machine.rows())
    assert not result.faults


def test_what_it_costs() -> None:
    w, halt = served()
    w.ok("eve", AddStake(pub("cat-hot"), 7 * TOKEN))
    w.ok("cat", RemoveStake(pub("cat-hot"), 20 * TOKEN))
    staked, before = dict(w.account("cat").stakes)[pub("cat-hot")], w.issuance()
    evidence = w.evidence(halt, "cat-hot", w.machine.height)
    w.ok("ben", evidence)
    said = w.machine.state.need(CONVICTIONS, pub("cat-hot"), "")
    assert (said.height, said.halt, said.burned) == (w.machine.height, halt, staked)
    assert w.issuance().burned == before.burned + staked
    assert stake_of(w.machine.state, pub("cat-hot"), pub("cat")) == 0
    assert stake_of(w.machine.state, pub("cat-hot"), pub("eve")) == 7 * TOKEN
    free, burned = w.account("cat").free, w.issuance().burned
    w.block(40)
    assert w.account("cat").free == free, "what was unbonding is burned when it is due"
    assert w.account("cat").unbonding == 0
    assert w.issuance().burned == burned + 20 * TOKEN
    w.ok("eve", RemoveStake(pub("cat-hot"), 7 * TOKEN))


def test_a_convicted_hotkey_is_barred_for_good() -> None:
    w, halt = served()
    w.vote()
    w.ok("ben", w.evidence(halt, "cat-hot", w.machine.height))
    w.lift(halt)
    assert w.machine.state.need(HOTKEYS, pub("cat-hot"), "").endpoint == ()
    w.refused(TxCode.BARRED, "cat-hot", w.serving("three"))
    w.refused(TxCode.BARRED, "cat", w.registration("cat", "cat-hot", 2))
    w.refused(TxCode.BARRED, "eve", AddStake(pub("cat-hot"), TOKEN))
    epoch = w.subnet().epoch
    w.refused(TxCode.BARRED, "cat-hot", CommitWeights(1, epoch, bytes(32)))
    w.end_epoch()
    assert w.neuron("cat-hot").emission == 0
    assert w.neuron("dan-hot").emission > 0


def test_its_uid_is_the_first_to_be_taken() -> None:
    w = Stand(max_uids=4, immunity=1_000)
    halt = w.halt(Miner(pub("cat-hot")))
    w.block(FIRST)
    w.refused(TxCode.FULL, "eve", w.registration("eve", "eve-hot"))
    w.ok("ben", w.evidence(halt, "cat-hot", w.machine.height))
    w.ok("eve", w.registration("eve", "eve-hot"))
    assert w.machine.state.get(UIDS, subnet_key(1) + pub("cat-hot")) is None


def test_a_hotkey_is_convicted_once_whatever_is_handed_in() -> None:
    w, halt = served()
    w.ok("ben", w.evidence(halt, "cat-hot", w.machine.height))
    burned = w.issuance().burned
    w.refused(TxCode.EXISTS, "ben", w.evidence(halt, "cat-hot", w.machine.height))
    w.refused(TxCode.EXISTS, "ann", w.evidence(halt, "cat-hot", w.machine.height, created=7))
    assert w.issuance().burned == burned


@pytest.mark.parametrize(
    "target",
    [
        Global(),
        Miner(pub("cat-hot")),
        Models((ONE,), (), ()),
        Models((), (manifest("one").files[0].digest,), ()),
        Models((), (), (pub("cat"),)),
    ],
)
def test_a_halt_that_names_it_outright_convicts(target: Target) -> None:
    w, halt = served(target)
    w.ok("ben", w.evidence(halt, "cat-hot", w.machine.height))


@pytest.mark.parametrize(
    "target",
    [
        Subnet(1),
        Miner(pub("dan-hot")),
        Models((model_id(manifest("two")),), (), ()),
        Models((), (), (pub("dan"),)),
    ],
)
def test_another_halt_does_not(target: Target) -> None:
    w, halt = served(target)
    refused(w, TxCode.MISMATCH, halt)


def test_a_model_that_is_not_registered_is_named_by_its_id_only() -> None:
    w, halt = served(Models((b"?" * 32,), (), ()))
    w.ok("ben", w.evidence(halt, "cat-hot", w.machine.height, model=b"?" * 32))


@pytest.mark.parametrize("ahead", [-1, 0])
def test_the_grace_is_counted_in_blocks_after_the_halt_s(ahead: int) -> None:
    w, halt = served(blocks=FIRST + 3)
    first = w.machine.height - 3
    if ahead < 0:
        refused(w, TxCode.WRONG_TIME, halt, first - 1)
    else:
        w.ok("ben", w.evidence(halt, "cat-hot", first))


def test_the_slack_of_the_chain_is_added_to_the_grace() -> None:
    g = two_subnets()
    p = chain_parameters(unbonding=100, anchor_slack=8)
    w = Stand()
    World.__init__(w, Genesis(1, g.note, g.time, p, g.producers, g.allocations, g.subnets, g.keyholders))
    w.register("cat", "cat-hot")
    halt = w.halt(Miner(pub("cat-hot")))
    h = w.machine.height
    w.block(30)
    refused(w, TxCode.WRONG_TIME, halt, h + 8 + CONVICTION_GRACE - 1)
    w.ok("ben", w.evidence(halt, "cat-hot", h + 8 + CONVICTION_GRACE))


def test_evidence_is_too_late_before_any_stake_can_have_left() -> None:
    w, halt = served()
    anchor, window = w.machine.height, w.genesis.parameters.evidence_window
    assert window < w.genesis.parameters.unbonding
    w.block(window - 1)
    late = Stand()
    late_halt = late.halt(Models((ONE,), (), ()))
    late.block(FIRST + window)
    refused(late, TxCode.WRONG_TIME, late_halt, late.machine.height - window)
    w.ok("ben", w.evidence(halt, "cat-hot", anchor))


def test_an_anchor_that_does_not_exist_yet_convicts_nobody() -> None:
    w, halt = served()
    refused(w, TxCode.WRONG_TIME, halt, w.machine.height + 3)


def test_the_request_s_anchor_counts_and_not_the_one_the_receipt_says() -> None:
    w, halt = served()
    w.ok("ben", w.evidence(halt, "cat-hot", w.machine.height, anchor=Anchor(0, bytes(32))))


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        (TxCode.WRONG_CHAIN, {"chain": bytes(32)}),
        (TxCode.MALFORMED, {"request_id": bytes(32)}),
        (TxCode.MALFORMED, {"base": b"no anchor"}),
        (TxCode.MALFORMED, {"base": b'"davy-anchor": 40:%s\n"davy-anchor": 41:%s' % ((b"0" * 64,) * 2)}),
        (TxCode.MALFORMED, {"base": b'"davy-anchor": 99999999999999999999:%s' % (b"0" * 64)}),
        (TxCode.MISMATCH, {"outcome": Outcome.HALTED}),
        (TxCode.NOT_FOUND, {"miner": pub("nobody")}),
    ],
)
def test_what_is_no_evidence(code: TxCode, changes: dict[str, Any]) -> None:
    w, halt = served()
    if code is TxCode.NOT_FOUND:
        w.refused(code, "ben", w.evidence(halt, "nobody", w.machine.height))
    else:
        refused(w, code, halt, **changes)


def test_a_receipt_by_another_key_and_an_unknown_order_are_none() -> None:
    w, halt = served()
    good = w.evidence(halt, "cat-hot", w.machine.height)
    forged = type(good)(halt, good.request, good.receipt[:-1] + bytes([good.receipt[-1] ^ 1]))
    w.refused(TxCode.BAD_SIGNATURE, "ben", forged)
    w.refused(TxCode.NOT_FOUND, "ben", type(good)(bytes(32), good.request, good.receipt))
    lift = w.lift(w.halt(Miner(pub("dan-hot"))))
    w.refused(TxCode.MISMATCH, "ben", type(good)(lift, good.request, good.receipt))


def test_a_lifted_halt_convicts_nobody() -> None:
    w, halt = served()
    w.lift(halt)
    refused(w, TxCode.MISMATCH, halt)


def test_a_halt_that_had_not_begun_when_it_was_recorded_convicts_nobody() -> None:
    w = Stand()
    halt = w.halt(Models((ONE,), (), ()), issued=w.machine.time + DAY_MS)
    at(w, w.machine.time + DAY_MS)
    w.block(FIRST)
    refused(w, TxCode.MISMATCH, halt)


def test_after_its_end_a_halt_convicts_nobody_unless_it_was_extended_before() -> None:
    w, halt = served(term=DAY_MS)
    end = w.machine.time + DAY_MS
    at(w, end)
    refused(w, TxCode.MISMATCH, halt)
    w, halt = served(term=DAY_MS)
    end = _end_of(w, halt)
    w.command(Extend(halt, end), end - w.machine.time + DAY_MS)
    at(w, end)
    w.ok("ben", w.evidence(halt, "cat-hot", w.machine.height))


@pytest.mark.parametrize("early", [1, 0])
def test_its_end_is_the_first_moment_at_which_it_convicts_nobody(early: int) -> None:
    w, halt = served(term=DAY_MS)
    at(w, _end_of(w, halt) - 250 - early)
    if early:
        w.ok("ben", w.evidence(halt, "cat-hot", w.machine.height))
    else:
        refused(w, TxCode.MISMATCH, halt)


def _end_of(w: Stand, halt: OrderId) -> int:
    return brake_of(w.machine.state).orders[halt].order.end


def test_an_extend_that_came_after_the_end_convicts_nobody() -> None:
    """Between the end and the block of the EXTEND an honest node served."""
    w, halt = served(term=DAY_MS)
    end = _end_of(w, halt)
    at(w, end)
    raw = w.order(Extend(halt, end), 2 * DAY_MS, issued=end)
    assert w.apply([encode(BrakeOrder(raw))]).results[0].code == TxCode.OK
    refused(w, TxCode.MISMATCH, halt)


def test_where_the_allowance_may_be_used_up_only_the_lift_key_s_halt_convicts() -> None:
    w = Stand()
    for _ in range(ALLOWANCE_MS // HALT_TERM_MS):
        w.halt(Miner(pub("dan-hot")), HALT_TERM_MS)
        at(w, w.machine.time + HALT_TERM_MS + DAY_MS)
    halt = w.halt(Models((ONE,), (), ()))
    beyond = w.halt(Models((ONE,), (), ()), authority=GroupKey.LIFT)
    w.block(FIRST)
    refused(w, TxCode.MISMATCH, halt)
    w.ok("ben", w.evidence(beyond, "cat-hot", w.machine.height))


@pytest.mark.parametrize("left", [1, 0])
def test_nor_does_it_where_a_node_may_have_forgotten_what_counts_in_the_allowance(left: int) -> None:
    """A replaced roster's orders are forgotten once they have left the window; the HALT was recorded before that."""
    w, successor = Stand(), Keyholders(1)
    w.command(Install(successor.roster, w.keyholders.digest, ()), to=successor)
    forgotten = w.machine.time + SIGNER_SKEW_MS + HALT_TERM_MS + ALLOWANCE_WINDOW_MS
    at(w, forgotten - DAY_MS)
    halt = w.halt(Models((ONE,), (), ()), 2 * DAY_MS, by=successor)
    w.block(FIRST)
    at(w, forgotten - left - 250)
    if left:
        w.ok("ben", w.evidence(halt, "cat-hot", w.machine.height))
    else:
        refused(w, TxCode.MISMATCH, halt)


def test_a_systemic_model_s_halt_convicts_after_its_term_too() -> None:
    w = Stand()
    w.ok("cat", RaiseClass(ONE))
    halt = w.halt(Models((ONE,), (), ()), DAY_MS)
    at(w, w.machine.time + 2 * DAY_MS)
    w.block(FIRST)
    w.ok("ben", w.evidence(halt, "cat-hot", w.machine.height))


def test_but_from_the_height_it_became_systemic_at_and_not_once_it_was_lowered() -> None:
    w = Stand()
    halt = w.halt(Models((ONE,), (), ()), DAY_MS)
    at(w, w.machine.time + 2 * DAY_MS)
    w.block(FIRST)
    w.ok("cat", RaiseClass(ONE))
    refused(w, TxCode.WRONG_TIME, halt)
    w.block(FIRST)
    w.command(Lower((ONE,), ()))
    refused(w, TxCode.MISMATCH, halt)


def test_the_class_of_what_it_descends_from_is_its_own() -> None:
    w = Stand()
    w.ok("cat", RaiseClass(ONE))
    w.ok("eve", RegisterModel(manifest("child"), (ONE,), ModelClass.ORDINARY))
    assert w.query("/model", model_id(manifest("child")), ModelRecord).model_class is ModelClass.SYSTEMIC


def installed(carry: bool) -> tuple[Stand, OrderId]:
    w, halt = served(blocks=3 * FIRST)
    successor = Keyholders(1)
    w.command(Install(successor.roster, w.keyholders.digest, (halt,) if carry else ()), to=successor)
    return w, halt


def test_a_halt_that_the_next_roster_did_not_carry_convicts_nobody() -> None:
    w, halt = installed(carry=False)
    w.block(FIRST)
    refused(w, TxCode.MISMATCH, halt)


def test_one_that_it_carried_convicts_from_the_install_on() -> None:
    """A LIFT may have ended it before, and an INSTALL that carries it ends the LIFT."""
    w, halt = installed(carry=True)
    height = w.machine.height
    w.block(FIRST)
    refused(w, TxCode.WRONG_TIME, halt, height + FIRST - 1)
    w.ok("ben", w.evidence(halt, "cat-hot", height + FIRST))
