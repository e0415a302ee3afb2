"""From raw bytes to an effect on the state: opened, checked at the door, then applied in a savepoint.

A transaction that may not be included at all (not decodable, another chain, a wrong signature or nonce, an unknown
sender) has no effect. One that may be included advances its sender's nonce; if its rule then refuses it, or
anything goes wrong in it, the nonce is all that stays. An order of keyholders comes in an envelope of its own, without
sender, nonce or signature: it is recorded, or has no effect.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from davy.ledger.rules.accounts import advance_nonce, transfer
from davy.ledger.rules.attestations import attest_stop
from davy.ledger.rules.brake import brake_order, check_order
from davy.ledger.rules.budgets import close_budget, convict_double_spend, open_budget
from davy.ledger.rules.children import set_children
from davy.ledger.rules.coldkeys import announce_coldkey_swap, execute_coldkey_swap, require_unlocked, signs_for
from davy.ledger.rules.conservation import conserved
from davy.ledger.rules.convictions import convict_served_after_halt
from davy.ledger.rules.hyperparameters import set_hyperparameters
from davy.ledger.rules.models import raise_class, register_model, retire_model, set_access
from davy.ledger.rules.moves import move_stake
from davy.ledger.rules.neurons import register, serve
from davy.ledger.rules.producers import register_producer, retire_producer
from davy.ledger.rules.records import ACCOUNTS, HOTKEYS
from davy.ledger.rules.rotation import rotate_hotkey
from davy.ledger.rules.stake import add_stake, remove_stake
from davy.ledger.rules.state import State
from davy.ledger.rules.subnets import create_subnet
from davy.ledger.rules.take import set_take
from davy.ledger.rules.upgrades import SINCE
from davy.ledger.rules.weights import commit_weights, reveal_weights, set_weights
from davy.protocol.errors import BadSignature, Refused, TxCode, TxFailed
from davy.protocol.order import VerifiedOrder
from davy.protocol.transaction import (
    AddStake,
    AnnounceColdkeySwap,
    AttestStop,
    CloseBudget,
    CommitWeights,
    ConvictDoubleSpend,
    ConvictServedAfterHalt,
    CreateSubnet,
    ExecuteColdkeySwap,
    MoveStake,
    OpenBudget,
    RaiseClass,
    Register,
    RegisterModel,
    RegisterProducer,
    RemoveStake,
    RetireModel,
    RetireProducer,
    RevealWeights,
    RotateHotkey,
    Serve,
    SetAccess,
    SetChildren,
    SetHyperparameters,
    SetTake,
    SetWeights,
    Transfer,
    TxBody,
    open_brake_order,
    open_tx,
    tx_hash,
    verify_tx,
)
from davy.protocol.words import Moment

Rule = Callable[[State, Moment, bytes, Any], None]

RULES: Final = MappingProxyType[type, Rule](
    {
        Transfer: transfer,
        CreateSubnet: create_subnet,
        Register: register,
        Serve: serve,
        AddStake: add_stake,
        RemoveStake: remove_stake,
        CommitWeights: commit_weights,
        RevealWeights: reveal_weights,
        SetWeights: set_weights,
        RegisterModel: register_model,
        RaiseClass: raise_class,
        AttestStop: attest_stop,
        ConvictServedAfterHalt: convict_served_after_halt,
        SetHyperparameters: set_hyperparameters,
        MoveStake: move_stake,
        SetTake: set_take,
        SetChildren: set_children,
        RetireModel: retire_model,
        RotateHotkey: rotate_hotkey,
        AnnounceColdkeySwap: announce_coldkey_swap,
        ExecuteColdkeySwap: execute_coldkey_swap,
        OpenBudget: open_budget,
        CloseBudget: close_budget,
        ConvictDoubleSpend: convict_double_spend,
        RegisterProducer: register_producer,
        RetireProducer: retire_producer,
        SetAccess: set_access,
    }
)
"""Each action's rule: (state, moment, sender, action); it raises TxFailed or has happened.

Those of governance have none yet.
"""


class Opened(NamedTuple):
    """A transaction whose bytes, chain and signature are right."""

    body: TxBody
    hash: bytes


class Signatures:
    """Hashes of transactions whose signature was found right, so that a block does not verify again what the door did.

    A hash covers the signature's bytes too, and a verdict depends on nothing else, so a node that remembers and one
    that does not agree.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[bytes, None] = {}

    def remember(self, h: bytes) -> None:
        """Keep a hash; the oldest is forgotten beyond the limit."""
        self._known[h] = None
        if len(self._known) > self._limit:
            del self._known[next(iter(self._known))]

    def take(self, h: bytes) -> bool:
        """Whether the hash is known; it is forgotten."""
        return self._known.pop(h, False) is None


