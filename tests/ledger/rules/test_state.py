"""What a block leaves behind: only rows that differ from those before it, whatever was written on the way."""

import pytest

from davy.ledger.rules.records import ACCOUNTS, SUPPLY, AccountRecord, SupplyRecord
from davy.ledger.rules.state import State
from davy.protocol.encoding import encode
from davy.protocol.errors import TxFailed

ANN, BEN = ACCOUNTS.tag + b"a" * 32, ACCOUNTS.tag + b"b" * 32


def test_a_row_that_is_written_as_it_was_is_no_change() -> None:
    s = State({ANN: AccountRecord(1, 5, 0), SUPPLY.tag: SupplyRecord(9, 0, 0)})
    s.put(ACCOUNTS, b"a" * 32, AccountRecord(1, 7, 0))
    s.put(ACCOUNTS, b"a" * 32, AccountRecord(1, 5, 0))
    s.put(SUPPLY, b"", SupplyRecord(9, 1, 0))
    assert s.settle() == ({SUPPLY.tag: encode(SupplyRecord(9, 1, 0))}, set())
    assert s.settle() == ({}, set())


def test_a_row_that_came_and_went_is_no_change_and_one_that_went_is_deleted() -> None:
    s = State({ANN: AccountRecord(1, 5, 0)})
    s.put(ACCOUNTS, b"b" * 32, AccountRecord(0, 1, 0))
    s.delete(ACCOUNTS, b"b" * 32)
    s.delete(ACCOUNTS, b"c" * 32)
    s.delete(ACCOUNTS, b"a" * 32)
    assert s.settle() == ({}, {ANN})
    assert BEN not in s.records


def test_a_rollback_brings_back_what_stood_at_its_mark() -> None:
    s = State({ANN: AccountRecord(1, 5, 0)})
    s.put(ACCOUNTS, b"a" * 32, AccountRecord(1, 6, 0))
    mark = s.savepoint()
    s.put(ACCOUNTS, b"a" * 32, AccountRecord(1, 7, 0))
    s.delete(ACCOUNTS, b"a" * 32)
    s.put(ACCOUNTS, b"b" * 32, AccountRecord(0, 1, 0))
    assert s.touched(mark) == {ANN: AccountRecord(1, 6, 0), BEN: None}
    s.rollback(mark)
    assert s.records == {ANN: AccountRecord(1, 6, 0)}
    assert s.settle().puts == {ANN: encode(AccountRecord(1, 6, 0))}


def test_work_is_what_a_block_gives_and_is_spent_once() -> None:
    s = State({})
    with pytest.raises(TxFailed, match="no work left"):
        s.spend(1)
    s.work = 5
    s.spend(3)
    mark = s.savepoint()
    s.spend(2)
    s.rollback(mark)
    with pytest.raises(TxFailed, match="no work left"):
        s.spend(1)
    s.spend(0)
