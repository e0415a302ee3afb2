"""A miner before a server that speaks OpenAI's API: what is passed on, and what becomes of its failures."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from davy.miners.backend import Piece, Tally, identity_of
from davy.miners.upstream import Upstream
from davy.network.openai import CompletionRequest
from davy.protocol.errors import BadAnswer, Busy, DavyError, Malformed, Misconfigured, Unreachable
from davy.protocol.limits import MAX_NAME_CHARS
from davy.protocol.manifest import Identity
from tests.miners.stage import ask, start
from tests.miners.test_server import error_of, read, receipt_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def chunk(text: str, logprobs: Any = None, finish: str | None = None) -> dict[str, Any]:
    """As vLLM writes it, with fields that davy does not know."""
    choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish, "stop_reason": None}
    return {"id": "x", "object": "text_completion", "system_fingerprint": "v", "choices": [choice]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6, "details": None}}
LOGPROBS = [
    {"tokens": ["token_id:5"], "token_logprobs": [-0.5], "top_logprobs": [{"token_id:5": -0.5, "token_id:9": -1.5}]},
    {"tokens": ["token_id:6"], "token_logprobs": [-2.0], "top_logprobs": [{"token_id:7": -0.25}]},
]
GOOD = [chunk("Hel", LOGPROBS[0]), chunk("lo", LOGPROBS[1], "length"), USAGE, "[DONE]"]


class Fake:
    """Sends prepared events; remembers what it was asked, and whether its client stayed to the end."""

    def __init__(self, events: list[Any], status: int = 200, pause: float = 0) -> None:
        self.events, self.status, self.pause = events, status, pause
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.sent = 0
        self.left = anyio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("authorization"))
        if self.status != 200:
            return web.json_response({"error": {"message": "no such thing"}}, status=self.status)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            for event in self.events:
                data = event if isinstance(event, str) else json.dumps(event)
                await response.write(b"data: " + data.encode() + b"\r\n\r\n")
                self.sent += 1
                await anyio.sleep(self.pause)
        except (ConnectionError, BaseException):
            self.left.set()
            raise
        return response


@asynccontextmanager
async def served(fake: Fake, **options: Any) -> AsyncGenerator[Upstream]:
    app = web.Application()
    app.router.add_post("/v1/completions", fake.answer)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    backend = Upstream(f"http://127.0.0.1:{port}/v1/", "letters", **options)
    try:
        yield backend
    finally:
        await backend.aclose()
        await runner.cleanup()


async def gather(backend: Upstream, **fields: Any) -> list[Piece | Tally]:
    request = CompletionRequest(**{"model": "m", "prompt": "say", "max_tokens": 2, "seed": 3, **fields})
    async with backend.generate(request, lambda: False) as items:
        return [item async for item in items]


async def test_pieces_log_probabilities_and_counts_are_passed_on() -> None:
    fake = Fake(GOOD)
    async with served(fake) as backend:
        items = await gather(backend, logprobs=1, temperature=0, return_tokens_as_token_ids=True)
    assert items == [
        Piece(5, "Hel", -0.5, ((5, -0.5), (9, -1.5)), ("token_id:5", "token_id:9")),
        Piece(6, "lo", -2.0, ((7, -0.25), (6, -2.0)), ("token_id:7", "token_id:6")),
        Tally(4, 2, "length"),
    ]
    assert fake.asked == [
        {
            "model": "letters", "prompt": "say", "max_tokens": 2, "temperature": 0.0, "logprobs": 1, "seed": 3,
            "stream": True, "stream_options": {"include_usage": True}, "return_tokens_as_token_ids": True,
        }
    ]  # fmt: skip


async def test_through_the_miner_with_a_receipt_that_says_claimed() -> None:
    async with served(Fake(GOOD)) as backend:
        miner = await start(backend)
        response = await miner.call(ask({"prompt": "say", "max_tokens": 2, "logprobs": 1}))
        answer = json.loads(response.body)
        assert answer["choices"][0]["text"] == "Hello"
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
        assert receipt_of(response).identity is Identity.CLAIMED
        got = await read(miner, ask({"prompt": "say", "max_tokens": 2, "stream": True}))
        assert [c.choices[0].text for c in got.chunks] == ["Hel", "lo", ""]
        assert got.receipt.prompt_tokens == 4
        assert got.matches()


async def test_token_ids_that_an_upstream_does_not_name_are_not_made_up() -> None:
    said = {"tokens": ["Hel"], "token_logprobs": [-0.5], "top_logprobs": [{"Hel": -0.5}]}
    async with served(Fake([chunk("Hel", said), "[DONE]"])) as backend:
        miner = await start(backend)
        named = await miner.call(ask({"prompt": "a", "logprobs": 1}))
        assert json.loads(named.body)["choices"][0]["logprobs"]["top_logprobs"] == [{"Hel": -0.5}]
        refused = await miner.call(ask({"prompt": "a", "logprobs": 1, "return_tokens_as_token_ids": True}))
        assert error_of(refused) == (502, "bad_answer")


@pytest.mark.parametrize(
    ("fake", "error", "word"),
    [
        (Fake([], 400), Malformed, "no such thing"),
        (Fake([], 404), Malformed, "no such thing"),
        (Fake([], 401), Misconfigured, "API key"),
        (Fake([], 429), Busy, "busy"),
        (Fake([], 500), Unreachable, "500"),
        (Fake([], 302), Unreachable, "302"),
        (Fake([chunk("")]), Unreachable, "broke off"),
        (Fake(["{"]), BadAnswer, "not a completion chunk"),
        (Fake(['{"choices": 3}']), BadAnswer, "not a completion chunk"),
        (Fake(["[" * 5000]), BadAnswer, "not a completion chunk"),
        (Fake([chunk("a" * 70_000), "[DONE]"]), BadAnswer, "too much"),
        (Fake([chunk("a"), "[DONE]"]), BadAnswer, "no log-probabilities"),
        (Fake([chunk("a", {"tokens": ["a"], "token_logprobs": []})]), BadAnswer, "do not fit"),
        (Fake([chunk("a", {"tokens": ["a"], "token_logprobs": [0.5]})]), BadAnswer, "none"),
    ],
)
async def test_failures_are_named(fake: Fake, error: type[DavyError], word: str) -> None:
    async with served(fake) as backend:
        with pytest.raises(error, match=word):
            await gather(backend, logprobs=0)


async def test_nobody_there() -> None:
    backend = Upstream("http://127.0.0.1:9/v1", "m")
    with pytest.raises(Unreachable, match="does not answer"):
        await gather(backend)
    await backend.aclose()


async def test_one_question_tells_whether_the_server_has_the_model() -> None:
    fake = Fake(GOOD)
    async with served(fake) as backend:
        await backend.probe()
    assert [(a["model"], a["max_tokens"]) for a in fake.asked] == [("letters", 1)]


@pytest.mark.parametrize(
    ("fake", "words"),
    [
        (Fake([], status=404), "refuses the request: no such thing"),
        (Fake([], status=401), "API key"),
        (Fake([], status=500), "status 500"),
        (Fake(["nonsense"]), "not a completion chunk"),
        (Fake(["[DONE]"]), "an empty answer"),
    ],
)
async def test_a_server_that_does_not_have_it_is_told_to_its_operator(fake: Fake, words: str) -> None:
    async with served(fake) as backend:
        with pytest.raises(Misconfigured, match=f"'letters' .*{words}") as told:
            await backend.probe()
    assert "another miner" not in str(told.value)


def test_a_name_that_no_manifest_holds_is_not_cut() -> None:
    with pytest.raises(Misconfigured, match=f"{MAX_NAME_CHARS} .*name=SHORTER"):
        Upstream("http://127.0.0.1:9/v1", "n" * (MAX_NAME_CHARS + 1))
    whole = Upstream("http://127.0.0.1:9/v1", "n" * (MAX_NAME_CHARS + 1), name="n" * MAX_NAME_CHARS)
    assert whole.manifest().name == "n" * MAX_NAME_CHARS


async def test_silence_is_not_waited_for() -> None:
    async with served(Fake([chunk("a"), chunk("b")], pause=60), timeout=0.2) as backend:
        with pytest.raises(Unreachable, match="no answer in time"):
            await gather(backend)


async def leave_after_one(backend: Upstream) -> None:
    request = CompletionRequest("m", "say", max_tokens=1000)
    async with backend.generate(request, lambda: False) as items:
        async for _ in items:
            return


async def stop_after_one(backend: Upstream) -> None:
    seen: list[Any] = []
    request = CompletionRequest("m", "say", max_tokens=1000)
    async with backend.generate(request, lambda: bool(seen)) as items:
        async for item in items:
            seen.append(item)  # noqa: PERF401 - `stopped` looks at it meanwhile
    assert len(seen) == 1


@pytest.mark.parametrize("leave", [leave_after_one, stop_after_one])
async def test_whoever_leaves_closes_the_upstream_s_stream(leave: Callable[[Upstream], Awaitable[None]]) -> None:
    fake = Fake([chunk("a")] * 1000, pause=0.01)
    async with served(fake) as backend:
        await leave(backend)
        with anyio.fail_after(60):
            await fake.left.wait()
    assert fake.sent < 100


async def test_only_so_many_at_once() -> None:
    async with served(Fake([chunk("a")] * 1000, pause=0.01), concurrent=1) as backend:
        request = CompletionRequest("m", "say", max_tokens=1000)
        async with backend.generate(request, lambda: False) as items:
            async for _ in items:
                with pytest.raises(Busy):
                    backend.generate(request, lambda: False)
                break
        await leave_after_one(backend)


async def test_the_api_key_comes_from_the_environment_or_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("THE_KEY", "secret-1")
    (tmp_path / "key").write_text("secret-2\n")
    for options, expected in [({"key_env": "THE_KEY"}, "secret-1"), ({"key_file": str(tmp_path / "key")}, "secret-2")]:
        fake = Fake(GOOD)
        async with served(fake, **options) as backend:
            await gather(backend)
        assert fake.keys == [f"Bearer {expected}"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"url": "127.0.0.1:8000"}, "not an address"),
        ({"url": "ftp://x/v1"}, "not an address"),
        ({"model": "?"}, "cannot name"),
        ({"key_env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE"),
        ({"key_file": "/nowhere/key"}, "/nowhere/key"),
        ({"key_env": "A", "key_file": "b"}, "not both"),
    ],
)
def test_mistakes_in_the_options(options: dict[str, Any], word: str) -> None:
    with pytest.raises(Misconfigured, match=word):
        Upstream(**{"url": "http://127.0.0.1:1/v1", "model": "m", **options})


def test_its_identity_is_claimed() -> None:
    manifest = Upstream("http://127.0.0.1:1/v1", "org/Model-7B:q4").manifest()
    assert manifest.name == "org/Model-7B-q4"
    assert manifest.files == ()
    assert identity_of(manifest) is Identity.CLAIMED
