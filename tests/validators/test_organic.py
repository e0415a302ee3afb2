"""What users get is held against the registered files, by receipts alone; what is no evidence accuses nobody."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import anyio
import numpy as np
import pytest
from msgspec.structs import replace

from davy.network.exchange import Exchange, Exchanges
from davy.network.openai import Choice, CompletionRequest, CompletionResponse, Logprobs, to_json
from davy.network.receipts import Served, make_receipt, response_digest
from davy.network.signed import Caller
from davy.protocol.chain import ModelRecord, Neuron, ServedModel
from davy.protocol.manifest import Identity, Manifest, ModelClass
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor, Outcome
from davy.protocol.words import KeyRole
from davy.tasks.answer import Answer, read_tokens
from davy.tasks.identity import Calibration
from davy.tasks.shape import LISTED, LONGEST_PROMPT, Shapes
from davy.validators.identity import WINDOW, IdentityEvidence, Known
from davy.validators.organic import WAITING, OrganicEvidence
from tests.twins import MemoryStore, SeededKeys

CHAIN = bytes(range(32))
MANIFEST = Manifest(1, "m", (), "safetensors", b"", "x")
MODEL = b"m" * 32
REGISTERED = 7
SINCE = 90
CALIBRATION = Calibration("m", "00" * 32, "float32", 0.01, 0.005, 0.0, 0.0, ())
HONEST, CHEAT = SeededKeys(1), SeededKeys(2)
ASKED = CompletionRequest(
    MODEL.hex(), "prompt", max_tokens=1, temperature=0.0, logprobs=LISTED, return_tokens_as_token_ids=True
)


class Vocabulary:
    size = 4

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        return b"".join(b"abcd"[i : i + 1] for i in ids)


def read(asked: CompletionRequest, r: CompletionResponse) -> Answer:
    return read_tokens(r, asked, Vocabulary())  # pyright: ignore[reportArgumentType] - of a vocabulary it needs no more


class Files:
    """Probability 1/2, 1/4, 1/8, 1/8 after any prompt but one that it cannot take."""

    def log_probabilities(self, prompts: Sequence[str], continuations: Sequence[Sequence[int]]) -> list[np.ndarray]:
        if "poison" in prompts:
            raise RuntimeError("beyond the context")
        return [np.log(np.array([[0.5, 0.25, 0.125, 0.125]])) for _ in prompts]


def neuron(keys: SeededKeys, *, registered_at: int = REGISTERED, model: bytes = MODEL) -> Neuron:
    served = (ServedModel(model, Identity.FILES, SINCE),)
    hotkey = keys.public(KeyRole.HOTKEY)
    return Neuron(1, hotkey, b"c" * 32, registered_at, 0, 0, False, True, 0, 0, 0, 0, 0, 0, 0, (), served)


_number = iter(range(10**6))


def exchange(
    keys: SeededKeys,
    *,
    shift: float = 0.0,
    text: str = "a",
    asked: CompletionRequest = ASKED,
    height: int = REGISTERED,
    model: bytes = MODEL,
    outcome: Outcome = Outcome.DONE,
) -> Exchange:
    top = {f"token_id:{i}": math.log(p) - shift for i, p in enumerate((0.5, 0.25))}
    log = Logprobs(["token_id:0"], [top["token_id:0"]], [top], [0])
    answer = to_json(CompletionResponse("cmpl", 1, "m", [Choice(0, text, log, "length")]))
    caller = Caller(b"g" * 32, next(_number).to_bytes(32), Anchor(height, bytes(32)), EMPTY_BRAKE_HEAD, 1)
    served = Served(response_digest(answer), model, Identity.FILES, EMPTY_BRAKE_HEAD, 1, 1, outcome, 1)
    request = to_json(asked)
    return Exchange(1, request, False, (answer,), make_receipt(keys, CHAIN, caller, request, served))


class Bench:
    """An evidence with its store, and the store where a gateway puts exchanges."""

    def __init__(self, *, at_hand: bool = True, store: MemoryStore | None = None) -> None:
        async def registered(model_id: bytes) -> ModelRecord | None:
            return ModelRecord(MANIFEST, b"c" * 32, 1, 1, (), ModelClass.ORDINARY, 1)

        async def library(record: ModelRecord) -> Known | None:
            return Known(Files(), CALIBRATION) if at_hand else None

        self.store, self.gateway = store or MemoryStore(), MemoryStore()
        identity = IdentityEvidence(registered, library)
        self.shapes = Shapes()
        self.evidence = OrganicEvidence(identity, [Exchanges(self.gateway)], read, CHAIN, self.store, self.shapes)

    def judge(self, miners: Sequence[Neuron], *exchanges: Exchange, rounds: int = 8) -> dict[bytes, float]:
        async def story() -> None:
            for at in range(0, len(exchanges), 16):
                await Exchanges(self.gateway).add(tuple(exchanges[at : at + 16]))
            for _ in range(rounds):
                await self.evidence.prepare(miners)
                self.evidence.observe(miners, [])
            await self.evidence.prepare(miners)

        anyio.run(story)
        return {h: f.factor for h, f in self.evidence.findings(miners, {}).items() if f.factor < 1}


def test_who_gives_users_another_model_earns_nothing_and_the_honest_one_is_not_named() -> None:
    honest, cheat = neuron(HONEST), neuron(CHEAT)
    bench = Bench()
    found = bench.judge(
        [honest, cheat],
        *(exchange(HONEST) for _ in range(10)),
        *(exchange(CHEAT) for _ in range(4)),
        *(exchange(CHEAT, shift=0.05) for _ in range(2)),
    )
    assert found == {cheat.hotkey: 0.0}
    said = {h: f.said for h, f in bench.evidence.findings([honest, cheat], {}).items()}
    assert "2 of the last 6 answers to users run again do not come" in said[cheat.hotkey]
    assert "0 of the last 10 answers to users run again do not come" in said[honest.hotkey]


def test_challenges_learn_the_looks_of_requests_that_another_gateway_relayed() -> None:
    bench = Bench()
    bench.judge([neuron(HONEST)], exchange(HONEST, asked=replace(ASKED, max_tokens=1, prompt="p" * 77)))
    shape = bench.shapes.draw(np.random.default_rng(1))
    assert (len(bench.shapes), shape.prompt_bytes, shape.worn.max_tokens) == (1, 77, 1)
    assert "p" not in shape.worn.prompt
    unproved = replace(exchange(HONEST, asked=replace(ASKED, prompt="q")), receipt=exchange(CHEAT).receipt)
    bench.judge([neuron(HONEST)], unproved, exchange(CHEAT))
    assert len(bench.shapes) == 1, "nobody's, and not of one who is asked"


def test_one_alarm_is_chance() -> None:
    assert Bench().judge([neuron(CHEAT)], exchange(CHEAT, shift=0.05)) == {}


def test_one_exchange_told_twice_counts_once() -> None:
    e = exchange(CHEAT, shift=0.05)
    assert Bench().judge([neuron(CHEAT)], e, e, e) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"model": b"n" * 32},
        {"outcome": Outcome.CANCELLED},
        {"asked": replace(ASKED, temperature=0.5)},
        {"asked": replace(ASKED, logprobs=None)},
        {"asked": replace(ASKED, return_tokens_as_token_ids=False)},
        {"asked": replace(ASKED, model="m")},
        {"asked": replace(ASKED, prompt="p" * (LONGEST_PROMPT + 1))},
        {"asked": replace(ASKED, prompt="poison")},
    ],
)
def test_what_is_not_determined_by_the_files_accuses_nobody(changes: dict[str, Any]) -> None:
    exchanges = [exchange(CHEAT, shift=0.05, **changes) for _ in range(4)]
    assert Bench().judge([neuron(CHEAT)], *exchanges) == {}


def test_text_that_is_not_the_reported_tokens_is_an_alarm() -> None:
    cheat = neuron(CHEAT)
    assert Bench().judge([cheat], *(exchange(CHEAT, text="b") for _ in range(2))) == {cheat.hotkey: 0.0}


def test_another_signers_word_accuses_nobody() -> None:
    forged = [replace(exchange(CHEAT, shift=0.05), receipt=exchange(HONEST).receipt) for _ in range(4)]
    assert Bench().judge([neuron(CHEAT), neuron(HONEST)], *forged) == {}


def test_a_model_that_is_not_at_hand_is_not_judged() -> None:
    assert Bench(at_hand=False).judge([neuron(CHEAT)], *(exchange(CHEAT, shift=0.05) for _ in range(4))) == {}


def test_it_counts_on_every_subnet_wherever_it_was_registered_when() -> None:
    """A hotkey on two subnets registers on one after the other, and is asked once for both."""
    here, there = neuron(CHEAT), neuron(CHEAT, registered_at=REGISTERED + 1)
    bench = Bench()
    assert bench.judge([there], *(exchange(CHEAT, shift=0.05) for _ in range(2))) == {there.hotkey: 0.0}
    found = bench.evidence.findings([here], {})[here.hotkey]
    assert found.factor == 0
    assert "2 of the last 2 answers to users" in found.said


def test_neither_a_restart_nor_a_new_registration_acquits_and_another_model_begins_without_a_past() -> None:
    cheat, first = neuron(CHEAT), Bench()
    first.judge([cheat], *(exchange(CHEAT, shift=0.05) for _ in range(2)))
    again = Bench(store=first.store.copy())
    assert again.judge([cheat]) == {cheat.hotkey: 0.0}
    assert Bench(store=first.store.copy()).judge([neuron(CHEAT, registered_at=9)]) == {cheat.hotkey: 0.0}
    assert Bench(store=first.store.copy()).judge([neuron(CHEAT, model=b"n" * 32)]) == {}


def test_nor_does_a_restart_accuse_anybody_of_what_was_within_the_threshold() -> None:
    near, first = neuron(HONEST), Bench()
    assert first.judge([near], *(exchange(HONEST, shift=0.009) for _ in range(4))) == {}
    assert Bench(store=first.store.copy()).judge([near]) == {}


@pytest.mark.parametrize(("good", "accused"), [(14, True), (15, False)])
def test_of_what_waits_the_newest_sixteen_are_run_again(good: int, accused: bool) -> None:
    cheat = neuron(CHEAT)
    waiting = [exchange(CHEAT, shift=0.05) for _ in range(2)] + [exchange(CHEAT) for _ in range(good)]
    assert Bench().judge([cheat], *waiting, rounds=10) == ({cheat.hotkey: 0.0} if accused else {})


def test_alarms_leave_with_the_window() -> None:
    cheat = neuron(CHEAT)
    bench = Bench()
    assert bench.judge([cheat], *(exchange(CHEAT, shift=0.05) for _ in range(2))) == {cheat.hotkey: 0.0}
    for good in (WAITING, WINDOW - 2 - WAITING):
        assert bench.judge([cheat], *(exchange(CHEAT) for _ in range(good))) == {cheat.hotkey: 0.0}
    assert bench.judge([cheat], exchange(CHEAT)) == {}


def test_who_is_not_asked_for_a_while_as_under_a_halt_is_not_acquitted() -> None:
    cheat = neuron(CHEAT)
    bench = Bench()
    assert bench.judge([cheat], *(exchange(CHEAT, shift=0.05) for _ in range(2))) == {cheat.hotkey: 0.0}
    assert bench.judge([]) == {}
    assert bench.judge([cheat]) == {cheat.hotkey: 0.0}