def open_checked(s: State, raw: bytes, known: Signatures) -> Opened:
    """Decode a transaction and check its chain and signature.

    Raises
    ------
    TxFailed
        MALFORMED, WRONG_CHAIN, BAD_SIGNATURE; INTERNAL for any other exception.
    """
    h = tx_hash(raw)
    try:
        signed, body = open_tx(raw)
        if SINCE.get(type(body.action), 1) > s.edition:
            raise TxFailed(TxCode.MALFORMED, "this chain does not know this action yet; see the height of its upgrade")
        if body.chain != s.chain:
            raise TxFailed(TxCode.WRONG_CHAIN, "signed for another chain; sign it for this one")
        if not known.take(h):
            verify_tx(signed, body)
    except TxFailed:
        raise
    except BadSignature as e:
        raise TxFailed(TxCode.BAD_SIGNATURE, str(e)) from None
    except Refused as e:
        raise TxFailed(TxCode.MALFORMED, str(e)) from None
    except MemoryError:  # this machine's, not the transaction's: to go on would fork from the others
        raise
    except Exception as e:
        raise TxFailed(TxCode.INTERNAL, f"internal error in opening it: {type(e).__name__}") from e
    return Opened(body, h)


def known_sender(s: State, key: bytes) -> int:
    """Return a sender's nonce, by the name that `coldkeys.signs_for` gives.

    A key that never received anything is unknown: else free keys would fill the state.

    Raises
    ------
    TxFailed
        NOT_FOUND.
    """
    a = s.get(ACCOUNTS, key)
    if a is None and s.get(HOTKEYS, key) is None:
        raise TxFailed(
            TxCode.NOT_FOUND, "the ledger does not know this sender; fund it, or register it as a hotkey, first"
        )
    return a.nonce if a else 0


def open_checked_order(s: State, raw: bytes, known: Signatures) -> VerifiedOrder:
    """Open the envelope of an order and check all of it that the state decides (`brake.check_order`).

    Raises
    ------
    TxFailed
        MALFORMED, or what `brake.check_order` refuses; INTERNAL for any other exception.
    """
    try:
        return check_order(s, open_brake_order(raw), verified=known.take(tx_hash(raw)))
    except TxFailed:
        raise
    except Refused as e:
        raise TxFailed(TxCode.MALFORMED, str(e)) from None
    except MemoryError:  # this machine's, not the order's: to go on would fork from the others
        raise
    except Exception as e:
        raise TxFailed(TxCode.INTERNAL, f"internal error in opening an order: {type(e).__name__}") from e


def apply_order(s: State, at: Moment, raw: bytes, known: Signatures) -> None:
    """Record an order of keyholders; a block looks at `order_room` of them, whatever they are.

    Raises
    ------
    TxFailed
        With the reason; TOO_EXPENSIVE: the block has no room for it. The state then holds nothing of it.
    """
    if s.order_room < 1:
        raise TxFailed(TxCode.TOO_EXPENSIVE, "this block takes no more orders; hand it in again")
    s.order_room -= 1
    v = open_checked_order(s, raw, known)
    mark = s.savepoint()
    try:
        brake_order(s, at, v)
        conserved(s, mark)
        s.read_back(mark)
    except TxFailed:
        s.rollback(mark)
        raise
    except MemoryError:  # this machine's, not the order's: to go on would fork from the others
        raise
    except Exception as e:
        s.rollback(mark)
        raise TxFailed(TxCode.INTERNAL, f"internal error in recording an order: {type(e).__name__}: {e}") from e


def apply_transaction(s: State, at: Moment, body: TxBody) -> None:
    """Apply one opened transaction.

    Raises
    ------
    TxFailed
        With the reason; INTERNAL for any exception of a rule. The state then holds nothing of it but the nonce, and
        not even that for NOT_FOUND of its sender, WRONG_NONCE, and NOT_OWNER of a key that another took the place of.
    """
    owner = signs_for(s, body.sender)
    nonce = known_sender(s, owner)
    if body.nonce != nonce:
        raise TxFailed(TxCode.WRONG_NONCE, f"the sender's next nonce is {nonce}, not {body.nonce}; sign again")
    advance_nonce(s, owner)
    mark = s.savepoint()
    try:
        rule = RULES.get(type(body.action))
        if rule is None:
            raise TxFailed(TxCode.NOT_ENABLED, "this ledger does not take this action yet")
        require_unlocked(s, owner, body.action)
        rule(s, at, owner, body.action)
        conserved(s, mark)
        s.read_back(mark)
    except TxFailed:
        s.rollback(mark)
        raise
    except MemoryError:  # this machine's, not the transaction's: to go on would fork from the others
        raise
    except Exception as e:
        s.rollback(mark)
        raise TxFailed(
            TxCode.INTERNAL, f"internal error in {type(body.action).__name__}: {type(e).__name__}: {e}"
        ) from e
