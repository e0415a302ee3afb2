"""What may be asked of the ledger: a tagged union of actions, and the envelope that signs one; or a keyholders' order.

The envelope's signature covers the exact bytes of the body. The body names the chain and a nonce, so it is worth
nothing on another chain and cannot be applied twice. A transaction's hash is the plain SHA-256 of its bytes, without a
domain: it is also the consensus engine's own key for it.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.limits import (
    MAX_ANCESTORS,
    MAX_CHILDREN,
    MAX_GOVERNANCE_BYTES,
    MAX_HEADER_BYTES,
    MAX_HOST_CHARS,
    MAX_NAME_CHARS,
    MAX_NAMED_CALLERS,
    MAX_RECEIPT_BYTES,
    MAX_SERVED_MODELS,
    MAX_SIGNED_ORDER_BYTES,
    MAX_TAKE,
    MAX_TICKET_BYTES,
    MAX_TICKET_RATE,
    MAX_TICKETS,
    MAX_TX_BYTES,
    MAX_UIDS,
    Hyperparameters,
)
from davy.protocol.manifest import Access, Identity, Manifest, ModelClass
from davy.protocol.order import OrderId
from davy.protocol.signing import Domain, digest, verify
from davy.protocol.words import (
    U16,
    Amount,
    ChainId,
    Coldkey,
    Digest,
    Height,
    Hotkey,
    ModelId,
    Netuid,
    Nonce,
    Port,
    Proportion,
    PublicKey,
    Signature,
    TxHash,
    Uid,
)


class Transfer(Wire, tag="transfer"):
    """By a coldkey: move free balance."""

    to: Coldkey
    amount: Amount


class CreateSubnet(Wire, tag="create_subnet"):
    """By a coldkey: burn `subnet_price`; the subnet starts with an emission share of zero."""

    task: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    mechanism: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    hyperparameters: Hyperparameters


class SetHyperparameters(Wire, tag="set_hyperparameters"):
    """By a subnet's owner: all that is to hold from the end of the running epoch on."""

    netuid: Netuid
    hyperparameters: Hyperparameters


class Register(Wire, tag="register"):
    """By a coldkey: burn the registration price and receive a UID for `hotkey`.

    `consent` is the hotkey's signature over (chain, coldkey, hotkey): nobody registers another's hotkey.
    """

    netuid: Netuid
    hotkey: Hotkey
    consent: Signature
    price_limit: Amount
    """Refused when the price has risen above it."""


class Endpoint(Wire):
    """Where a node listens: `fingerprint` is the SHA-256 of its TLS certificate (DER).

    `next` is the fingerprint it will change to; empty while no change is planned.
    """

    host: Annotated[str, Meta(min_length=1, max_length=MAX_HOST_CHARS, pattern=r"^[A-Za-z0-9.:_-]+\Z")]
    port: Port
    fingerprint: Digest
    next: Annotated[bytes, Meta(max_length=32)]


class Served(Wire):
    """One model a hotkey serves on one subnet."""

    netuid: Netuid
    model_id: ModelId
    identity: Identity


class Serve(Wire, tag="serve"):
    """By a hotkey: where it listens and what it serves; replaces what it said before. One model a subnet."""

    endpoint: Endpoint
    models: Annotated[tuple[Served, ...], Meta(max_length=MAX_SERVED_MODELS)]


class AddStake(Wire, tag="add_stake"):
    """By a coldkey: free balance becomes stake on `hotkey`."""

    hotkey: Hotkey
    amount: Amount


class RemoveStake(Wire, tag="remove_stake"):
    """By a coldkey: stake begins to unbond: it votes no more, can be slashed, and is free after `unbonding` blocks."""

    hotkey: Hotkey
    amount: Amount


class MoveStake(Wire, tag="move_stake"):
    """By a coldkey: its stake on `origin` becomes its stake on `destination`, without unbonding."""

    origin: Hotkey
    destination: Hotkey
    amount: Amount


