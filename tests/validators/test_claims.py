"""Identity and originality as the examiner uses them: they only ever lower weights, and say why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import msgspec
import numpy as np
import pytest

from davy.network.openai import CompletionRequest
from davy.protocol.chain import ModelRecord, Neuron, ServedModel
from davy.protocol.manifest import Identity, Manifest, ModelClass
from davy.tasks.answer import Answer, Position
from davy.tasks.identity import Calibration
from davy.tasks.text import TextChallenge
from davy.validators import identity
from davy.validators.evidence import Exchange, Finding
from davy.validators.identity import IdentityEvidence, Known
from davy.validators.originality import OriginalityEvidence

MODEL = b"m" * 32
ASKED = CompletionRequest("any", "prompt", max_tokens=1, temperature=0.0)
CALIBRATION = Calibration("m", "00" * 32, "float32", 0.01, 0.005, 0.0, 0.0, ())


def neuron(uid: int, model: bytes = MODEL) -> Neuron:
    served = (ServedModel(model, Identity.FILES, 1),)
    return Neuron(uid, bytes([uid]) * 32, b"c" * 32, 1, 0, 0, False, True, 0, 0, 0, 0, 0, 0, 0, (), served)


def answer(shift: float, rng: np.random.Generator | None = None) -> Answer:
    p = np.array([0.5, 0.25, 0.125])
    logs = np.log(p) + (shift if rng is None else rng.normal(0, shift, 3))
    return Answer((Position(0, np.array([0, 1, 2]), logs),))


class Files:
    """What the files say: exactly `answer(0)`."""

    def log_probabilities(self, prompts: Sequence[str], continuations: Sequence[Sequence[int]]) -> list[np.ndarray]:
        return [np.log(np.array([[0.5, 0.25, 0.125, 0.125]])) for _ in prompts]


def examined(shifts: dict[int, float], rounds: int = 4, challenges: int = 8) -> tuple[IdentityEvidence, list[Neuron]]:
    async def registered(model_id: bytes) -> ModelRecord | None:
        return ModelRecord(Manifest(1, "m", (), "safetensors", b"", "x"), b"c" * 32, 1, 1, (), ModelClass.ORDINARY, 1)

    async def library(record: ModelRecord) -> Known | None:
        return Known(Files(), CALIBRATION)

    evidence = IdentityEvidence(registered, library)
    miners = [neuron(uid) for uid in shifts]

    async def story() -> None:
        await evidence.prepare(miners)
        for _ in range(rounds):
            said = {n.hotkey: answer(shifts[n.uid]) for n in miners}
            evidence.observe(miners, [Exchange(TextChallenge(ASKED, 0, ""), said)] * challenges)

    anyio.run(story)
    return evidence, miners


def factors(found: Mapping[bytes, Finding]) -> dict[bytes, float]:
    return {hotkey: f.factor for hotkey, f in found.items()}


def test_a_miner_that_runs_its_files_keeps_its_weight_and_a_copy_loses_it() -> None:
    evidence, (honest, copy) = examined({1: 0.0, 2: 0.05})
    found = evidence.findings([honest, copy], {})
    assert factors(found) == {honest.hotkey: 1.0, copy.hotkey: 0.0}
    assert "0 of the last 11 answers run again differ" in found[honest.hotkey].said
    assert "2 end a miner's pay" in found[honest.hotkey].said
    assert "not those of the model" in found[copy.hotkey].said
    assert "11 of the last 11 answers run again differ" in found[copy.hotkey].said


@pytest.mark.parametrize(("wrong", "factor"), [(0, 1.0), (1, 1.0), (2, 0.0), (3, 0.0)])
def test_the_second_alarm_ends_a_miners_pay(wrong: int, factor: float) -> None:
    """Of ten answers run again, `wrong` are another model's. One may be chance; who sends two is not paid."""
    evidence, (miner,) = examined({1: 0.0}, rounds=1)
    for _ in range(wrong):
        evidence.observe([miner], [Exchange(TextChallenge(ASKED, 0, ""), {miner.hotkey: answer(0.05)})])
    found = evidence.findings([miner], {})[miner.hotkey]
    assert found.factor == factor
    assert found.said.count(f"{wrong} of the last {8 + wrong} answers") == 1


def test_a_known_model_earns_nothing_before_it_was_examined() -> None:
    evidence, (miner,) = examined({1: 0.0}, rounds=1, challenges=7)
    found = evidence.findings([miner], {})
    assert factors(found) == {miner.hotkey: 0.0}
    assert "too few" in found[miner.hotkey].said


