"""A budget's tickets are spent once each: two of one number cost the deposit, and nothing else does."""

from __future__ import annotations

import pytest

from davy.protocol.chain import Budget
from davy.protocol.encoding import encode
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.limits import MAX_TICKETS
from davy.protocol.signing import Domain, sign
from davy.protocol.ticket import SignedTicket, Ticket, budget_id
from davy.protocol.transaction import CloseBudget, ConvictDoubleSpend, OpenBudget
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import FAST, World, genesis, keys, pub


def opened(w: World, by: str = "ann", deposit: int = 5 * TOKEN, tickets: int = 10) -> bytes:
    i = budget_id(w.chain, pub(by), w.account(by).nonce)
    w.ok(by, OpenBudget(pub("consumer"), 1, tickets, 20, deposit))
    return i


def budget(w: World, i: bytes) -> Budget:
    return w.query("/budget", i, Budget)


def test_a_budget_holds_its_deposit_until_it_was_closed_for_the_unbonding_time(world: World) -> None:
    w = world
    free = w.account("ann").free
    i = opened(w)
    assert budget(w, i) == Budget(pub("ann"), pub("consumer"), 1, 10, 20, 5 * TOKEN, 1, 0, 0)
    assert (w.account("ann").free, w.issuance().escrows) == (free - 5 * TOKEN, 5 * TOKEN)
    w.refused(TxCode.NOT_OWNER, "ben", CloseBudget(i))
    w.ok("ann", CloseBudget(i))
    assert budget(w, i).closed == w.machine.height
    w.block(FAST.unbonding - 2)
    w.refused(TxCode.WRONG_TIME, "ann", CloseBudget(i))
    w.ok("ann", CloseBudget(i))
    assert (w.account("ann").free, w.issuance().escrows) == (free, 0)
    with pytest.raises(TxFailed):
        budget(w, i)
    w.refused(TxCode.NOT_FOUND, "ann", CloseBudget(i))


def test_two_budgets_of_one_owner_are_two(world: World) -> None:
    assert opened(world) != opened(world)
    assert world.issuance().escrows == 10 * TOKEN


def test_what_is_no_budget_is_refused(world: World) -> None:
    world.refused(TxCode.NOT_FOUND, "ann", OpenBudget(pub("c"), 9, 1, 1, TOKEN))
    world.refused(TxCode.OUT_OF_RANGE, "ann", OpenBudget(pub("c"), 1, 1, 1, FAST.minimum_stake - 1))
    world.refused(TxCode.INSUFFICIENT, "ann", OpenBudget(pub("c"), 1, 1, 1, 2_000 * TOKEN))
    for wrong in (OpenBudget(pub("c"), 1, 0, 1, TOKEN), OpenBudget(pub("c"), 1, MAX_TICKETS + 1, 1, TOKEN)):
        world.send("ann", wrong)
        assert world.block() == [TxCode.MALFORMED]


def test_one_ticket_for_two_miners_or_two_requests_burns_the_deposit() -> None:
    for other in (("dan-hot", bytes(32)), ("cat-hot", b"\1" * 32)):
        w = World()
        i = opened(w)
        first, second = w.ticket("consumer", i, 9, "cat-hot"), w.ticket("consumer", i, 9, *other)
        w.ok("eve", ConvictDoubleSpend(first, second))
        assert budget(w, i).convicted == budget(w, i).closed == w.machine.height
        assert (w.issuance().burned, w.issuance().escrows) == (5 * TOKEN, 0)
        w.refused(TxCode.EXISTS, "eve", ConvictDoubleSpend(first, second))
        w.block(FAST.unbonding)
        free = w.account("ann").free
        w.ok("ann", CloseBudget(i))
        assert w.account("ann").free == free


def test_a_closed_budget_is_convicted_as_long_as_its_deposit_is_there(world: World) -> None:
    i = opened(world)
    world.ok("ann", CloseBudget(i))
    closed = world.machine.height
    world.block(FAST.unbonding - 1)
    world.ok("eve", ConvictDoubleSpend(world.ticket("consumer", i, 0, "a"), world.ticket("consumer", i, 0, "b")))
    assert budget(world, i).closed == closed
    assert world.issuance().burned == 5 * TOKEN


def test_an_honest_consumer_is_not_convicted_by_anything_that_it_signs(world: World) -> None:
    """Nor by what others sign."""
    w = world
    i, other = opened(w), opened(w)
    t = w.ticket
    one = t("consumer", i, 3, "cat-hot")
    cases = [
        (one, one, TxCode.MISMATCH),
        (one, t("consumer", i, 4, "cat-hot"), TxCode.MISMATCH),
        (one, t("consumer", other, 3, "dan-hot"), TxCode.MISMATCH),
        (t("consumer", i, 10, "a"), t("consumer", i, 10, "b"), TxCode.MISMATCH),
        (one, t("ann", i, 3, "dan-hot"), TxCode.BAD_SIGNATURE),
        (t("ann", i, 3, "dan-hot"), one, TxCode.BAD_SIGNATURE),
        (t("consumer", bytes(32), 3, "a"), t("consumer", bytes(32), 3, "b"), TxCode.NOT_FOUND),
        (one, b"noise", TxCode.MALFORMED),
        (one, one + b"\0", TxCode.MALFORMED),
    ]
    for first, second, code in cases:
        w.refused(code, "eve", ConvictDoubleSpend(first, second))
    foreign = World(genesis(share=7))
    w.refused(TxCode.WRONG_CHAIN, "eve", ConvictDoubleSpend(foreign.ticket("consumer", i, 3, "dan-hot"), one))
    assert budget(w, i).convicted == 0


def test_the_same_ticket_signed_again_in_other_bytes_is_still_one() -> None:
    w = World()
    i = opened(w)
    body = encode(Ticket(1, w.chain, i, 1, pub("cat-hot"), bytes(32)))
    one = encode(SignedTicket(1, body, sign(keys("consumer")[1], Domain.TICKET, body)))
    w.refused(TxCode.MISMATCH, "eve", ConvictDoubleSpend(one, one))