class SetTake(Wire, tag="set_take"):
    """By a hotkey's owner: what part of 65535 it keeps of the dividends of who stakes on it."""

    hotkey: Hotkey
    take: Annotated[int, Meta(ge=0, le=MAX_TAKE)]


class Weight(Wire):
    """One validator's opinion of one neuron; `subject` binds it to what was scored (`weight_subject`)."""

    uid: Uid
    subject: Annotated[bytes, Meta(min_length=8, max_length=8)]
    value: Proportion


class CommitWeights(Wire, tag="commit_weights"):
    """By a hotkey with a permit: `weights_commitment`, to be revealed `reveal_epochs` later."""

    netuid: Netuid
    epoch: Height
    commitment: Digest


class RevealWeights(Wire, tag="reveal_weights"):
    """By the hotkey that committed: what the commitment of `epoch` hides."""

    netuid: Netuid
    epoch: Height
    weights: Annotated[tuple[Weight, ...], Meta(max_length=MAX_UIDS)]
    salt: Digest


class SetWeights(Wire, tag="set_weights"):
    """By a hotkey with a permit, only where the subnet switched commit–reveal off."""

    netuid: Netuid
    weights: Annotated[tuple[Weight, ...], Meta(max_length=MAX_UIDS)]


class RegisterModel(Wire, tag="register_model"):
    """By a coldkey: `model_bond` is held while it is registered; it may be served after `model_review` blocks.

    `ancestors` are the registered models it was made from, sorted. Its class is at least theirs.
    """

    manifest: Manifest
    ancestors: Annotated[tuple[ModelId, ...], Meta(max_length=MAX_ANCESTORS)]
    model_class: ModelClass


class RaiseClass(Wire, tag="raise_class"):
    """By a model's registrant: it becomes systemic, for as long as it is that registrant's."""

    model_id: ModelId


class AttestStop(Wire, tag="attest_stop"):
    """By anybody: a node's answer to an order or a drill; the bytes of a `SignedAttestation`."""

    attestation: Annotated[bytes, Meta(max_length=MAX_RECEIPT_BYTES)]


class ConvictServedAfterHalt(Wire, tag="convict_served_after_halt"):
    """By anybody: the HALT `halt` was on the ledger when a miner served what it halts."""

    halt: OrderId
    request: Annotated[bytes, Meta(max_length=MAX_HEADER_BYTES)]
    """The signature base whose digest is the receipt's `request_id`: its anchor says how old the answer can be."""
    receipt: Annotated[bytes, Meta(max_length=MAX_RECEIPT_BYTES)]
    """The bytes of a `SignedReceipt`."""


class Child(Wire):
    """One hotkey to which another lends a part of its stake on a subnet.

    `consent` is the child's signature (`davy.protocol.consents`); empty where both have one owner.
    """

    hotkey: Hotkey
    proportion: Annotated[int, Meta(ge=1, le=U16)]
    consent: Annotated[bytes, Meta(max_length=64)]


class SetChildren(Wire, tag="set_children"):
    """By a hotkey's owner: to whom it lends its stake on a subnet, from the end of the running epoch on."""

    netuid: Netuid
    hotkey: Hotkey
    children: Annotated[tuple[Child, ...], Meta(max_length=MAX_CHILDREN)]


class RetireModel(Wire, tag="retire_model"):
    """By a model's registrant: announce that it leaves the register; once that time is over, take the bond back."""

    model_id: ModelId


class RotateHotkey(Wire, tag="rotate_hotkey"):
    """By a hotkey's owner: `successor`, a key that never was on the ledger, takes its place everywhere.

    `consent` is the successor's, as in `Register`.
    """

    hotkey: Hotkey
    successor: Hotkey
    consent: Signature


class AnnounceColdkeySwap(Wire, tag="announce_coldkey_swap"):
    """By a coldkey: another one is to sign for all it owns; `successor` is `successor_digest` of it.

    Until then it signs nothing else.
    """

    successor: Digest