def test_a_model_that_is_not_at_hand_is_not_judged() -> None:
    async def registered(model_id: bytes) -> ModelRecord | None:
        return ModelRecord(Manifest(1, "m", (), "safetensors", b"", "x"), b"c" * 32, 1, 1, (), ModelClass.ORDINARY, 1)

    async def nothing(_: object) -> None:
        return None

    evidence = IdentityEvidence(registered, nothing)
    miner = neuron(3, b"x" * 32)
    anyio.run(evidence.prepare, [miner])
    evidence.observe([miner], [Exchange(TextChallenge(ASKED, 0, ""), {miner.hotkey: answer(1.0)})])
    found = evidence.findings([miner], {})
    assert factors(found) == {miner.hotkey: 1.0}
    assert "not in the library" in found[miner.hotkey].said


def test_a_validator_that_has_just_started_pays_no_model_it_has_not_looked_for() -> None:
    async def nothing(_: object) -> None:
        return None

    evidence = IdentityEvidence(nothing, nothing)
    miner = neuron(1)
    found = evidence.findings([miner], {})
    assert factors(found) == {miner.hotkey: 0.0}
    assert "too few" in found[miner.hotkey].said


def test_equal_answers_share_one_reward_and_a_refuted_copy_takes_no_share() -> None:
    rng = np.random.default_rng(1)
    miners = [neuron(uid) for uid in (1, 2, 3)]
    evidence = OriginalityEvidence(0.005)
    for _ in range(20):
        one, other = answer(0.2, rng), answer(0.2, rng)
        evidence.observe(
            miners, [Exchange(None, {miners[0].hotkey: one, miners[1].hotkey: one, miners[2].hotkey: other})]
        )
    first, second, third = (n.hotkey for n in miners)
    found = evidence.findings(miners, {first: 1.0, second: 1.0, third: 1.0})
    assert factors(found) == {first: 0.5, second: 0.5, third: 1.0}
    assert found[first].alike == (second,)
    assert "like another miner, and they share one reward" in found[first].said
    assert found[third].alike == ()
    assert "no other miner" in found[third].said
    assert factors(evidence.findings(miners, {first: 1.0, second: 0.0, third: 1.0})) == {first: 1.0, third: 1.0}


def prepared(evidence: IdentityEvidence, *miners: Neuron) -> dict[bytes, float]:
    """Factors after another round in which these miners are asked, and say nothing."""
    anyio.run(evidence.prepare, miners)
    return factors(evidence.findings(miners, {}))


def test_who_registers_anew_is_examined_anew() -> None:
    evidence, (honest, copy) = examined({1: 0.0, 2: 0.05})
    assert prepared(evidence, honest, copy) == {honest.hotkey: 1.0, copy.hotkey: 0.0}
    again = [msgspec.structs.replace(n, registered_at=9) for n in (honest, copy)]
    assert prepared(evidence, *again) == {honest.hotkey: 0.0, copy.hotkey: 0.0}
    assert "0 of 8" in evidence.findings(again, {})[copy.hotkey].said
    assert prepared(evidence, honest) == {honest.hotkey: 0.0}, "what was known is forgotten"


def test_who_is_not_asked_for_a_while_keeps_its_past() -> None:
    """It may be halted, and what is halted is neither judged nor acquitted."""
    evidence, (honest, copy) = examined({1: 0.0, 2: 0.05})
    prepared(evidence)
    assert prepared(evidence, honest, copy) == {honest.hotkey: 1.0, copy.hotkey: 0.0}


def test_what_is_remembered_of_identity_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "MAX_UIDS", 2)
    evidence, miners = examined({1: 0.0, 2: 0.0, 3: 0.0})
    assert prepared(evidence, *miners) == {n.hotkey: 1.0 for n in miners}, "never of those that are asked"
    first, second, third = miners
    assert prepared(evidence, third) == {third.hotkey: 1.0}
    assert factors(evidence.findings(miners, {})) == {first.hotkey: 0.0, second.hotkey: 1.0, third.hotkey: 1.0}
    others = [neuron(uid, bytes([uid]) * 32) for uid in (4, 5)]
    prepared(evidence, *others)
    prepared(evidence, *others)
    assert evidence.known(MODEL) is None
    assert all(evidence.known(n.model[0].model_id) for n in others)
