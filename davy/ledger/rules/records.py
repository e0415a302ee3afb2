"""The typed records of the state, and the table that says where each kind stands and how its keys are made.

A key is one tag byte and fields of fixed width, big-endian, so no key is the beginning of another and key order is the
order of the fields. Numbers that go with every UID of a subnet are packed, big-endian, into one record: an epoch
then writes a few records instead of one a neuron.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

from msgspec import Meta

from davy.protocol.chain import Budget, Issuance, ModelRecord, ServedModel
from davy.protocol.encoding import Wire
from davy.protocol.errors import Malformed
from davy.protocol.limits import (
    MAX_CHILDREN,
    MAX_MODELS_A_REGISTRANT,
    MAX_MOVES,
    MAX_NAME_CHARS,
    MAX_PARENTS,
    ChainParameters,
    Hyperparameters,
)
from davy.protocol.order import OrderId
from davy.protocol.recorded import (
    BRAKE_KEY,
    AccessRecord,
    AccountRecord,
    AttestationRecord,
    BrakeRecord,
    ConvictionRecord,
    HaltedRecord,
    OrderRecord,
)
from davy.protocol.roster import Roster
from davy.protocol.transaction import Endpoint
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
    Proportion,
    PublicKey,
    Uid,
)

R = TypeVar("R", bound=Wire)

MAX_RECORD_BYTES: Final = 1 << 26
"""Of an encoded record; a part of a block that writes a longer one fails."""


class Table(NamedTuple, Generic[R]):
    """Where records of one kind stand: keys are `tag` and `width` more bytes."""

    tag: bytes
    width: int
    kind: type[R]


class SupplyRecord(Wire):
    """What was ever issued and what was burned; everything else is held in other records.

    `unminted` is what the schedule has and halts kept from being issued.
    """

    issued: Amount
    burned: Amount
    unminted: Amount


class QueueRecord(Wire):
    """The line of unbonding stake: the sequence numbers of the first and of the next to come."""

    first: Height
    next: Height


class UnbondingRecord(Wire):
    """Stake that left `hotkey` and becomes free balance at height `due`."""

    coldkey: Coldkey
    hotkey: Hotkey
    amount: Amount
    due: Height


class Low(Wire):
    """The least a position held in the running epoch of a subnet, kept from its first change in it."""

    netuid: Netuid
    epoch: Height
    least: Amount


class Pledge(Wire):
    """Stake that its owner moved here from `origin`: until `due` it answers for that hotkey, and stays here.

    Where `origin` is this hotkey, a delegator's stake that took another one's place: it stays, and answers for nothing.
    """

    origin: Hotkey
    amount: Amount
    due: Height


class StakeRecord(Wire):
    """What one coldkey holds on one hotkey."""

    amount: Amount
    lows: tuple[Low, ...]
    pledges: Annotated[tuple[Pledge, ...], Meta(max_length=MAX_MOVES)]
    """Of the owner's own position, those past their height dropped with the next move; of a delegator's one at most."""


class MovesRecord(Wire):
    """Hotkeys to which the owner of one moved stake from it, sorted; where it may answer for this one."""

    destinations: Annotated[tuple[Hotkey, ...], Meta(max_length=MAX_MOVES)]


class HotkeyRecord(Wire):
    """Whom a hotkey belongs to, where it is registered, who has stake on it, and where it listens."""

    owner: Coldkey
    take: Proportion
    raised: Height
    """When its take was raised last, or it became known."""
    netuids: tuple[Netuid, ...]
    delegators: tuple[Coldkey, ...]
    """Coldkeys with stake on it, sorted."""
    endpoint: Annotated[tuple[Endpoint, ...], Meta(max_length=1)]


class ChainRecord(Wire):
    """Which chain this is and which subnets it has, sorted."""

    chain: ChainId
    netuids: tuple[Netuid, ...]
    faults: Annotated[int, Meta(ge=0)]
    """Parts of blocks that an internal error rolled back, ever; 0 on a chain without bugs."""


class SubnetRecord(Wire):
    """What a subnet's owner chose, and its emission share in millionths."""

    owner: Coldkey
    task: Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
    mechanism: Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
    hyperparameters: Hyperparameters
    share: Annotated[int, Meta(ge=0)]


