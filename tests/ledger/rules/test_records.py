"""Records are read as strictly as anything from outside: a backup may be damaged, and a number may not be."""

import pytest
from msgspec.structs import replace

from davy.ledger.rules.records import (
    AccountRecord,
    BondsRecord,
    ChainRecord,
    HotkeyRecord,
    MovesRecord,
    NeuronRecord,
    Pledge,
    ProducerRecord,
    RotationRecord,
    RunningRecord,
    StakeRecord,
    SubnetRecord,
    UidRecord,
)
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Malformed
from davy.protocol.limits import MAX_MOVES, hyperparameters
from davy.protocol.transaction import Endpoint

KEY = bytes(32)
HERE = Endpoint("127.0.0.1", 1, bytes(32), b"")
GOOD: dict[type[Wire], Wire] = {
    AccountRecord: AccountRecord(0, 0, 0),
    ChainRecord: ChainRecord(KEY, (), 0),
    HotkeyRecord: HotkeyRecord(KEY, 0, 0, (), (), (HERE,)),
    SubnetRecord: SubnetRecord(KEY, "t", "yuma3", hyperparameters(), 0),
    RunningRecord: RunningRecord(0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    NeuronRecord: NeuronRecord(KEY, KEY, 0, (), bytes(8), 1, 0),
    UidRecord: UidRecord(65_535),
    StakeRecord: StakeRecord(1, (), (Pledge(KEY, 1, 1),)),
    MovesRecord: MovesRecord((KEY,)),
    BondsRecord: BondsRecord(0, 2, b"", 0, b""),
    RotationRecord: RotationRecord(KEY, 0, KEY, 0),
    ProducerRecord: ProducerRecord(KEY, 0, 0, 0, 0, 0),
}
BAD = [
    (AccountRecord, {"nonce": -1}),
    (AccountRecord, {"free": -1}),
    (AccountRecord, {"unbonding": -1}),
    (ChainRecord, {"chain": bytes(31)}),
    (ChainRecord, {"faults": -1}),
    (HotkeyRecord, {"take": 65_536}),
    (HotkeyRecord, {"raised": -1}),
    (StakeRecord, {"pledges": (Pledge(KEY, 1, 1),) * (MAX_MOVES + 1)}),
    (MovesRecord, {"destinations": (KEY,) * (MAX_MOVES + 1)}),
    (HotkeyRecord, {"endpoint": (HERE, HERE)}),
    (SubnetRecord, {"share": -1}),
    (RunningRecord, {"pending": -1}),
    (RunningRecord, {"neurons": -1}),
    (RunningRecord, {"registrations": -1}),
    (RunningRecord, {"skipped": -1}),
    (NeuronRecord, {"subject": bytes(7)}),
    (NeuronRecord, {"subject": bytes(9)}),
    (NeuronRecord, {"unrevealed": -1}),
    (NeuronRecord, {"unrevealed": 2}),
    (UidRecord, {"uid": 65_536}),
    (BondsRecord, {"format": 0}),
    (BondsRecord, {"format": 3}),
    (BondsRecord, {"columns": -1}),
    (RotationRecord, {"before": bytes(33)}),
    (RotationRecord, {"after": bytes(33)}),
    (ProducerRecord, {"owner": bytes(33)}),
    (ProducerRecord, {"bond": -1}),
    (ProducerRecord, {"leaves": -1}),
]


@pytest.mark.parametrize("kind", GOOD)
def test_a_record_at_the_ends_of_its_ranges_is_read(kind: type[Wire]) -> None:
    assert decode(encode(GOOD[kind]), kind, limit=1_000) == GOOD[kind]


@pytest.mark.parametrize(("kind", "change"), BAD, ids=str)
def test_a_record_out_of_its_ranges_is_refused(kind: type[Wire], change: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        decode(encode(replace(GOOD[kind], **change)), kind, limit=1_000)
