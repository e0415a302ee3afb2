"""What orders know a model's kin by is gathered once, however many serve it, and nobody's verdict changes by that."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from davy.killswitch.scope import ModelFacts
from davy.ledger.rules import halts
from davy.ledger.rules.halts import earning, facts_of, neuron_subject, permitted
from davy.ledger.rules.records import MODELS, NEURONS, RUNNING, NeuronRecord, neuron_key, subnet_key
from davy.protocol.chain import ModelRecord, ServedModel
from davy.protocol.errors import TxFailed
from davy.protocol.limits import MAX_MODELS_A_REGISTRANT
from davy.protocol.manifest import Identity, ModelClass, model_id
from davy.protocol.order import Miner, Models
from davy.protocol.transaction import RegisterModel
from davy.protocol.words import Moment
from tests.ledger.rules.stand import ONE, Stand
from tests.ledger.rules.world import World, manifest, pub

MANY = 200


def crowd(w: World, *served: bytes) -> list[NeuronRecord]:
    """Many neurons more on subnet 1, which serve these models in turn."""
    s = w.machine.state
    running = s.need(RUNNING, subnet_key(1), "")
    for n in range(running.neurons, running.neurons + MANY):
        hotkey, model = pub(f"crowd-{n}"), ServedModel(served[n % len(served)], Identity.FILES, 1)
        s.put(NEURONS, neuron_key(1, n), NeuronRecord(hotkey, pub("eve"), 1, (model,), bytes(8), 0, 0))
    s.put(RUNNING, subnet_key(1), replace(running, neurons=running.neurons + MANY))
    return [s.need(NEURONS, neuron_key(1, n), "") for n in range(running.neurons + MANY)]


def test_a_model_s_kin_is_gathered_once_however_many_serve_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 UIDs with a model of 64 files and 127 kin kept every node busy for .7 s an epoch, and 4096 for 11 s."""
    w = Stand()
    kin = [manifest(f"model {n}") for n in range(MAX_MODELS_A_REGISTRANT - 1)]
    w.ok("cat", *(RegisterModel(m, (), ModelClass.ORDINARY) for m in kin))
    w.halt(Models((bytes(32),), (), ()))
    neurons = crowd(w, *map(model_id, kin[:3]))
    made: list[bytes] = []
    known = halts.model_facts

    def counted(i: bytes, m: ModelRecord) -> ModelFacts:
        made.append(i)
        return known(i, m)

    monkeypatch.setattr(halts, "model_facts", counted)
    asked: list[bytes] = []
    gather = halts.served_subject
    monkeypatch.setattr(halts, "served_subject", lambda *x, **how: asked.append(x[-1]) or gather(*x, **how))
    s, at = w.machine.state, Moment(w.machine.height + 1, w.machine.time)
    assert all(earning(s, at, 1, neurons))
    assert len(made) <= MAX_MODELS_A_REGISTRANT + 3
    assert len(asked) <= 5, "one for each model and owner"
    assert all(earning(s, at, 1, neurons))
    assert len(made) <= MAX_MODELS_A_REGISTRANT + 3, "and none in the next epoch"


@pytest.mark.parametrize(
    "what", ["a miner", "one of many", "the model", "a sibling", "the owner's", "a file", "the registrant"]
)
def test_who_earns_is_what_each_one_s_verdict_says(what: str) -> None:
    w = Stand()
    w.ok("cat", RegisterModel(manifest("sibling"), (), ModelClass.ORDINARY))
    neurons = crowd(w, ONE, model_id(manifest("two")))
    target = {
        "a miner": Miner(pub("cat-hot")),
        "one of many": Miner(neurons[-1].hotkey),
        "the model": Models((ONE,), (), ()),
        "a sibling": Models((model_id(manifest("sibling")),), (), ()),
        "the owner's": Models((model_id(manifest("three")),), (), ()),
        "a file": Models((), tuple(f.digest for f in manifest("sibling").files), ()),
        "the registrant": Models((), (), (pub("cat"),)),
    }[what]
    w.machine.state.journal.clear()
    s, at = w.machine.state, Moment(w.machine.height + 1, w.machine.time)
    halts_nobody = earning(s, at, 1, neurons)
    monkey = World.check, World.look_up
    World.check, World.look_up = lambda _: None, lambda _: {}  # type: ignore[method-assign]
    try:
        w.halt(target)
    finally:
        World.check, World.look_up = monkey  # type: ignore[method-assign]
    at = Moment(w.machine.height + 1, w.machine.time)
    told = earning(s, at, 1, neurons)
    assert told == [permitted(s, at, neuron_subject(s, 1, n)) for n in neurons]
    assert all(halts_nobody)
    assert not all(told)


def test_what_is_known_of_a_model_follows_its_record() -> None:
    """It leaves the register, and another registers it."""
    s = Stand().machine.state
    assert facts_of(s, ONE, "").registrant == pub("cat")
    known = s.need(MODELS, ONE, "")
    s.put(MODELS, ONE, replace(known, model=replace(known.model, registrant=pub("dan"))))
    assert facts_of(s, ONE, "").registrant == pub("dan")
    with pytest.raises(TxFailed, match="no such model"):
        facts_of(s, bytes(32), "no such model")