class ExecuteColdkeySwap(Wire, tag="execute_coldkey_swap"):
    """By a coldkey, `unbonding` blocks after it announced this: from now on `successor` signs for all it owns.

    `consent` is the successor's (`davy.protocol.consents`).
    """

    successor: Coldkey
    consent: Signature


class OpenBudget(Wire, tag="open_budget"):
    """By a coldkey: `consumer` may spend tickets 0 to `tickets` − 1 on a subnet; `deposit` answers for double ones.

    The budget's id is `davy.protocol.ticket.budget_id`.
    """

    consumer: Hotkey
    netuid: Netuid
    tickets: Annotated[int, Meta(ge=1, le=MAX_TICKETS)]
    rate: Annotated[int, Meta(ge=1, le=MAX_TICKET_RATE)]
    """Tickets a second that one miner takes."""
    deposit: Amount


class CloseBudget(Wire, tag="close_budget"):
    """By who opened it: no ticket counts any more; `unbonding` blocks later, again: the deposit comes back."""

    budget: Digest


class ConvictDoubleSpend(Wire, tag="convict_double_spend"):
    """By anybody: the bytes of two `SignedTicket` of one number, for two requests or two miners."""

    first: Annotated[bytes, Meta(max_length=MAX_TICKET_BYTES)]
    second: Annotated[bytes, Meta(max_length=MAX_TICKET_BYTES)]


class RegisterProducer(Wire, tag="register_producer"):
    """By a coldkey: `bond` is held for a producer's key, which then waits for a seat among those who make blocks.

    `consent` is the key's own (`davy.protocol.consents.producer_consent`).
    """

    producer: PublicKey
    consent: Signature
    bond: Amount


class RetireProducer(Wire, tag="retire_producer"):
    """By who registered a producer: it leaves; `unbonding` blocks after it left, again: the bond comes back."""

    producer: PublicKey


class SetAccess(Wire, tag="set_access"):
    """By a model's registrant: who may ask for it, from the block on that takes this; a coldkey means all its hotkeys.

    Both lists are sorted, hold MAX_NAMED_CALLERS together at most, and are empty unless `access` is NAMED.
    """

    model_id: ModelId
    access: Access
    coldkeys: Annotated[tuple[Coldkey, ...], Meta(max_length=MAX_NAMED_CALLERS)]
    hotkeys: Annotated[tuple[Hotkey, ...], Meta(max_length=MAX_NAMED_CALLERS)]


class Propose(Wire, tag="propose"):
    """A place that is kept: it is answered NOT_ENABLED, whatever `body` is."""

    body: Annotated[bytes, Meta(max_length=MAX_GOVERNANCE_BYTES)]


class Vote(Wire, tag="vote"):
    """As `Propose`."""

    body: Annotated[bytes, Meta(max_length=MAX_GOVERNANCE_BYTES)]


class Execute(Wire, tag="execute"):
    """As `Propose`."""

    body: Annotated[bytes, Meta(max_length=MAX_GOVERNANCE_BYTES)]


Action: TypeAlias = (
    Transfer
    | CreateSubnet
    | Register
    | Serve
    | AddStake
    | RemoveStake
    | CommitWeights
    | RevealWeights
    | SetWeights
    | RegisterModel
    | RaiseClass
    | AttestStop
    | ConvictServedAfterHalt
    | SetHyperparameters
    | MoveStake
    | SetTake
    | SetChildren
    | RetireModel
    | RotateHotkey
    | AnnounceColdkeySwap
    | ExecuteColdkeySwap
    | OpenBudget
    | CloseBudget
    | ConvictDoubleSpend
    | RegisterProducer
    | RetireProducer
    | SetAccess
    | Propose
    | Vote
    | Execute
)


