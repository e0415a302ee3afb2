"""Free balance: who has it, who gets it, and what is burned."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from davy.ledger.rules.records import ACCOUNTS, SIGNED_FOR, SUPPLY, AccountRecord
from davy.ledger.rules.state import State
from davy.ledger.rules.upgrades import PLACES_COST_SINCE
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
        OUT_OF_RANGE for an amount of zero, or less than minimum_stake to a key without an account; INSUFFICIENT, also
        where the sender would keep less than that.
    """
    positive(x.amount)
    owned = s.get(SIGNED_FOR, x.to)
    to = x.to if owned is None else owned.coldkey
    if s.edition >= PLACES_COST_SINCE and to != sender:
        _require_kept(s, sender, to, x.amount)
    debit(s, sender, x.amount)
    credit(s, to, x.amount)


def _require_kept(s: State, sender: bytes, to: bytes, amount: int) -> None:
    """Refuse a transfer after which an account holds next to nothing: its record stays for good.

    Both keep something, or one amount that is handed on would leave a record with each key that had it.
    """
    least = s.parameters.minimum_stake
    if amount < least and s.get(ACCOUNTS, to) is None:
        raise TxFailed(
            TxCode.OUT_OF_RANGE, f"this key has no account yet, and one begins with {tokens(least)} tokens; send that"
        )
    free = account(s, sender).free
    if 0 <= free - amount < least:
        may = f"send {tokens(free - least)} at most" if free > least else "this one holds no more, so it sends nothing"
        raise TxFailed(TxCode.INSUFFICIENT, f"an account keeps {tokens(least)} tokens at a transfer; {may}")


def positive(amount: int) -> None:
    """Refuse to move nothing.

    Raises
    ------
    TxFailed
        OUT_OF_RANGE.
    """
    if amount < 1:
        raise TxFailed(TxCode.OUT_OF_RANGE, "an amount of zero moves nothing; name at least one base unit")
