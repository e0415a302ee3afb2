"""What orders can know of what a hotkey serves, and the rows that follow from: a node is shown these, and reads again.

So nobody has to believe a ledger about a model's ancestors or class: the rule runs where the answer is used, on rows
that were proved, and a row that it asks for and that was not shown is an error, never an absence.
"""

from __future__ import annotations

from davy.killswitch.scope import ModelFacts
from davy.ledger.rules.halts import neuron_subject, served_subject
from davy.ledger.rules.records import NEURONS, TABLES, UIDS, NeuronRecord, R, Table, neuron_key, subnet_key
from davy.ledger.rules.state import State
from davy.protocol.encoding import Wire, decode
from davy.protocol.errors import Malformed, Refused
from davy.protocol.limits import MAX_RESULT_BYTES
from davy.protocol.manifest import ModelClass
from davy.protocol.proof import root_of
from davy.protocol.recorded import Facts, ProvedRow, SubjectFacts
from davy.protocol.words import Digest, Height, Hotkey, ModelId, Netuid


def neuron_of(s: State, netuid: int, hotkey: bytes) -> tuple[int, NeuronRecord]:
    """A hotkey's UID on a subnet, and its neuron.

    Raises
    ------
    TxFailed
        NOT_FOUND.
    """
    uid = s.need(UIDS, subnet_key(netuid) + hotkey, "this hotkey has no UID on this subnet; register it first").uid
    return uid, s.need(NEURONS, neuron_key(netuid, uid), "a UID without a neuron")


def subject_facts(s: State, height: Height, netuid: Netuid, hotkey: Hotkey, model: ModelId | None) -> SubjectFacts:
    """What a brake is asked about: a hotkey on a subnet with what it serves there, or with `model`.

    Raises
    ------
    TxFailed
        NOT_FOUND: no UID there, or no such model.
    """
    _, neuron = neuron_of(s, netuid, hotkey)
    if model is None:
        x = neuron_subject(s, netuid, neuron, whole=True)
    else:
        x = served_subject(s, netuid, hotkey, neuron.coldkey, model, whole=True)
    known = () if x.model is None else (_facts(x.model),)
    ancestors, siblings = tuple(map(_facts, x.ancestors)), tuple(map(_facts, x.siblings))
    systemic = x.model_class is ModelClass.SYSTEMIC
    return SubjectFacts(height, netuid, hotkey, known, ancestors, siblings, systemic)


def _facts(m: ModelFacts) -> Facts:
    return Facts(m.id, tuple(sorted(m.files)), m.registrant)


def keys_read(s: State, netuid: Netuid, hotkey: Hotkey, model: ModelId | None) -> tuple[bytes, ...]:
    """All keys that `subject_facts` reads, each once, in the order of reading.

    Raises
    ------
    TxFailed
        See `subject_facts`.
    """
    noted = _Noted(s.records)
    subject_facts(noted, 0, netuid, hotkey, model)
    return tuple(noted.read)


class _Noted(State):
    """Remembers which keys were read."""

    def __init__(self, records: dict[bytes, Wire]) -> None:
        super().__init__(records)
        self.read: dict[bytes, None] = {}

    def get(self, table: Table[R], key: bytes = b"") -> R | None:
        self.read[table.tag + key] = None
        return super().get(table, key)


class Shown(State):
    """A few rows of a state, and the app hash of the state that all of them are of; for reading only.

    Raises
    ------
    Malformed, TooLarge
        A row that is no record.
    Refused
        A proof that is not of its row, or of another state than the others. Later, when a row is read that was not
        shown.
    """

    def __init__(self, rows: tuple[ProvedRow, ...]) -> None:
        super().__init__({})
        self._shown: set[bytes] = set()
        roots: set[Digest] = set()
        for row in rows:
            table, value = TABLES.get(row.key[:1]), row.value[0] if row.value else None
            if table is None or len(row.key) != 1 + table.width:
                raise Malformed("the ledger shows a row of no table; ask another ledger")
            roots.add(root_of(row.key, value, row.proof))
            self._shown.add(row.key)
            if value is not None:
                self.records[row.key] = decode(value, table.kind, limit=MAX_RESULT_BYTES)
        if len(roots) != 1:
            raise Refused("the ledger shows rows of different states; ask another ledger")
        (self.app_hash,) = roots

    def get(self, table: Table[R], key: bytes = b"") -> R | None:
        if table.tag + key not in self._shown:
            raise Refused("the ledger leaves out a row that it must prove; ask another one, and serve nothing before")
        return super().get(table, key)
