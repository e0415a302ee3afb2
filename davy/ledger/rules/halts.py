"""What stops: the brake's verdict on a subnet, a neuron, a model or a registrant, as the ledger's records know them.

docs/brake.md says for each scope what stops, what freezes and what goes on; the tests are made from its table.
"""

from __future__ import annotations

from collections.abc import Sequence

from davy.killswitch.scope import ModelFacts, Subject
from davy.killswitch.verdict import Cause, Halted, Lapsed, Permitted, Verdict, verdict
from davy.ledger.rules.brake import brake_of, clocks
from davy.ledger.rules.records import CONVICTIONS, MODELS, REGISTRANTS, SUBNETS, NeuronRecord, subnet_key
from davy.ledger.rules.state import State
from davy.ledger.rules.upgrades import ALL_WORK_COUNTS_SINCE
from davy.protocol.chain import ModelRecord
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.manifest import ModelClass, model_id
from davy.protocol.words import ModelId, Moment


def model_facts(i: ModelId, m: ModelRecord) -> ModelFacts:
    """What a target can know a registered model by."""
    return ModelFacts(i, frozenset(f.digest for f in m.manifest.files), m.registrant)


def facts_of(s: State, i: ModelId, missing: str) -> ModelFacts:
    """`model_facts` of a registered model, made once for a record: its kin is asked about over and over.

    Raises
    ------
    TxFailed
        NOT_FOUND with the sentence `missing`.
    """
    record = s.need(MODELS, i, missing).model
    kept = s.facts.get(i)
    if kept is not None and kept[0] is record:
        return kept[1]
    facts = model_facts(i, record)
    s.keep_facts(i, record, facts)
    return facts


def subnet_subject(s: State, netuid: int) -> Subject:
    """A subnet's own doings: its epochs, commits, reveals."""
    return Subject(netuid, model_class=_class(s, netuid, None))


def registrant_subject(s: State, coldkey: bytes, netuid: int | None = None, hotkey: bytes | None = None) -> Subject:
    """A coldkey that registers a hotkey or a model: its models are siblings of whatever it registers."""
    return Subject(
        netuid,
        hotkey,
        ModelFacts(b"", frozenset(), coldkey),
        siblings=_models_of(s, coldkey),
        model_class=_class(s, netuid, None),
    )


def new_model_subject(s: State, coldkey: bytes, m: ModelRecord) -> Subject:
    """A model that is about to be registered."""
    return Subject(
        model=model_facts(model_id(m.manifest), m),
        ancestors=_ancestors(s, m),
        siblings=_models_of(s, coldkey),
        model_class=m.model_class,
    )


def served_subject(
    s: State, netuid: int, hotkey: bytes, coldkey: bytes, model: bytes, *, whole: bool = False
) -> Subject:
    """A model as a hotkey serves it on a subnet. What the hotkey's own coldkey registered counts as a sibling too.

    Parameters
    ----------
    whole
        Gather its lineage and siblings even while no order names any model.
    """
    missing = "no model of this id is registered; register it first"
    m = s.need(MODELS, model, missing).model
    if not (whole or brake_of(s).naming.names_models):  # only its id can matter: to a LEASE
        facts = ModelFacts(model, frozenset(), m.registrant)
        return Subject(netuid, hotkey, facts, model_class=_class(s, netuid, m))
    siblings = _models_of(s, m.registrant, whole=whole)
    if coldkey != m.registrant:
        siblings += (ModelFacts(b"", frozenset(), coldkey), *_models_of(s, coldkey, whole=whole))
    ancestors = _ancestors(s, m, whole=whole)
    return Subject(netuid, hotkey, facts_of(s, model, missing), ancestors, siblings, _class(s, netuid, m))


def kin_asked(s: State, coldkey: bytes, model: bytes) -> int:
    """How many models `served_subject` gathers to ask about; none while no order names any."""
    m = s.need(MODELS, model, "no model of this id is registered; register it first").model
    if not brake_of(s).naming.names_models:
        return 0
    known = [s.get(REGISTRANTS, key) for key in {m.registrant, coldkey}]
    return 1 + len(m.ancestors) + sum(len(r.models) for r in known if r is not None)


def spend_kin(s: State, coldkey: bytes, ancestors: int = 0) -> None:
    """Spend work for the models that are asked about for what a coldkey registers; none while no order names any.

    Raises
    ------
    TxFailed
        TOO_EXPENSIVE.
    """
    if s.edition >= ALL_WORK_COUNTS_SINCE and brake_of(s).naming.names_models:
        known = s.get(REGISTRANTS, coldkey)
        s.spend(1 + ancestors + (0 if known is None else len(known.models)), coldkey)


def neuron_subject(s: State, netuid: int, neuron: NeuronRecord, *, whole: bool = False) -> Subject:
    """A neuron with what it serves, or alone where it serves nothing; `whole` as in `served_subject`."""
    if neuron.model:
        return served_subject(s, netuid, neuron.hotkey, neuron.coldkey, neuron.model[0].model_id, whole=whole)
    return Subject(netuid, neuron.hotkey, model_class=_class(s, netuid, None))


