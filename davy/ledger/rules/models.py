"""Models: their registration by a coldkey, with a bond, under the id that follows from the manifest."""

from __future__ import annotations

from davy.ledger.rules.accounts import debit
from davy.ledger.rules.records import MODELS, RegisteredModel
from davy.ledger.rules.state import State
from davy.protocol.chain import ModelRecord
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.manifest import Identity, model_id
from davy.protocol.transaction import RegisterModel
from davy.protocol.words import Moment


def register_model(s: State, at: Moment, sender: bytes, x: RegisterModel) -> None:
    """Hold `model_bond` and register a model; it may be served from `model_review` blocks later.

    Raises
    ------
    TxFailed
        MALFORMED: files not sorted by name or not each once, or a tokenizer digest that is neither empty nor 32
        bytes, so that one model cannot have several ids. EXISTS; INSUFFICIENT.
    """
    m = x.manifest
    names = [f.name for f in m.files]
    if names != sorted(set(names)):
        raise TxFailed(TxCode.MALFORMED, "a manifest lists its files by name, each once; sort them")
    if len(m.tokenizer) not in (0, 32):
        raise TxFailed(TxCode.MALFORMED, "a manifest's tokenizer is a SHA-256, or empty")
    key = model_id(m)
    if s.get(MODELS, key) is not None:
        raise TxFailed(TxCode.EXISTS, "this model is registered; serve it under its id")
    bond = s.parameters.model_bond
    debit(s, sender, bond)
    record = ModelRecord(m, sender, at.height, at.height + s.parameters.model_review)
    s.put(MODELS, key, RegisteredModel(record, bond))


def may_serve(s: State, at: Moment, model: bytes, identity: Identity) -> None:
    """Check that a model may be served under an identity now.

    Raises
    ------
    TxFailed
        NOT_FOUND: not registered. WRONG_TIME: under review. MISMATCH: files are claimed that the manifest lists
        none of.
    """
    record = s.need(MODELS, model, "no model of this id is registered; register it first").model
    if record.permitted_from > at.height:
        raise TxFailed(
            TxCode.WRONG_TIME, f"the model is under review until height {record.permitted_from}; serve it then"
        )
    if identity is Identity.FILES and not record.manifest.files:
        raise TxFailed(TxCode.MISMATCH, "this manifest lists no files to show; serve the model as claimed")
