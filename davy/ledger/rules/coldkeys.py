"""A coldkey that another takes the place of. What it owns stays under its name; only who signs for it changes.

So nothing has to be moved, whatever it owns, and no HALT that names a registrant is escaped. The delay gives its holder
time to see a swap that a thief announced. While one is announced the coldkey does nothing else: a thief who has it too
takes nothing, and cannot call it off. Which of two who hold a key is the thief nobody decides: that is governance's.
"""

from __future__ import annotations

from typing import Final

from davy.ledger.rules.accounts import NOTHING, account, credit, debit
from davy.ledger.rules.records import (
    CHAIN,
    HOTKEYS,
    SIGNED_FOR,
    SIGNERS,
    SUBNETS,
    SWAPS,
    OwnedRecord,
    SignerRecord,
    SwapRecord,
    subnet_key,
)
from davy.ledger.rules.state import State
from davy.ledger.rules.upgrades import ALL_WORK_COUNTS_SINCE, COLDKEYS_APART_SINCE
from davy.protocol.consents import succession_consent, successor_digest
from davy.protocol.errors import BadSignature, TxCode, TxFailed
from davy.protocol.signing import Domain, verify
from davy.protocol.transaction import AnnounceColdkeySwap, ExecuteColdkeySwap
from davy.protocol.words import Moment

SWAPPING: Final = (AnnounceColdkeySwap, ExecuteColdkeySwap)
"""All that a coldkey does while its swap is announced."""


def owner_by(s: State, key: bytes) -> bytes:
    """The name under which the ledger knows what a key signs for, or once signed for: mostly the key itself."""
    owned = s.get(SIGNED_FOR, key)
    return key if owned is None else owned.coldkey


def signs_for(s: State, key: bytes) -> bytes:
    """`owner_by`, for a key that signed a transaction.

    Raises
    ------
    TxFailed
        NOT_OWNER: another key took its place.
    """
    owner = owner_by(s, key)
    signer = s.get(SIGNERS, owner)
    if signer is not None and signer.key != key:
        raise TxFailed(TxCode.NOT_OWNER, "another key signs in this coldkey's place; use that one")
    return owner


def require_unlocked(s: State, owner: bytes, action: object) -> None:
    """Refuse all but the swap itself while one is announced.

    Raises
    ------
    TxFailed
        WRONG_TIME.
    """
    swap = s.get(SWAPS, owner)
    if swap is not None and not isinstance(action, SWAPPING):
        raise TxFailed(
            TxCode.WRONG_TIME,
            f"this coldkey is being replaced and does nothing else; execute it from height {swap.due} on",
        )


def require_fresh(s: State, key: bytes) -> None:
    """Refuse a key that ever signed anything, is a hotkey, or stands for a coldkey. It may have been sent tokens.

    Raises
    ------
    TxFailed
        EXISTS.
    """
    known = s.get(HOTKEYS, key) or s.get(SIGNED_FOR, key) or s.get(SIGNERS, key) or s.get(SWAPS, key)
    if known is not None or account(s, key).nonce:
        raise TxFailed(TxCode.EXISTS, "the ledger knows this key already; make a new one")


def require_no_subnet(s: State, owner: bytes, key: bytes) -> None:
    """Refuse a key that owns a subnet since the genesis: what that subnet earns would be nobody's.

    Raises
    ------
    TxFailed
        EXISTS; TOO_EXPENSIVE.
    """
    netuids = s.need(CHAIN, b"", "the chain has no id").netuids
    s.spend(len(netuids), owner, keys=True)
    if any(s.need(SUBNETS, subnet_key(n), "no such subnet").owner == key for n in netuids):
        raise TxFailed(TxCode.EXISTS, "this key owns a subnet; make a new one")


def announce_coldkey_swap(s: State, at: Moment, sender: bytes, x: AnnounceColdkeySwap) -> None:
    """Name, by a digest, the key that is to sign for a coldkey from `unbonding` blocks later on.

    Raises
    ------
    TxFailed
        NOT_OWNER: a hotkey; its owner rotates it. WRONG_TIME: one is announced, and less than `unbonding` blocks are
        past the height from which on it could be executed.
    """
    if s.get(HOTKEYS, sender) is not None:
        raise TxFailed(TxCode.NOT_OWNER, "this is a hotkey; its owner replaces it with rotate_hotkey")
    delay = s.parameters.unbonding
    swap = s.get(SWAPS, sender)
    if swap is not None and at.height < swap.due + delay:
        raise TxFailed(
            TxCode.WRONG_TIME, f"a swap is announced; execute it, or announce another at height {swap.due + delay}"
        )
    s.put(SWAPS, sender, SwapRecord(x.successor, at.height + delay))


def execute_coldkey_swap(s: State, at: Moment, sender: bytes, x: ExecuteColdkeySwap) -> None:
    """Let the announced key sign for a coldkey from now on; what it was sent itself goes to the coldkey.

    A key that once signed never becomes a coldkey of its own: what it signed could be played again there.

    Raises
    ------
    TxFailed
        NOT_FOUND: none is announced. WRONG_TIME: too soon. MISMATCH: another key was announced. EXISTS: the ledger
        knows it, or it owns a subnet. TOO_EXPENSIVE. BAD_SIGNATURE: it does not consent.
    """
    swap = s.need(SWAPS, sender, "no swap is announced; announce it first")
    if at.height < swap.due:
        raise TxFailed(TxCode.WRONG_TIME, f"the swap can be executed from height {swap.due} on; wait until then")
    if successor_digest(s.chain, sender, x.successor) != swap.successor:
        raise TxFailed(TxCode.MISMATCH, "this is not the key that was announced")
    require_fresh(s, x.successor)
    if COLDKEYS_APART_SINCE <= s.edition < ALL_WORK_COUNTS_SINCE:
        require_no_subnet(s, sender, x.successor)
    try:
        verify(x.successor, Domain.SUCCESSION, succession_consent(s.chain, sender, x.successor), x.consent)
    except BadSignature as e:
        raise TxFailed(TxCode.BAD_SIGNATURE, f"the successor's consent: {e}") from None
    if s.edition >= ALL_WORK_COUNTS_SINCE:  # after the consent: what is refused for want of one must use up no work
        require_no_subnet(s, sender, x.successor)
    sent = account(s, x.successor)
    if sent != NOTHING:
        debit(s, x.successor, sent.free)
        credit(s, sender, sent.free)
    s.put(SIGNERS, sender, SignerRecord(x.successor))
    s.put(SIGNED_FOR, x.successor, OwnedRecord(sender))
    s.delete(SWAPS, sender)