class ComingRecord(Wire):
    """What a subnet's hyperparameters are once its running epoch has ended."""

    hyperparameters: Hyperparameters


class RunningRecord(Wire):
    """What changes while a subnet runs. The epoch `epoch` began after block `began` and ends with block `ends`.

    Blocks in which the subnet is halted do not count: `frozen` of them in all, `paused` since the epoch began.
    """

    epoch: Height
    began: Height
    ends: Height
    pending: Amount
    neurons: Annotated[int, Meta(ge=0)]
    price: Amount
    """What a registration burns in this epoch."""
    registrations: Annotated[int, Meta(ge=0)]
    """In this epoch."""
    skipped: Annotated[int, Meta(ge=0)]
    """Epochs that an internal error made void, ever."""
    frozen: Height
    paused: Height


class TakenRecord(Wire):
    """How many UIDs of a full subnet newcomers took from others in an epoch; in later ones it says nothing."""

    epoch: Height
    count: Annotated[int, Meta(ge=1)]


class NeuronRecord(Wire):
    """Who holds a UID, since when, and what it serves; `subject` is what weights must name (`weight_subject`)."""

    hotkey: Hotkey
    coldkey: Coldkey
    registered_at: Height
    model: Annotated[tuple[ServedModel, ...], Meta(max_length=1)]
    subject: Annotated[bytes, Meta(min_length=8, max_length=8)]
    unrevealed: Annotated[int, Meta(ge=0, le=1)]
    """1 while its next dividends are to pay for a commit it did not reveal."""
    frozen: Height
    """`RunningRecord.frozen` when it registered: what came since does not count towards its immunity."""


class RegisteredModel(Wire):
    """A model and the bond that is held for it."""

    model: ModelRecord
    bond: Amount


class RegistrantRecord(Wire):
    """The models a coldkey registered, sorted."""

    models: Annotated[tuple[ModelId, ...], Meta(max_length=MAX_MODELS_A_REGISTRANT)]


class AnswerRecord(Wire):
    """An attestation's place in the line of all: the oldest makes room."""

    order: OrderId
    node: Hotkey


class DrillsRecord(Wire):
    """The drills that stand on the ledger, oldest first, each with its end."""

    drills: tuple[tuple[OrderId, Height], ...]


class UidRecord(Wire):
    """Which UID a hotkey has on a subnet."""

    uid: Uid


class Commit(Wire):
    """A commitment made in `epoch` at `height`, to be revealed in epoch `due`."""

    epoch: Height
    due: Height
    height: Height
    commitment: Digest


class CommitsRecord(Wire):
    """A neuron's commits that are neither revealed nor expired, by epoch."""

    commits: tuple[Commit, ...]


class WeightsRecord(Wire):
    """A validator's row: 12 bytes a weight (uid, subject, value), and the block it was revealed or set in."""

    height: Height
    row: bytes
    frozen: Height
    """`RunningRecord.frozen` then: what came since does not count towards the activity cutoff."""


class OutcomeRecord(Wire):
    """What the last epoch, at `height`, found by UID: arrays of u16; `stake`, `emission`, `earned` of 64 bits."""

    height: Height
    stake: bytes
    """What voted: the least held over the epoch, with what others lent and without what was lent."""
    permits: bytes
    """One byte a UID, 0 or 1."""
    consensus: bytes
    incentive: bytes
    dividends: bytes
    trust: bytes
    validator_trust: bytes
    emission: bytes
    earned: bytes
    halted: bytes
    """One byte a UID, 0 or 1: it was halted, so it earned nothing and is not judged by that."""


class BondsRecord(Wire):
    """Bonds as the mechanism stores them: 32 bits a bond, one row for each UID in `rows`, `columns` wide."""

    height: Height
    format: Annotated[int, Meta(ge=1, le=2)]
    """`incentive.fixed_point.BondFormat`."""
    rows: bytes
    columns: Annotated[int, Meta(ge=0)]
    bonds: bytes


class PaidRecord(Wire):
    """What an epoch paid (`EpochRecord` is made of it): 64 bits a UID; the voting rows packed (uid, value)."""

    height: Height
    minted: Amount
    owner: Amount
    miners: bytes
    validators: bytes
    voters: tuple[Uid, ...]
    weights: tuple[bytes, ...]