class TxBody(Wire):
    """What is signed. `nonce` is the number of transactions the sender has had included before."""

    version: Annotated[int, Meta(ge=1, le=1)]
    chain: ChainId
    sender: PublicKey
    nonce: Nonce
    action: Action


class SignedTx(Wire):
    """What goes over the wire: the body's exact bytes and the sender's signature in the domain TX."""

    version: Annotated[int, Meta(ge=1, le=1)]
    body: Annotated[bytes, Meta(max_length=MAX_TX_BYTES)]
    signature: Signature


class BrakeOrder(Wire, tag="brake_order"):
    """The other envelope: an order of the keyholders, which vouches for itself.

    It has no sender, so it depends on nobody's balance, nonce or key, and whoever has the order can hand it in.
    """

    order: Annotated[bytes, Meta(max_length=MAX_SIGNED_ORDER_BYTES)]
    """The bytes of a `SignedOrder`."""


_ORDER_ENVELOPE: Final = encode(BrakeOrder(b""))[:-2]


def is_brake_order(raw: bytes) -> bool:
    """Whether a transaction's bytes begin as the envelope of an order does; nothing else does."""
    return raw.startswith(_ORDER_ENVELOPE)


def open_brake_order(raw: bytes) -> bytes:
    """Return the signed order's bytes, unchecked.

    Raises
    ------
    TooLarge, Malformed
        See `davy.protocol.encoding.decode`.
    """
    return decode(raw, BrakeOrder, limit=MAX_TX_BYTES).order


def tx_hash(raw: bytes) -> TxHash:
    """Plain SHA-256 of the signed transaction's bytes."""
    return hashlib.sha256(raw).digest()


def open_tx(raw: bytes) -> tuple[SignedTx, TxBody]:
    """Decode an envelope and its body; the signature is not checked.

    Raises
    ------
    TooLarge, Malformed
        See `davy.protocol.encoding.decode`.
    """
    signed = decode(raw, SignedTx, limit=MAX_TX_BYTES)
    return signed, decode(signed.body, TxBody, limit=MAX_TX_BYTES)


def verify_tx(signed: SignedTx, body: TxBody) -> None:
    """Check the sender's signature.

    Raises
    ------
    BadSignature
    """
    verify(body.sender, Domain.TX, signed.body, signed.signature)


class _Consent(Wire):
    version: int
    chain: ChainId
    coldkey: Coldkey
    hotkey: Hotkey


def consent_bytes(chain: ChainId, coldkey: Coldkey, hotkey: Hotkey) -> bytes:
    """What a hotkey signs, in the domain CONSENT, to be registered by a coldkey."""
    return encode(_Consent(1, chain, coldkey, hotkey))


class _Subject(Wire):
    version: int
    hotkey: Hotkey
    registered_at: Height
    model_id: Annotated[bytes, Meta(max_length=32)]


def weight_subject(hotkey: Hotkey, registered_at: Height, model_id: bytes) -> bytes:
    """First 8 bytes of SHA-256 over (hotkey, registration height, model id; empty while nothing is served).

    A weight whose subject is not the neuron's at the epoch counts zero: a sniped UID, a swapped model inherit nothing.
    """
    return digest(Domain.SUBJECT, encode(_Subject(1, hotkey, registered_at, model_id)))[:8]


class _Commitment(Wire):
    version: int
    chain: ChainId
    netuid: Netuid
    hotkey: Hotkey
    registered_at: Height
    epoch: Height
    weights: tuple[Weight, ...]
    salt: Digest


def weights_commitment(
    chain: ChainId,
    netuid: Netuid,
    hotkey: Hotkey,
    registered_at: Height,
    epoch: Height,
    weights: tuple[Weight, ...],
    salt: Digest,
) -> Digest:
    """SHA-256 over all that a commitment is bound to, so that nobody can reveal, or profit from, another's."""
    c = _Commitment(1, chain, netuid, hotkey, registered_at, epoch, weights, salt)
    return digest(Domain.COMMIT, encode(c))
