"""Transfers and nonces: what a signed transaction can do once, and never twice or elsewhere."""

import pytest

from davy.protocol.errors import TxCode
from davy.protocol.transaction import Transfer
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import World, keys, pub


def test_what_one_gives_the_other_has(world: World) -> None:
    world.ok("ann", Transfer(pub("stranger"), 7), Transfer(pub("ann"), 5))
    assert world.account("stranger").free == 7
    assert world.account("ann").free == 1_000 * TOKEN - 7
    assert world.account("ann").nonce == 2


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
