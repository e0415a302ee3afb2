"""What the ledger answers: headers, results, neurons, the metagraph, a proof."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from davy.protocol.encoding import Wire
from davy.protocol.limits import (
    MAX_CHILDREN,
    MAX_COMMITTED_HEADER_BYTES,
    MAX_GENESIS_BYTES,
    MAX_LINEAGE,
    MAX_NAME_CHARS,
    MAX_PARENTS,
    MAX_PRODUCER_CHANGES,
    MAX_SUBNETS,
    MAX_TICKET_RATE,
    MAX_TICKETS,
    MAX_UIDS,
    Hyperparameters,
)
from davy.protocol.manifest import Identity, Manifest, ModelClass
from davy.protocol.signing import Domain, digest
from davy.protocol.transaction import Endpoint
from davy.protocol.words import (
    Amount,
    ChainId,
    Coldkey,
    Digest,
    Height,
    Hotkey,
    ModelId,
    Netuid,
    Proportion,
    PublicKey,
    Signature,
    Uid,
    UnixMillis,
)


class Header(Wire):
    """What a producer signs. `app_hash` is the state's after the block before: app_hash(H) stands in header H+1."""

    version: Annotated[int, Meta(ge=1, le=1)]
    chain: ChainId
    height: Height
    time: UnixMillis
    previous: Digest
    """Hash of the header before; zeros at height 1."""
    app_hash: Digest
    txs: Digest
    """Digest over the hashes of the block's transactions, in order."""
    producer: PublicKey


class SignedHeader(Wire):
    """A header's exact bytes and its producer's signature in the domain HEADER."""

    version: Annotated[int, Meta(ge=1, le=1)]
    header: Annotated[bytes, Meta(max_length=1024)]
    signature: Signature


def header_hash(header: bytes) -> Digest:
    """SHA-256 of a header's bytes in the domain HEADER: the block's hash, and what an anchor names."""
    return digest(Domain.HEADER, header)


def txs_digest(hashes: list[bytes]) -> Digest:
    """SHA-256 over the concatenated transaction hashes in the domain TXS."""
    return digest(Domain.TXS, b"".join(hashes))


class Head(Wire):
    """The newest block a client has verified."""

    height: Height
    time: UnixMillis
    hash: Digest
    app_hash: Digest
    """Of the state after the block before this one."""


class TxResult(Wire):
    """What became of a transaction. `code` 0 is success; `log` is for people and not part of consensus."""

    height: Height
    index: Annotated[int, Meta(ge=0, le=1_000_000)]
    code: Annotated[int, Meta(ge=0, le=1_000)]
    log: Annotated[str, Meta(max_length=1_000)]


class SubnetInfo(Wire):
    """A subnet as the ledger knows it. `epoch` counts its epochs; the next one runs at height `next_epoch_at`."""

    netuid: Netuid
    owner: Coldkey
    task: Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
    mechanism: Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
    hyperparameters: Hyperparameters
    share: int
    epoch: Height
    next_epoch_at: Height
    registration_price: Amount
    pending: Amount


class ComingHyperparameters(Wire):
    """What a subnet's owner changed in the running epoch, or nothing: it holds from the epoch's end at `height` on."""

    netuid: Netuid
    height: Height
    hyperparameters: Annotated[tuple[Hyperparameters, ...], Meta(max_length=1)]


class SubnetList(Wire):
    """All subnets, by netuid."""

    subnets: Annotated[tuple[SubnetInfo, ...], Meta(max_length=MAX_SUBNETS)]


class Neuron(Wire):
    """One UID of a subnet. Proportions are of 65535, for reading; payments were made from exact integers."""

    uid: Uid
    hotkey: Hotkey
    coldkey: Coldkey
    registered_at: Height
    last_update: Height
    stake: Amount
    """All stake on the hotkey now; what votes is the least held over the tempo before."""
    permit: bool
    active: bool
    consensus: int
    incentive: int
    dividends: int
    trust: int
    validator_trust: int
    emission: Amount
    """Paid at the last epoch, to miner and validator side together."""
    earned: Amount
    """Paid since registration."""
    endpoint: Annotated[tuple[Endpoint, ...], Meta(max_length=1)]
    model: Annotated[tuple[ServedModel, ...], Meta(max_length=1)]


