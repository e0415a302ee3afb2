"""A model in this process: batched with others and alone it says the same; cancelled, it says nothing more."""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import torch

from davy.miners.backend import Piece, Tally, identity_of
from davy.miners.huggingface import HuggingFace
from davy.models.checkpoint import file_digest, open_checkpoint
from davy.models.llama_numpy import Llama
from davy.network.openai import CompletionRequest
from davy.protocol.errors import Busy, Malformed, Misconfigured
from davy.protocol.manifest import Identity, model_id
from tests.miners import tiny
from tests.miners.stage import CHAIN, MINER, ask, start
from tests.miners.test_server import receipt_of
from tests.twins import WallClock
from tests.twins.brake import guard_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("models") / "tiny", seed=1)


@pytest.fixture
def backend(folder: Path) -> Iterator[HuggingFace]:
    made = HuggingFace(folder, wait_ms=20)
    yield made
    anyio.run(made.aclose)


def request(prompt: str, **fields: Any) -> CompletionRequest:
    return CompletionRequest(
        **{"model": "tiny", "prompt": prompt, "temperature": 0, "seed": 7, "logprobs": 5, **fields}
    )


async def gather(backend: HuggingFace, asked: CompletionRequest) -> list[Piece]:
    async with backend.generate(asked, lambda: False) as items:
        return [item async for item in items if isinstance(item, Piece)]


PROMPTS = ["import os", "x", "def a_much_longer_prompt(with_words): pass", "é", "  two spaces"]


@pytest.mark.parametrize("temperature", [0.0, 0.8])
async def test_batched_answers_are_those_given_alone(
    backend: HuggingFace, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    sizes: list[int] = []
    original = Llama.start

    def counted(self: Llama, prompts: Any, room: int) -> Any:
        sizes.append(len(prompts))
        return original(self, prompts, room)

    monkeypatch.setattr(Llama, "start", counted)
    asked = [request(p, max_tokens=4 + 3 * i, temperature=temperature) for i, p in enumerate(PROMPTS)]
    together: dict[int, list[Piece]] = {}

    async def one(i: int) -> None:
        together[i] = await gather(backend, asked[i])

    async with anyio.create_task_group() as callers:
        for i in range(len(asked)):
            callers.start_soon(one, i)
    assert max(sizes) >= 2, "they were to be computed together"
    for i, r in enumerate(asked):
        alone = await gather(backend, r)
        assert [p.token for p in alone] == [p.token for p in together[i]]
        assert [p.text for p in alone] == [p.text for p in together[i]]
        for a, b in zip(alone, together[i], strict=True):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-4)
            assert dict(a.top) == pytest.approx(dict(b.top), abs=1e-4)


async def test_log_probabilities_are_those_of_the_model(backend: HuggingFace) -> None:
    (piece,) = await gather(backend, request("import os", max_tokens=1, logprobs=64))
    assert piece.top[0][0] == piece.token, "at temperature 0 the argmax is chosen"
    values = [logprob for _, logprob in piece.top]
    assert values == sorted(values, reverse=True)
    assert sum(map(math.exp, values)) <= 1
    full = backend._batcher._model.start([backend._vocabulary.encode("import os")], 1)[1][0]
    expected = torch.log_softmax(torch.tensor(full).double(), -1)
    np.testing.assert_allclose(values, expected[[t for t, _ in piece.top]].numpy(), atol=1e-5)
    assert piece.token == int(expected.argmax())


async def test_the_whole_vocabulary_sums_to_one_and_not_to_more(tmp_path: Path) -> None:
    confident = HuggingFace(tiny.write(tmp_path / "m", seed=2, scale=1.5))
    (piece,) = await gather(confident, request("a", max_tokens=1, logprobs=64))
    assert math.exp(piece.logprob) > 0.5, "a model this sure is where rounding would show"
    assert sum(math.exp(logprob) for _, logprob in piece.top) <= 1
    await confident.aclose()


async def test_the_same_seed_draws_the_same_tokens(backend: HuggingFace) -> None:
    async def tokens(**fields: Any) -> list[int]:
        return [p.token for p in await gather(backend, request("abc", max_tokens=12, temperature=1, **fields))]

    assert await tokens(seed=1) == await tokens(seed=1)
    assert await tokens(seed=1) != await tokens(seed=2)
    greedy = [p.token for p in await gather(backend, request("abc", max_tokens=12))]
    assert await tokens(top_p=1e-9) == greedy, "only the likeliest token is left"


