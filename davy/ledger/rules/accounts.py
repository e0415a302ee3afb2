"""Free balance: who has it, who gets it, and what is burned."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from davy.ledger.rules.records import ACCOUNTS, SIGNED_FOR, SUPPLY, AccountRecord
from davy.ledger.rules.state import State
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.transaction import Transfer
from davy.protocol.words import Moment, tokens

NOTHING: Final = AccountRecord(0, 0, 0)


def account(s: State, key: bytes) -> AccountRecord:
    """A key's account; zeros for one that was never seen."""
    return s.get(ACCOUNTS, key) or NOTHING


def credit(s: State, key: bytes, amount: int) -> None:
    """Add to a free balance."""
    if amount:
        a = account(s, key)
        s.put(ACCOUNTS, key, AccountRecord(a.nonce, a.free + amount, a.unbonding))


def debit(s: State, key: bytes, amount: int) -> None:
    """Take from a free balance.

    Raises
    ------
    TxFailed
        INSUFFICIENT: it holds less.
    """
    a = account(s, key)
    if a.free < amount:
        raise TxFailed(
            TxCode.INSUFFICIENT, f"{tokens(amount)} tokens are needed and {tokens(a.free)} are free; add some first"
        )
    if amount:
        s.put(ACCOUNTS, key, AccountRecord(a.nonce, a.free - amount, a.unbonding))


def burn(s: State, amount: int) -> None:
    """Count an amount that was taken elsewhere as burned: it stays issued and is nobody's."""
    supply = s.need(SUPPLY, b"", "the chain has no supply")
    s.put(SUPPLY, b"", replace(supply, burned=supply.burned + amount))


def advance_nonce(s: State, key: bytes) -> None:
    """Count a transaction of `key` as included, whatever becomes of it."""
    a = account(s, key)
    s.put(ACCOUNTS, key, AccountRecord(a.nonce + 1, a.free, a.unbonding))


def transfer(s: State, at: Moment, sender: bytes, x: Transfer) -> None:
    """Move free balance to any key; to one that signs in a coldkey's place, to that coldkey.

    Raises
    ------
    TxFailed
        OUT_OF_RANGE for an amount of zero; INSUFFICIENT.
    """
    positive(x.amount)
    debit(s, sender, x.amount)
    owned = s.get(SIGNED_FOR, x.to)
    credit(s, x.to if owned is None else owned.coldkey, x.amount)


def positive(amount: int) -> None:
    """Refuse to move nothing.

    Raises
    ------
    TxFailed
        OUT_OF_RANGE.
    """
    if amount < 1:
        raise TxFailed(TxCode.OUT_OF_RANGE, "an amount of zero moves nothing; name at least one base unit")
