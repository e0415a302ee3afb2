"""What orders can know of a hotkey's model, read by the ledger's own rule from rows that the ledger proves.

The one part of the client that needs `davy.ledger.rules`; whoever asks for no subject does not load it.
"""

from __future__ import annotations

from davy.ledger.rules.facts import Shown, subject_facts
from davy.protocol.encoding import decode
from davy.protocol.errors import Refused
from davy.protocol.limits import MAX_RESULT_BYTES
from davy.protocol.recorded import SubjectFacts, SubjectRows
from davy.protocol.words import Digest, Height, Hotkey, ModelId, Netuid


def read_subject(
    raw: bytes, newest: Height, netuid: Netuid, hotkey: Hotkey, model: ModelId | None
) -> tuple[SubjectFacts, Digest]:
    """The facts that `SubjectRows` show, and the app hash that the header after their block must name.

    Raises
    ------
    TooLarge, Malformed, Refused
        The rows prove nothing, leave something out, or are of a block before `newest`.
    TxFailed
        NOT_FOUND: they show that there is no such neuron, or no such model.
    """
    told = decode(raw, SubjectRows, limit=MAX_RESULT_BYTES)
    if told.height < newest:
        raise Refused(f"the ledger shows a model as of block {told.height}, not {newest}; ask another one")
    shown = Shown(told.rows)
    return subject_facts(shown, told.height, netuid, hotkey, model), shown.app_hash
