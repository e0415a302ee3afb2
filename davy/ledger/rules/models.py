"""Models: their registration by a coldkey, with a bond, under the id that follows from the manifest; class, access."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from msgspec.structs import replace

from davy.incentive.fixed_point import Bool
from davy.ledger.rules.accounts import credit, debit
from davy.ledger.rules.halts import new_model_subject, require_running, spend_kin
from davy.ledger.rules.records import (
    ACCESS,
    MODELS,
    REGISTRANTS,
    RETIRED,
    NeuronRecord,
    RegisteredModel,
    RegistrantRecord,
    RetiredRecord,
)
from davy.ledger.rules.state import State
from davy.ledger.rules.upgrades import OWN_CLASS_SINCE
from davy.protocol.chain import ModelRecord
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.limits import MAX_LINEAGE, MAX_MODELS_A_REGISTRANT, MAX_NAMED_CALLERS
from davy.protocol.manifest import Access, Identity, ModelClass, model_id
from davy.protocol.recorded import AccessRecord
from davy.protocol.transaction import RaiseClass, RegisterModel, RetireModel, SetAccess
from davy.protocol.words import Moment


def register_model(s: State, at: Moment, sender: bytes, x: RegisterModel) -> None:
    """Hold `model_bond` and register a model; it may be served from `model_review` blocks later.

    Its lineage is what it says it was made from, and theirs; its class the highest of its own and theirs.

    Raises
    ------
    TxFailed
        MALFORMED: files not sorted by name or not each once, or a tokenizer digest that is neither empty nor 32
        bytes, so that one model cannot have several ids; ancestors not sorted. EXISTS; NOT_FOUND: an ancestor is not
        registered; FULL: more than MAX_LINEAGE of them, or more models than one registrant may have; HALTED: it, what
        it descends from, or another of its registrant's; INSUFFICIENT. TOO_EXPENSIVE (`halts.spend_kin`).
    """
    m = x.manifest
    names = [f.name for f in m.files]
    if names != sorted(set(names)):
        raise TxFailed(TxCode.MALFORMED, "a manifest lists its files by name, each once; sort them")
    if len(m.tokenizer) not in (0, 32):
        raise TxFailed(TxCode.MALFORMED, "a manifest's tokenizer is a SHA-256, or empty")
    key = model_id(m)
    before, left = s.get(MODELS, key), s.get(RETIRED, key)
    if before is not None and not (left and left.paid):
        raise TxFailed(TxCode.EXISTS, "this model is registered; serve it under its id")
    lineage, model_class = _descent(s, sender, x, before)
    permitted_from = at.height + s.parameters.model_review
    record = ModelRecord(m, sender, at.height, permitted_from, lineage, model_class, at.height)
    spend_kin(s, sender, len(lineage))
    asked = record
    if before is not None and before.model.model_class is ModelClass.SYSTEMIC:  # a HALT of it as such still stands
        asked = replace(record, model_class=ModelClass.SYSTEMIC)
    require_running(s, at, new_model_subject(s, sender, asked), "registering this model", lease=False)
    bond = s.parameters.model_bond
    debit(s, sender, bond)
    s.delete(RETIRED, key)
    s.delete(ACCESS, key)  # whoever registers it again says anew who may ask
    s.put(MODELS, key, RegisteredModel(record, bond))
    known = s.get(REGISTRANTS, sender)
    models = [] if known is None else list(known.models)
    if len(models) >= MAX_MODELS_A_REGISTRANT:
        raise TxFailed(TxCode.FULL, f"one coldkey registers at most {MAX_MODELS_A_REGISTRANT} models; use another one")
    insort(models, key)
    s.put(REGISTRANTS, sender, RegistrantRecord(tuple(models)))


def _descent(
    s: State, sender: bytes, x: RegisterModel, before: RegisteredModel | None
) -> tuple[tuple[bytes, ...], ModelClass]:
    """All that a model descends from, sorted, and the highest class of it and of its ancestors.

    What was said of it when it was registered before still holds. Of its class only what `sender` said itself does, or
    anybody could spoil a model for good by registering it first. What keyholders raised is systemic by their order.
    """
    if any(a >= b for a, b in pairwise(x.ancestors)):
        raise TxFailed(TxCode.MALFORMED, "ancestors are named by rising id, each once; sort them")
    lineage, classes = set(x.ancestors), {x.model_class}
    if before is not None:
        lineage.update(before.model.ancestors)
        if s.edition < OWN_CLASS_SINCE or before.model.registrant == sender:
            classes.add(before.model.model_class)
    for i in x.ancestors:
        ancestor = s.need(MODELS, i, f"the ancestor {i.hex()} is not registered; register it first").model
        lineage.update(ancestor.ancestors)
        classes.add(ancestor.model_class)
    if len(lineage) > MAX_LINEAGE:
        raise TxFailed(TxCode.FULL, f"a model descends from {MAX_LINEAGE} others at most; name the nearest ones")
    return tuple(sorted(lineage)), ModelClass.SYSTEMIC if ModelClass.SYSTEMIC in classes else ModelClass.ORDINARY


def raise_class(s: State, at: Moment, sender: bytes, x: RaiseClass) -> None:
    """Make a model systemic, for as long as its registrant has it; only an order of the LIFT key lowers a class.

    Raises
    ------
    TxFailed
        NOT_FOUND; NOT_OWNER: another coldkey registered it; EXISTS: it is systemic.
    """
    registered = s.need(MODELS, x.model_id, "no model of this id is registered; register it first")
    m = registered.model
    if m.registrant != sender:
        raise TxFailed(TxCode.NOT_OWNER, "only its registrant raises a model's class")
    if m.model_class is ModelClass.SYSTEMIC:
        raise TxFailed(TxCode.EXISTS, "the model is systemic")
    raised = replace(m, model_class=ModelClass.SYSTEMIC, class_since=at.height)
    s.put(MODELS, x.model_id, replace(registered, model=raised))


def set_access(s: State, at: Moment, sender: bytes, x: SetAccess) -> None:
    """Say who may ask for a model; ANY takes back what was said.

    Nothing here depends on it: it is for nodes, which keep to the stricter of this and a miner's own switch.

    Raises
    ------
    TxFailed
        NOT_FOUND: no such model, or it has left the register and its bond was paid back. NOT_OWNER: another coldkey
        registered it. MALFORMED: keys not sorted or not each once, or keys where none are named. OUT_OF_RANGE: more
        than MAX_NAMED_CALLERS. HALTED: it, what it descends from, or another of its registrant's. TOO_EXPENSIVE
        (`halts.spend_kin`).
    """
    model = s.need(MODELS, x.model_id, "no model of this id is registered; register it first").model
    if model.registrant != sender:
        raise TxFailed(TxCode.NOT_OWNER, "only its registrant says who may ask for a model")
    retired = s.get(RETIRED, x.model_id)
    if retired is not None and retired.paid:
        raise TxFailed(TxCode.NOT_FOUND, "the model has left the register; register it again first")
    spend_kin(s, sender, len(model.ancestors))
    require_running(s, at, new_model_subject(s, sender, model), "changing who may ask for this model", lease=False)
    if any(a >= b for keys in (x.coldkeys, x.hotkeys) for a, b in pairwise(keys)):
        raise TxFailed(TxCode.MALFORMED, "keys are named in rising order, each once; sort them")
    named = len(x.coldkeys) + len(x.hotkeys)
    if named and x.access is not Access.NAMED:
        raise TxFailed(TxCode.MALFORMED, f"keys are named under '{Access.NAMED}' only; leave them out")
    if named > MAX_NAMED_CALLERS:
        raise TxFailed(TxCode.OUT_OF_RANGE, f"at most {MAX_NAMED_CALLERS} keys are named; name coldkeys")
    if x.access is Access.ANY:
        s.delete(ACCESS, x.model_id)
    else:
        s.put(ACCESS, x.model_id, AccessRecord(x.access, x.coldkeys, x.hotkeys, at.height))


def access_of(s: State, model: bytes) -> AccessRecord:
    """Who may ask for a model.

    Raises
    ------
    TxFailed
        NOT_FOUND: no such model.
    """
    s.need(MODELS, model, "no model of this id is registered")
    return s.get(ACCESS, model) or AccessRecord(Access.ANY, (), (), 0)


def retire_model(s: State, at: Moment, sender: bytes, x: RetireModel) -> None:
    """Announce that a model leaves the register `unbonding` blocks later; after that, called again, pay its bond back.

    From the announcement on nobody begins to serve it, and from when it has left no weight counts for who does. What
    is known of it stays: orders may name it and others descend from it. Anybody may register it again then; it keeps
    its lineage, and its class for the same registrant.

    Raises
    ------
    TxFailed
        NOT_FOUND; NOT_OWNER: another coldkey registered it. HALTED: it, what it descends from, or another of its
        registrant's. WRONG_TIME: it has not left yet. EXISTS: its bond was paid back. TOO_EXPENSIVE
        (`halts.spend_kin`).
    """
    registered = s.need(MODELS, x.model_id, "no model of this id is registered")
    if registered.model.registrant != sender:
        raise TxFailed(TxCode.NOT_OWNER, "only its registrant retires a model")
    spend_kin(s, sender, len(registered.model.ancestors))
    asked = new_model_subject(s, sender, registered.model)
    require_running(s, at, asked, "retiring this model", lease=False)
    retired = s.get(RETIRED, x.model_id)
    if retired is None:
        s.put(RETIRED, x.model_id, RetiredRecord(at.height + s.parameters.unbonding, 0))
        return
    if retired.paid:
        raise TxFailed(TxCode.EXISTS, "the model has left the register, and its bond was paid back")
    if at.height < retired.leaves:
        raise TxFailed(TxCode.WRONG_TIME, f"the model leaves the register at height {retired.leaves}; come back then")
    credit(s, sender, registered.bond)
    s.put(MODELS, x.model_id, replace(registered, bond=0))
    s.put(RETIRED, x.model_id, replace(retired, paid=1))
    known = s.need(REGISTRANTS, sender, "a model whose registrant has none")
    s.put(REGISTRANTS, sender, RegistrantRecord(tuple(i for i in known.models if i != x.model_id)))


def has_left(s: State, at: Moment, neurons: Sequence[NeuronRecord]) -> Bool:
    """Which neurons serve a model that has left the register."""
    served = [s.get(RETIRED, n.model[0].model_id) if n.model else None for n in neurons]
    return np.array([r is not None and r.leaves <= at.height for r in served], dtype=np.bool_)


def may_serve(s: State, at: Moment, model: bytes, identity: Identity) -> None:
    """Check that a model may be served under an identity now.

    Raises
    ------
    TxFailed
        NOT_FOUND: not registered, or retired. WRONG_TIME: under review. MISMATCH: files are claimed that the manifest
        lists none of.
    """
    record = s.need(MODELS, model, "no model of this id is registered; register it first").model
    if record.permitted_from > at.height:
        raise TxFailed(
            TxCode.WRONG_TIME, f"the model is under review until height {record.permitted_from}; serve it then"
        )
    if s.get(RETIRED, model) is not None:
        raise TxFailed(TxCode.NOT_FOUND, "the model leaves the register or has left it; serve another one")
    if identity is Identity.FILES and not record.manifest.files:
        raise TxFailed(TxCode.MISMATCH, "this manifest lists no files to show; serve the model as claimed")
