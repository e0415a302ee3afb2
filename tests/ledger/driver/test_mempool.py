"""What waits is bounded, in each sender's order, and each thing once."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.ledger.driver.mempool import MAX_A_SENDER, Mempool
from davy.protocol.errors import Busy, Replayed, TxCode, TxFailed


def add(pool: Mempool, sender: bytes, nonce: int, due: int = 0, size: int = 10) -> bytes:
    raw = (sender + nonce.to_bytes(4, "big")).ljust(size, b".")
    h = hashlib.sha256(raw).digest()
    pool.refuse_known_or_full(h, len(raw))
    pool.add(h, raw, sender, nonce, due)
    return raw


def test_only_the_next_nonce_is_taken() -> None:
    pool = Mempool()
    for nonce in (5, 6, 7):
        add(pool, b"a", nonce, due=5)
    for nonce in (4, 5, 7, 9):
        with pytest.raises(TxFailed, match=f"next nonce is 8, not {nonce}") as refused:
            add(pool, b"a", nonce, size=20)
        assert refused.value.code is TxCode.WRONG_NONCE
    with pytest.raises(TxFailed, match="next nonce is 3, not 4"):
        add(pool, b"b", 4, due=3)
    assert len(pool) == 3


def test_the_same_bytes_wait_once() -> None:
    pool = Mempool()
    add(pool, b"a", 0)
    with pytest.raises(Replayed, match="already exists"):
        add(pool, b"a", 0)
    assert len(pool) == 1


def test_room_is_bounded_for_all_and_for_one() -> None:
    pool = Mempool(limit=300)
    for nonce in range(MAX_A_SENDER):
        add(pool, b"a", nonce)
    with pytest.raises(Busy, match="full for this sender"):
        add(pool, b"a", MAX_A_SENDER)
    for nonce in range(300 - MAX_A_SENDER):
        add(pool, b"b", nonce)
    with pytest.raises(Busy, match="300 transactions wait"):
        add(pool, b"c", 0)
    assert len(pool.take(1, 10**6)) == 1
    add(pool, b"c", 0)


def test_bytes_are_bounded() -> None:
    pool = Mempool()
    for n in range(31):
        add(pool, bytes([n]), 0, size=2**20)
    with pytest.raises(Busy):
        add(pool, b"\xff", 0, size=2**20 + 1)
    add(pool, b"\xff", 0, size=2**20)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), max_size=40), st.integers(1, 10), st.integers(40, 100)
)
def test_blocks_hold_everything_once_in_order_and_in_bounds(
    arrivals: list[tuple[int, int]], count: int, size: int
) -> None:
    pool, nonces, sent = Mempool(), [0] * 4, list[bytes]()
    for sender, length in arrivals:
        sent.append(add(pool, bytes([sender]), nonces[sender], due=nonces[sender], size=length))
        nonces[sender] += 1
    assert pool.bytes == sum(map(len, sent))
    taken: list[bytes] = []
    while pool:
        was_full = pool.fills(count, size)
        block = pool.take(count, size)
        assert 0 < len(block) <= count
        assert sum(map(len, block)) <= size
        assert was_full or not pool
        taken += block
    assert taken == sent
    assert pool.bytes == 0
    add(pool, b"\x00", 9, due=9)  # nothing of the old senders is left behind