async def test_text_of_pieces_is_the_text_of_the_whole(backend: HuggingFace) -> None:
    pieces = await gather(backend, request("é", max_tokens=60, temperature=2))
    tokens = [p.token for p in pieces if p.token != tiny.END]
    assert "".join(p.text for p in pieces) == backend._vocabulary.decode(tokens)
    assert any(p.text == "" for p in pieces), "bytes of unfinished characters were expected"


async def test_cancelled_within_one_token(backend: HuggingFace) -> None:
    """What `stopped` says, and leaving the stream, each end the generation before the next token."""
    steps: list[int] = []
    model = backend._batcher._model
    backend._batcher._model = _Counting(model, steps)
    seen: list[Any] = []
    async with backend.generate(request("a", max_tokens=100), lambda: len(seen) >= 3) as items:
        async for item in items:
            seen.append(item)  # noqa: PERF401 - `stopped` looks at it meanwhile
    pieces = [s for s in seen if isinstance(s, Piece)]
    # The thread may have made one token before it could see the third item, a count and two pieces.
    assert 2 <= len(pieces) <= 4
    assert len(steps) <= 3
    steps.clear()
    async with backend.generate(request("a", max_tokens=100), lambda: False) as items:
        async for item in items:
            if isinstance(item, Piece):
                break
    await gather(backend, request("b", max_tokens=1))  # the thread has been round again
    made = len(steps)
    await gather(backend, request("b", max_tokens=1))
    assert len(steps) == made < 50


class _Counting:
    def __init__(self, model: Any, steps: list[int]) -> None:
        self._model, self._steps = model, steps
        self.start = model.start

    def step(self, rows: Any, tokens: Any) -> Any:
        self._steps.append(len(tokens))
        return self._model.step(rows, tokens)


async def test_a_short_request_does_not_wait_for_a_long_one(backend: HuggingFace) -> None:
    order: list[str] = []
    begun = anyio.Event()

    async def long() -> None:
        async with backend.generate(request("a", max_tokens=120), lambda: False) as items:
            async for item in items:
                if isinstance(item, Piece):
                    begun.set()
        order.append("long")

    async with anyio.create_task_group() as callers:
        callers.start_soon(long)
        await begun.wait()
        await gather(backend, request("b", max_tokens=2))
        order.append("short")
    assert order == ["short", "long"]


async def test_a_full_queue_is_busy(folder: Path) -> None:
    backend = HuggingFace(folder, batch=1, queue=1)
    async with backend.generate(request("a", max_tokens=120), lambda: False) as first:
        await anext(first)  # it has the only row
        async with backend.generate(request("b"), lambda: False) as second:
            with pytest.raises(Busy, match="wait for this model"):
                backend.generate(request("c"), lambda: False)
            async for _ in first:
                pass
            assert isinstance(await anext(second), Tally)
    await backend.aclose()


async def test_closing_ends_what_runs(folder: Path) -> None:
    backend = HuggingFace(folder)
    async with backend.generate(request("a", max_tokens=120), lambda: False) as items:
        await anext(items)
        await backend.aclose()
        with pytest.raises(Busy, match="closed"):
            [item async for item in items]
    with pytest.raises(Busy, match="closed"):
        backend.generate(request("a"), lambda: False)


async def test_a_failing_model_fails_its_callers_and_no_others(backend: HuggingFace) -> None:
    model = backend._batcher._model

    class Breaks(_Counting):
        def step(self, rows: Any, tokens: Any) -> Any:
            raise RuntimeError("out of memory")

    backend._batcher._model = Breaks(model, [])
    with pytest.raises(RuntimeError, match="out of memory"):
        await gather(backend, request("a", max_tokens=3))
    backend._batcher._model = model
    assert len(await gather(backend, request("a", max_tokens=3))) == 3


async def test_context_is_enforced_with_the_numbers(backend: HuggingFace) -> None:
    assert len(await gather(backend, request("a" * 100, max_tokens=28))) > 0
    with pytest.raises(Malformed, match=r"101 tokens.*28.*128"):
        backend.generate(request("a" * 101, max_tokens=28), lambda: False)