def ask(s: State, at: Moment, x: Subject) -> Verdict:
    """The ledger's verdict. It is never stale: a block is news by itself."""
    return verdict(brake_of(s), x, clocks(at))


def permitted(s: State, at: Moment, x: Subject) -> bool:
    """Whether `x` runs now."""
    return isinstance(ask(s, at, x), Permitted)


class Verdicts:
    """On the neurons of a subnet, as the state is: those of one model and owner share one, unless a HALT names them."""

    def __init__(self, s: State, at: Moment, netuid: int) -> None:
        self._s, self._at, self._netuid = s, at, netuid
        self._naming = brake_of(s).naming
        self._shared: dict[tuple[bytes, bytes], Verdict] = {}

    def known(self, neuron: NeuronRecord) -> Verdict | None:
        """The verdict, if one that shares it was asked about before."""
        return None if self._naming.halts_miner(neuron.hotkey) else self._shared.get(_kin(neuron))

    def of(self, neuron: NeuronRecord) -> Verdict:
        """The verdict of `ask`."""
        known = self.known(neuron)
        if known is not None:
            return known
        said = ask(self._s, self._at, neuron_subject(self._s, self._netuid, neuron))
        if not self._naming.halts_miner(neuron.hotkey):
            self._shared[_kin(neuron)] = said
        return said


def _kin(neuron: NeuronRecord) -> tuple[bytes, bytes]:
    return neuron.model[0].model_id if neuron.model else b"", neuron.coldkey


def earning(s: State, at: Moment, netuid: int, neurons: Sequence[NeuronRecord]) -> list[bool]:
    """Which neurons earn: they run and are not barred."""
    orders = bool(brake_of(s).orders)  # without any, only a systemic model can be stopped, for want of a LEASE
    said = Verdicts(s, at, netuid)

    def runs(neuron: NeuronRecord) -> bool:
        known = s.get(MODELS, neuron.model[0].model_id) if neuron.model else None
        if not orders and (known is None or _class(s, netuid, known.model) is ModelClass.ORDINARY):
            return True
        return isinstance(said.of(neuron), Permitted)

    return [not barred(s, neuron.hotkey) and runs(neuron) for neuron in neurons]


def barred(s: State, hotkey: bytes) -> bool:
    """Whether a hotkey was convicted."""
    return s.get(CONVICTIONS, hotkey) is not None


def require_running(s: State, at: Moment, x: Subject, what: str, *, lease: bool = True) -> None:
    """Refuse what a HALT covers, and unless `lease` is False a systemic model without a LEASE.

    Raises
    ------
    TxFailed
        HALTED.
    """
    said = ask(s, at, x)
    if isinstance(said, Halted):
        why = {
            Cause.ORDER: f"order {said.order.id.hex()} halts it",
            Cause.DISPUTE: "two rosters dispute the brake",
            Cause.FULL: "the brake is full until the next roster is installed",
        }[said.cause]
        raise TxFailed(TxCode.HALTED, f"{what} stops: {why}; try again once it has ended")
    if isinstance(said, Lapsed) and lease:
        raise TxFailed(TxCode.HALTED, f"{what} stops: the model is systemic and has no LEASE; ask the keyholders")


def require_not_barred(s: State, hotkey: bytes) -> None:
    """Refuse a hotkey that was convicted.

    Raises
    ------
    TxFailed
        BARRED.
    """
    if barred(s, hotkey):
        raise TxFailed(TxCode.BARRED, "this hotkey served after a halt and is barred; see its conviction")


def _class(s: State, netuid: int | None, m: ModelRecord | None) -> ModelClass:
    """The higher of what a subnet sets and a registrant chose."""
    subnet = None if netuid is None else s.get(SUBNETS, subnet_key(netuid))
    systemic = subnet is not None and subnet.hyperparameters.systemic == 1
    return ModelClass.SYSTEMIC if systemic or (m and m.model_class is ModelClass.SYSTEMIC) else ModelClass.ORDINARY


def _models_of(s: State, coldkey: bytes, *, whole: bool = False) -> tuple[ModelFacts, ...]:
    """A registrant's models; none while no order names any model, since no verdict then depends on them."""
    known = s.get(REGISTRANTS, coldkey)
    if known is None or not (whole or brake_of(s).naming.names_models):
        return ()
    missing = "a registrant's model is not registered"
    return tuple(facts_of(s, i, missing) for i in known.models)


def _ancestors(s: State, m: ModelRecord, *, whole: bool = False) -> tuple[ModelFacts, ...]:
    if not (whole or brake_of(s).naming.names_models):
        return ()
    return tuple(facts_of(s, i, "an ancestor is not registered") for i in m.ancestors)
