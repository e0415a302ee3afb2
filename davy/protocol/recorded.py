"""What the ledger keeps of the brake, and who may ask a model, and under which keys: a proof's reader needs no more.

=======================  ==========================================================================================
key                      record
=======================  ==========================================================================================
``B``                    `BrakeRecord`: the head, and a digest over all orders with the times of their blocks
``O`` ‖ order id         `OrderRecord`: an order that stands on the ledger
``D`` ‖ order id         `OrderRecord`: a drill that does; it is in no head
``K`` ‖ group epoch      `Roster`: who was or is in office; 0 is the genesis'
``H`` ‖ name             `HaltedRecord`: a HALT names this; no record, no HALT (`target_names` makes names)
``A`` ‖ order id ‖ node  `AttestationRecord`: this node answered
``X`` ‖ hotkey           `ConvictionRecord`: this hotkey served after a halt
``a`` ‖ key              `AccountRecord`: the nonce and the balance of a key
``E`` ‖ model id         `AccessRecord`: whom its registrant lets ask for it; no record, whom a miner answers
=======================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Final

from msgspec import Meta

from davy.protocol.chain import Proof
from davy.protocol.encoding import Wire, encode
from davy.protocol.limits import MAX_ACCESSES_ASKED, MAX_NAMED_CALLERS, MAX_SIGNED_ORDER_BYTES, MAX_SUBJECT_ROWS
from davy.protocol.manifest import Access
from davy.protocol.order import Global, Miner, Models, OrderId, Subnet, Target
from davy.protocol.signing import Domain, digest
from davy.protocol.words import Amount, Coldkey, Digest, Height, Hotkey, ModelId, Netuid, PublicKey, UnixMillis

BRAKE_KEY: Final = b"B"


class AccountRecord(Wire):
    """A key's nonce; a coldkey's free balance and what is on its way back from stake."""

    nonce: Height
    free: Amount
    unbonding: Amount


class OrderRecord(Wire):
    """A signed order's bytes, and the block that recorded it; `number` counts the chain's orders, drills included."""

    order: Annotated[bytes, Meta(max_length=MAX_SIGNED_ORDER_BYTES)]
    height: Height
    time: UnixMillis
    number: Height


class BrakeRecord(Wire):
    """The whole brake in a few bytes: whoever has all orders can check that they are all."""

    head: Digest
    """`davy.killswitch.brake.head`."""
    recorded: Digest
    """`recorded_digest` of all orders."""
    orders: Annotated[int, Meta(ge=0)]
    next: Height
    """The number that the next order gets."""


class HaltedRecord(Wire):
    """Of the HALTs that name something and are not lifted the one that ends last."""

    halt: OrderId
    ends: UnixMillis
    """After it no ordinary model is halted under this name; the allowance may end it sooner."""
    until: UnixMillis
    """The same for systemic ones: when the orders of a replaced roster end, else no moment at all (2^63 − 1)."""


class AttestationRecord(Wire):
    """A node's own word on an order (`davy.protocol.attestation`), and the block that heard it."""

    height: Height
    received: UnixMillis
    stopped: UnixMillis
    head: Digest
    models: Annotated[int, Meta(ge=0)]
    """How many it named."""
    streams: Annotated[int, Meta(ge=0)]


class ConvictionRecord(Wire):
    """Why a hotkey is barred, and what was burned for it when it was convicted; unbonding stake is burned later."""

    height: Height
    halt: OrderId
    receipt: Digest
    """`receipt_digest` of the signed receipt."""
    burned: Amount


class AccessRecord(Wire):
    """Whom a model's registrant lets ask for it, since a block; the keys are sorted, and there only where some are."""

    access: Access
    coldkeys: Annotated[tuple[Coldkey, ...], Meta(max_length=MAX_NAMED_CALLERS)]
    hotkeys: Annotated[tuple[Hotkey, ...], Meta(max_length=MAX_NAMED_CALLERS)]
    since: Height


class AccessList(Wire):
    """Who may ask for each of the models that were asked about, in their order; ANY, since 0, where nothing is said."""

    records: Annotated[tuple[AccessRecord, ...], Meta(max_length=MAX_ACCESSES_ASKED)]