class Loan(Wire):
    """What part of 65535 of its stake a hotkey lends another one."""

    hotkey: Hotkey
    proportion: Annotated[int, Meta(ge=1, le=U16)]


class ChildrenRecord(Wire):
    """Whom a hotkey lends to on a subnet: `coming` was set in epoch `set_in` and holds in later ones, `lent` before."""

    lent: Annotated[tuple[Loan, ...], Meta(max_length=MAX_CHILDREN)]
    set_in: Height
    coming: Annotated[tuple[Loan, ...], Meta(max_length=MAX_CHILDREN)]


class ParentsRecord(Wire):
    """Hotkeys whose `ChildrenRecord` may name this one, sorted."""

    parents: Annotated[tuple[Hotkey, ...], Meta(max_length=MAX_PARENTS)]


class RetiredRecord(Wire):
    """A model that left the register, or leaves it at height `leaves`; `paid` is 1 once its bond was taken back."""

    leaves: Height
    paid: Annotated[int, Meta(ge=0, le=1)]


class RotationRecord(Wire):
    """The hotkey before this one, since a height; the one after it, from another. Empty and 0 where there is none."""

    before: Annotated[bytes, Meta(max_length=32)]
    since: Height
    after: Annotated[bytes, Meta(max_length=32)]
    until: Height


class LeftRecord(Wire):
    """Until when the ledger said that a hotkey served a model which a HALT named when it ceased to say so."""

    until: Height


class SwapRecord(Wire):
    """What a coldkey announced, and when it may be done."""

    successor: Digest
    due: Height


class SignerRecord(Wire):
    """Which key signs for what a coldkey owns, in its place."""

    key: Coldkey


class OwnedRecord(Wire):
    """For which coldkey this key signs."""

    coldkey: Coldkey


class ProducerRecord(Wire):
    """A producer's key that registered or was convicted: who answers for it with what, and what became of it.

    Heights, 0 where it did not come to that: since when, when it asked to leave, when it last left its seat, when it
    was convicted. One that left and did not ask to was silent for too long, and may come back.
    """

    owner: Annotated[bytes, Meta(max_length=32)]
    """Empty: a convicted one of the genesis that nobody answers for."""
    bond: Amount
    registered: Height
    leaves: Height
    left: Height
    convicted: Height


class ProducingRecord(Wire):
    """Who makes blocks, sorted; who waits to, and who is to lose its seat, in order; who left within `unbonding`."""

    seated: Annotated[tuple[PublicKey, ...], Meta(max_length=128)]
    waiting: Annotated[tuple[PublicKey, ...], Meta(max_length=128)]
    leaving: Annotated[tuple[PublicKey, ...], Meta(max_length=128)]
    gone: tuple[PublicKey, ...]
    changes: tuple[Height, ...]
    """Of the last `unbonding` blocks those that changed a seat."""


class SeatingRecord(Wire):
    """All changes of who makes blocks since there is this record: how many, and a digest (`producers.note_change`)."""

    changes: Height
    digest: Digest


class AbsenceRecord(Wire):
    """How many more commits lack a seated producer's vote than have it."""

    count: Annotated[int, Meta(ge=1)]