async def test_through_the_miner_with_a_receipt_that_says_files(backend: HuggingFace) -> None:
    guard = guard_of(MINER, WallClock(), CHAIN)  # whose clock the model's own thread reads
    miner = await start(backend, guard=guard)
    body = {"model": "tiny", "prompt": "ab", "max_tokens": 3, "temperature": 0, "logprobs": 20}
    response = await miner.call(ask({**body, "return_tokens_as_token_ids": True}))
    said = json.loads(response.body)["choices"][0]["logprobs"]
    assert all(t in top for t, top in zip(said["tokens"], said["top_logprobs"], strict=True))
    assert all(len(top) == 20 and sum(map(math.exp, top.values())) <= 1 for top in said["top_logprobs"])
    assert receipt_of(response).identity is Identity.FILES
    named = json.loads((await miner.call(ask(body))).body)["choices"][0]
    assert len(named["logprobs"]["tokens"]) == 3


def test_the_manifest_has_the_files_digests(folder: Path, backend: HuggingFace) -> None:
    manifest = backend.manifest()
    assert [f.name for f in manifest.files] == ["config.json", "model.safetensors", "tokenizer.json"]
    assert {f.digest for f in manifest.files} == {file_digest(folder / f.name) for f in manifest.files}
    assert manifest.tokenizer == file_digest(folder / "tokenizer.json")
    assert (manifest.name, manifest.format) == ("tiny", "safetensors")
    assert identity_of(manifest) is Identity.FILES


def test_one_changed_byte_is_another_model(folder: Path, tmp_path: Path, backend: HuggingFace) -> None:
    shutil.copytree(folder, tmp_path / "tiny")
    assert model_id(HuggingFace(tmp_path / "tiny").manifest()) == model_id(backend.manifest())
    weights = bytearray((tmp_path / "tiny" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "tiny" / "model.safetensors").write_bytes(weights)
    assert model_id(HuggingFace(tmp_path / "tiny").manifest()) != model_id(backend.manifest())


def broken(folder: Path, what: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    match what:
        case "no weights":
            (folder / "model.safetensors").unlink()
        case "no config":
            (folder / "config.json").unlink()
        case "no tokenizer":
            (folder / "tokenizer.json").unlink()
        case "bad tokenizer":
            (folder / "tokenizer.json").write_text("{}")
        case "bad config":
            (folder / "config.json").write_text("{")
        case "cut weights":
            (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
        case "fewer weights":
            (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
        case "own code":
            (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "m.M"}}))
        case "a module":
            (folder / "modeling_mine.py").write_text("raise SystemExit('ran')")
        case "a file":
            shutil.rmtree(folder)
            folder.write_text("")
        case _:
            (folder / what).write_bytes(b"\x80\x04")


@pytest.mark.parametrize(
    ("what", "word"),
    [
        ("pytorch_model.bin", "pickled"),
        ("weights.pt", "pickled"),
        ("weights.PTH", "pickled"),
        ("last.ckpt", "pickled"),
        ("state.pkl", "pickled"),
        ("own code", "code of its own"),
        ("a module", "code of its own"),
        ("no weights", "safetensors"),
        ("no config", "not a model"),
        ("no tokenizer", r"tokenizer\.json"),
        ("bad tokenizer", r"not a tokenizer\.json"),
        ("bad config", "not a configuration"),
        ("cut weights", "safetensors"),
        ("fewer weights", "lacks the weights"),
        ("a file", "no folder"),
    ],
)
def test_a_folder_that_is_no_model_is_refused_in_one_sentence(
    folder: Path, tmp_path: Path, what: str, word: str
) -> None:
    shutil.copytree(folder, tmp_path / "tiny")
    broken(tmp_path / "tiny", what)
    with pytest.raises(Misconfigured, match=word) as refused:
        HuggingFace(tmp_path / "tiny")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("options", [{"dtype": "int4"}, {"threads": 0}, {"batch": 0}, {"device": "cuda:99"}])
def test_mistakes_in_the_options(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        HuggingFace(folder, **options)


def test_nothing_is_loaded_by_looking(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    assert checkpoint.context == tiny.CONTEXT
    assert checkpoint.ends == {tiny.END}
