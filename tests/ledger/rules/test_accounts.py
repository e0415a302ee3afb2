"""Transfers and nonces: what a signed transaction can do once, and never twice or elsewhere."""

import pytest

from davy.ledger.rules.machine import Machine
from davy.protocol.errors import TxCode
from davy.protocol.limits import chain_parameters
from davy.protocol.transaction import Transfer
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import FAST, World, begins, genesis, keys, pub

LEAST = FAST.minimum_stake


def test_what_one_gives_the_other_has(world: World) -> None:
    world.ok("ann", Transfer(pub("stranger"), LEAST), Transfer(pub("ann"), 5), Transfer(pub("stranger"), 7))
    assert world.account("stranger").free == LEAST + 7
    assert world.account("ann").free == 1_000 * TOKEN - LEAST - 7
    assert world.account("ann").nonce == 3


@pytest.mark.parametrize(
    ("amount", "code"),
    [(0, TxCode.OUT_OF_RANGE), (1_000 * TOKEN + 1, TxCode.INSUFFICIENT)],
    ids=["nothing", "too much"],
)
def test_a_transfer_that_is_refused_costs_a_nonce_and_nothing_else(world: World, amount: int, code: TxCode) -> None:
    world.refused(code, "ann", Transfer(pub("ben"), amount))
    assert world.account("ann").free == world.account("ben").free == 1_000 * TOKEN


def test_a_transaction_is_worth_nothing_twice_out_of_order_or_on_another_chain(world: World) -> None:
    give = Transfer(pub("ben"), 1)
    first = world.tx("ann", give, nonce=0)
    early = world.tx("ann", give, nonce=2)
    elsewhere = world.tx("ann", give, nonce=1, chain=bytes(32))
    result = world.apply([early, first, first, elsewhere])
    codes = [TxCode(r.code) for r in result.results]
    assert codes == [TxCode.WRONG_NONCE, TxCode.OK, TxCode.WRONG_NONCE, TxCode.WRONG_CHAIN]
    assert world.account("ben").free == 1_000 * TOKEN + 1


def test_another_s_signature_moves_nothing(world: World) -> None:
    raw = bytearray(world.tx("ann", Transfer(pub("ben"), 1)))
    raw[-1] ^= 1
    assert [r.code for r in world.apply([bytes(raw)]).results] == [TxCode.BAD_SIGNATURE]
    assert world.account("ann").nonce == 0


def test_a_key_that_never_received_anything_leaves_no_trace(world: World) -> None:
    """Keys are free: if each could advance a nonce, anyone could fill the state."""
    before = dict(world.rows)
    result = world.apply([world.tx("nobody", Transfer(pub("ben"), 1))])
    assert [r.code for r in result.results] == [TxCode.NOT_FOUND]
    assert {k for k in world.rows if k not in before} == set()
    assert b"a" + keys("nobody")[0] not in world.rows


def test_an_account_begins_with_something_and_no_transfer_empties_one(world: World) -> None:
    """Else one amount, handed on from key to key, would leave a record with each of them."""
    world.refused(TxCode.OUT_OF_RANGE, "ann", Transfer(pub("one"), LEAST - 1))
    assert b"a" + pub("one") not in world.rows
    world.ok("ann", Transfer(pub("one"), 3 * LEAST))
    world.refused(TxCode.INSUFFICIENT, "one", Transfer(pub("two"), 2 * LEAST + 1))
    world.refused(TxCode.INSUFFICIENT, "one", Transfer(pub("two"), 3 * LEAST))
    world.refused(TxCode.INSUFFICIENT, "one", Transfer(pub("two"), 4 * LEAST))
    world.ok("one", Transfer(pub("two"), 2 * LEAST))
    world.refused(TxCode.INSUFFICIENT, "one", Transfer(pub("ann"), 1))
    assert (world.account("one").free, world.account("two").free) == (LEAST, 2 * LEAST)
    world.ok("one", Transfer(pub("one"), LEAST))


def test_an_account_that_is_there_takes_any_amount(world: World) -> None:
    world.register("cat", "cat-hot")
    world.refused(TxCode.OUT_OF_RANGE, "ann", Transfer(pub("cat-hot"), 1))
    world.refused(TxCode.INSUFFICIENT, "cat-hot", Transfer(pub("ann"), 1))
    world.ok("ann", Transfer(pub("cat-hot"), 1), Transfer(pub("ben"), 1))


def test_where_stake_has_no_least_amount_an_account_has_none() -> None:
    w = World(genesis(p=chain_parameters(minimum_stake=0)))
    w.ok("ann", Transfer(pub("one"), 1))
    w.ok("one", Transfer(pub("two"), 1))


def test_an_account_could_begin_with_anything_before_its_edition(world: World) -> None:
    world.machine = Machine.from_genesis(world.genesis, begins(7))
    world.ok("ann", Transfer(pub("one"), 1))
    world.ok("one", Transfer(pub("two"), 1))