CHAIN: Final = Table(b"\x00", 0, ChainRecord)
PARAMETERS: Final = Table(b"\x01", 0, ChainParameters)
SUPPLY: Final = Table(b"\x02", 0, SupplyRecord)
ISSUANCE: Final = Table(b"\x03", 0, Issuance)
QUEUE: Final = Table(b"\x04", 0, QueueRecord)
ANSWER_QUEUE: Final = Table(b"\x05", 0, QueueRecord)
DRILL_LIST: Final = Table(b"\x06", 0, DrillsRecord)
PRODUCING: Final = Table(b"\x07", 0, ProducingRecord)
SEATING: Final = Table(b"\x08", 0, SeatingRecord)
BRAKE: Final = Table(BRAKE_KEY, 0, BrakeRecord)
ORDERS: Final = Table(b"O", 32, OrderRecord)
DRILLS: Final = Table(b"D", 32, OrderRecord)
ROSTERS: Final = Table(b"K", 1, Roster)
HALTED: Final = Table(b"H", 33, HaltedRecord)
ATTESTATIONS: Final = Table(b"A", 64, AttestationRecord)
ANSWERS: Final = Table(b"Q", 8, AnswerRecord)
ACCESS: Final = Table(b"E", 32, AccessRecord)
CONVICTIONS: Final = Table(b"X", 32, ConvictionRecord)
REGISTRANTS: Final = Table(b"M", 32, RegistrantRecord)
ACCOUNTS: Final = Table(b"a", 32, AccountRecord)
BONDS: Final = Table(b"b", 2, BondsRecord)
BUDGETS: Final = Table(b"t", 32, Budget)
CHILDREN: Final = Table(b"C", 34, ChildrenRecord)
PARENTS: Final = Table(b"P", 34, ParentsRecord)
RETIRED: Final = Table(b"R", 32, RetiredRecord)
ROTATIONS: Final = Table(b"T", 32, RotationRecord)
LEFT: Final = Table(b"L", 64, LeftRecord)
SIGNERS: Final = Table(b"g", 32, SignerRecord)
SIGNED_FOR: Final = Table(b"l", 32, OwnedRecord)
SWAPS: Final = Table(b"W", 32, SwapRecord)
COMING: Final = Table(b"p", 2, ComingRecord)
COMMITS: Final = Table(b"c", 4, CommitsRecord)
PAID: Final = Table(b"e", 10, PaidRecord)
HOTKEYS: Final = Table(b"h", 32, HotkeyRecord)
MODELS: Final = Table(b"m", 32, RegisteredModel)
MOVES: Final = Table(b"v", 32, MovesRecord)
NEURONS: Final = Table(b"n", 4, NeuronRecord)
OUTCOMES: Final = Table(b"o", 2, OutcomeRecord)
PRODUCERS: Final = Table(b"y", 32, ProducerRecord)
ABSENCES: Final = Table(b"z", 32, AbsenceRecord)
RUNNING: Final = Table(b"r", 2, RunningRecord)
STAKES: Final = Table(b"s", 64, StakeRecord)
SUBNETS: Final = Table(b"S", 2, SubnetRecord)
TAKEN: Final = Table(b"f", 2, TakenRecord)
UIDS: Final = Table(b"u", 34, UidRecord)
UNBONDINGS: Final = Table(b"q", 8, UnbondingRecord)
WEIGHTS: Final = Table(b"w", 4, WeightsRecord)

TABLES: Final = {
    t.tag: t
    for t in (
        CHAIN, PARAMETERS, SUPPLY, ISSUANCE, QUEUE, ACCOUNTS, BONDS, COMMITS, PAID, HOTKEYS, MODELS, NEURONS, OUTCOMES,
        RUNNING, STAKES, SUBNETS, UIDS, UNBONDINGS, WEIGHTS, ANSWER_QUEUE, DRILL_LIST, BRAKE, ORDERS, DRILLS, ROSTERS,
        HALTED, ATTESTATIONS, ANSWERS, CONVICTIONS, REGISTRANTS, COMING, MOVES, BUDGETS, CHILDREN, PARENTS, RETIRED,
        ROTATIONS, SIGNERS, SIGNED_FOR, SWAPS,
        PRODUCING, PRODUCERS, ABSENCES, SEATING, ACCESS, TAKEN, LEFT,
    )
}  # fmt: skip


def subnet_key(netuid: int) -> bytes:
    """Key of a subnet's records."""
    return netuid.to_bytes(2, "big")


def neuron_key(netuid: int, uid: int) -> bytes:
    """Key of one UID's records."""
    return ((netuid << 16) | uid).to_bytes(4, "big")


def epoch_key(netuid: int, epoch: int) -> bytes:
    """Key of one epoch of a subnet."""
    return netuid.to_bytes(2, "big") + epoch.to_bytes(8, "big")


def table_of(key: bytes) -> Table[Any]:
    """The table that a stored key is of.

    Raises
    ------
    Malformed
        None has keys of this tag and width.
    """
    table = TABLES.get(key[:1])
    if table is None or len(key) != 1 + table.width:
        raise Malformed(f"the stored key {key[:80].hex()} belongs to no table; restore a backup")
    return table