class BrakePage(Wire):
    """Orders and drills by number, and what the state said of all orders after block `height`."""

    height: Height
    brake: BrakeRecord
    orders: tuple[OrderRecord, ...]
    more: bool
    """There are orders behind the last one of these."""


class RecordedBrake(Wire):
    """All orders as they stand after block `height`, by number: `brake` vouches for them, and a header for `brake`.

    Nobody vouches for there being all `drills`; each vouches for itself.
    """

    height: Height
    brake: BrakeRecord
    orders: tuple[OrderRecord, ...]
    drills: tuple[OrderRecord, ...]


class Attested(Wire):
    """One node's answer to an order."""

    node: Hotkey
    attestation: AttestationRecord


class AttestationPage(Wire):
    """Who answered an order, by hotkey."""

    height: Height
    attestations: tuple[Attested, ...]
    more: bool


class Facts(Wire):
    """What orders can know a model by; a registrant without a model has an empty `id`."""

    id: Annotated[bytes, Meta(max_length=32)]
    files: tuple[Digest, ...]
    """Sorted."""
    registrant: Coldkey


class SubjectFacts(Wire):
    """All that the ledger knows of what a hotkey serves on a subnet: `davy.killswitch.scope.Subject` is made of it.

    It was so after block `height`.
    """

    height: Height
    netuid: Netuid
    hotkey: Hotkey
    model: Annotated[tuple[Facts, ...], Meta(max_length=1)]
    ancestors: tuple[Facts, ...]
    siblings: tuple[Facts, ...]
    systemic: bool


class ProvedRow(Wire):
    """What a state holds at a key, or, where `value` is empty, that it holds nothing."""

    key: Annotated[bytes, Meta(max_length=256)]
    value: Annotated[tuple[bytes, ...], Meta(max_length=1)]
    proof: Proof


class SubjectRows(Wire):
    """The rows after block `height` that the `SubjectFacts` of one question are read from, and no others."""

    height: Height
    rows: Annotated[tuple[ProvedRow, ...], Meta(max_length=MAX_SUBJECT_ROWS)]


def account_key(key: PublicKey) -> bytes:
    """Key of an account; its absence proves that nothing was ever signed or received with it."""
    return b"a" + key


def order_keys(order: OrderId) -> tuple[bytes, bytes]:
    """Where an order is recorded, and where a drill is."""
    return b"O" + order, b"D" + order


def halted_key(name: bytes) -> bytes:
    """Key of what halts a name; its absence proves that nothing does."""
    return b"H" + name


def conviction_key(hotkey: Hotkey) -> bytes:
    """Key of a conviction; its absence proves that a hotkey is not barred."""
    return b"X" + hotkey


def access_key(model: ModelId) -> bytes:
    """Key of a model's access; its absence proves that its registrant sets none."""
    return b"E" + model


GLOBAL_NAME: Final = b"g" + bytes(32)
"""The name of everything. Names are 33 bytes: a letter for the kind, and 32."""


def subnet_name(netuid: Netuid) -> bytes:
    return b"s" + netuid.to_bytes(32, "big")


def miner_name(hotkey: Hotkey) -> bytes:
    return b"h" + hotkey


def model_name(model: ModelId) -> bytes:
    return b"m" + model


def file_name(file: Digest) -> bytes:
    return b"f" + file


def registrant_name(coldkey: Coldkey) -> bytes:
    return b"r" + coldkey


def target_names(target: Target) -> Iterator[bytes]:
    """All names that an order of this target halts."""
    match target:
        case Global():
            yield GLOBAL_NAME
        case Subnet(netuid=netuid):
            yield subnet_name(netuid)
        case Miner(hotkey=hotkey):
            yield miner_name(hotkey)
        case Models():
            yield from models_names(target)


def models_names(models: Models) -> Iterator[bytes]:
    """All names of models that an order gives."""
    yield from map(model_name, models.ids)
    yield from map(file_name, models.files)
    yield from map(registrant_name, models.registrants)


class _AllRecorded(Wire):
    version: int
    orders: tuple[tuple[OrderId, Height, UnixMillis], ...]


def recorded_digest(orders: Iterable[tuple[OrderId, Height, UnixMillis]]) -> Digest:
    """SHA-256 over all orders, sorted, each with the height and time of its block, in the domain RECORDED."""
    return digest(Domain.RECORDED, encode(_AllRecorded(1, tuple(sorted(orders)))))