class ServedModel(Wire):
    """What a neuron serves on this subnet, and since which height."""

    model_id: Digest
    identity: Identity
    since: Height


class Metagraph(Wire):
    """All neurons of a subnet at a height, ordered by UID."""

    height: Height
    subnet: SubnetInfo
    neurons: Annotated[tuple[Neuron, ...], Meta(max_length=MAX_UIDS)]


class EpochRecord(Wire):
    """What an epoch paid: kept per subnet for the last epochs, so that everybody can check who earned what and why."""

    netuid: Netuid
    epoch: Height
    height: Height
    minted: Amount
    owner: Amount
    miners: tuple[Amount, ...]
    """By UID, to the last unit."""
    validators: tuple[Amount, ...]
    """By UID: what its dividends paid, before it was split among its delegators."""
    weights: tuple[RevealedRow, ...]
    """The rows that voted."""


class RevealedRow(Wire):
    """One validator's weights as they entered an epoch: (uid, value) pairs."""

    uid: Uid
    values: tuple[tuple[Uid, int], ...]


class RowInForce(Wire):
    """A validator's newest row that everybody can see, and the block it was revealed or set in."""

    uid: Uid
    height: Height
    values: tuple[tuple[Uid, int], ...]


class RowsInForce(Wire):
    """All rows of a subnet as they stand now, by UID: what the next epoch would weigh."""

    netuid: Netuid
    height: Height
    rows: tuple[RowInForce, ...]


class ModelRecord(Wire):
    """A registered model."""

    manifest: Manifest
    registrant: Coldkey
    registered_at: Height
    permitted_from: Height
    ancestors: Annotated[tuple[ModelId, ...], Meta(max_length=MAX_LINEAGE)]
    """Those it was made from, and theirs, sorted."""
    model_class: ModelClass
    class_since: Height


class ModelState(Wire):
    """A registered model, the bond held for it, and when it leaves the register; 0 while its registrant keeps it."""

    model: ModelRecord
    bond: Amount
    leaves: Height


class Budget(Wire):
    """How many tickets a consumer may spend on a subnet, and what answers for it.

    Tickets count while `closed` and `convicted` are 0; else they are the heights at which it was.
    """

    owner: Coldkey
    consumer: Hotkey
    netuid: Netuid
    tickets: Annotated[int, Meta(ge=1, le=MAX_TICKETS)]
    rate: Annotated[int, Meta(ge=1, le=MAX_TICKET_RATE)]
    deposit: Amount
    opened: Height
    closed: Height
    convicted: Height


class LentStake(Wire):
    """A hotkey that another lends stake to, or is lent by, and what part of 65535."""

    hotkey: Hotkey
    proportion: Proportion


class Family(Wire):
    """Whom a hotkey lends to on a subnet in the running epoch, whom from the next one on, and who lends to it now."""

    netuid: Netuid
    hotkey: Hotkey
    epoch: Height
    children: Annotated[tuple[LentStake, ...], Meta(max_length=MAX_CHILDREN)]
    coming: Annotated[tuple[LentStake, ...], Meta(max_length=MAX_CHILDREN)]
    parents: Annotated[tuple[LentStake, ...], Meta(max_length=MAX_PARENTS)]


class ColdkeyInfo(Wire):
    """By which name the ledger knows what a coldkey owns, and which key signs for it: the same until it is replaced.

    `due` is the height from which on an announced swap can be executed; 0 where none is announced.
    """

    owner: Coldkey
    signer: Coldkey
    due: Height


class Account(Wire):
    """A key's nonce and, for a coldkey, its free and unbonding balance."""

    nonce: Height
    free: Amount
    unbonding: Amount
    stakes: tuple[tuple[Hotkey, Amount], ...]


class HotkeyInfo(Wire):
    """What one needs to know before one stakes on a hotkey. A raise of the take is possible from `may_raise` on."""

    hotkey: Hotkey
    owner: Coldkey
    take: Proportion
    may_raise: Height
    owned: Amount
    """The owner's stake on it."""
    delegated: Amount
    """All others'."""
    netuids: tuple[Netuid, ...]


class Issuance(Wire):
    """Where every issued unit is. issued = the sum of the others but the last, checked every block.

    `unminted` is what the schedule has and halts kept from being issued: issued + unminted is the schedule.
    """

    height: Height
    issued: Amount
    balances: Amount
    stakes: Amount
    unbonding: Amount
    escrows: Amount
    deposits: Amount
    pending: Amount
    burned: Amount
    unminted: Amount


class ProducerInfo(Wire):
    """One who makes blocks, or waits to; `owner` is empty where nobody answers for it."""

    producer: PublicKey
    owner: Annotated[bytes, Meta(max_length=32)]
    bond: Amount
    waits: bool
    leaves: bool


class ProducerList(Wire):
    """Who makes blocks after a block, by key; then who waits, in line."""

    height: Height
    producers: Annotated[tuple[ProducerInfo, ...], Meta(max_length=256)]


class Succession(Wire):
    """A change of the producers: the last header that those before sign, which names the hash of who comes after."""

    header: Annotated[bytes, Meta(max_length=MAX_COMMITTED_HEADER_BYTES)]
    producers: Annotated[tuple[PublicKey, ...], Meta(min_length=1, max_length=128)]
    """Who comes after."""


def seats_digest(before: Digest, since: Height, producers: Iterable[PublicKey]) -> Digest:
    """SHA-256(before ‖ the first height that they sign, 8 bytes big-endian ‖ their keys, sorted), in the domain SEATS.

    Of the first change `before` is zeros; of a later one, the digest of the one before it: so it stands for them all.
    """
    return digest(Domain.SEATS, before + since.to_bytes(8, "big") + b"".join(sorted(producers)))


class SavedProof(Wire):
    """What a state held or did not hold at a key, with all that is needed to check it and no ledger to ask.

    `header` is the signed header after the block whose state it is; `value` is empty where there is nothing. `changes`
    lead from the producers of the genesis to those that signed; version 1 had none.
    """

    version: Annotated[int, Meta(ge=2, le=2)]
    genesis: Annotated[bytes, Meta(max_length=MAX_GENESIS_BYTES)]
    changes: Annotated[tuple[Succession, ...], Meta(max_length=MAX_PRODUCER_CHANGES)]
    header: Annotated[bytes, Meta(max_length=MAX_COMMITTED_HEADER_BYTES)]
    key: Annotated[bytes, Meta(max_length=256)]
    value: Annotated[tuple[bytes, ...], Meta(max_length=1)]
    proof: Proof


class ProofStep(Wire):
    """One inner node on the way from a leaf to the root: the critical bit it splits at, and the other side's hash."""

    bit: Annotated[int, Meta(ge=0, le=65_535)]
    sibling: Digest


class Proof(Wire):
    """Presence or absence of `key` under an app hash (davy.protocol.proof verifies it).

    `leaf_key` equal to the key asked for proves presence of `leaf_value`; another key that the search for it ends at
    proves absence. An empty map has no leaf: `leaf_key` is empty and there are no steps.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    leaf_key: Annotated[bytes, Meta(max_length=256)]
    leaf_value: Digest
    """SHA-256 of the value's bytes in the domain STATE_LEAF."""
    steps: Annotated[tuple[ProofStep, ...], Meta(max_length=2_048)]
    """From the leaf to the root; bits strictly fall."""
