"""The official OpenAI client talks to a node as it talks to anyone: answers, streams, receipts it ignores, errors."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import openai
import pytest

from davy.network.error_responses import error_response
from davy.network.events import DONE, data_frame
from davy.network.freshness import RetryFresh
from davy.network.http_server import serve
from davy.network.openai import (
    Choice,
    CompletionResponse,
    Logprobs,
    ModelCard,
    ModelList,
    Usage,
    error_body,
    parse_request,
    to_json,
)
from davy.network.receipts import receipt_frame
from davy.protocol.errors import Busy, DavyError, Malformed, ModelHalted
from davy.protocol.ports import Response, SendFrame, SignedRequest, StreamReply
from tests.network.conftest import Answering, Handle

pytestmark = pytest.mark.anyio
USAGE = Usage(2, 3, 5)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


def chunk(text: str, finish: str | None = None) -> bytes:
    choice = Choice(0, text, Logprobs([text], [-0.5], [{text: -0.5, " b": -1.5}], [0]), finish)
    return to_json(CompletionResponse("cmpl-1", 1_800_000_000, "m", [choice]))


@asynccontextmanager
async def client_of(handle: Handle) -> AsyncGenerator[openai.AsyncOpenAI]:
    async with (
        serve(Answering(handle), "127.0.0.1", 0, None) as port,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none") as client,
    ):
        yield client


async def test_a_completion() -> None:
    async def handle(r: SignedRequest) -> Response:
        assert (r.method, r.path) == ("POST", "/v1/completions")
        asked = parse_request(r.body)
        assert (asked.model, asked.prompt, asked.logprobs) == ("m", "p", 2)
        whole = CompletionResponse("cmpl-1", 1, "m", [Choice(0, " a", None, "stop")], usage=USAGE)
        return Response(200, (("content-type", "application/json"), ("davy-receipt", "AAAA")), to_json(whole))

    async with client_of(handle) as client:
        raw = await client.completions.with_raw_response.create(model="m", prompt="p", logprobs=2)
        got = raw.parse()
    assert raw.headers["davy-receipt"] == "AAAA"
    assert (got.choices[0].text, got.choices[0].finish_reason) == (" a", "stop")
    assert got.usage is not None
    assert got.usage.total_tokens == 5


@pytest.mark.parametrize("receipt_after_done", [False, True])
async def test_a_stream_with_usage_and_a_receipt(receipt_after_done: bool) -> None:
    """The receipt is a comment: the client sees four chunks, the last one of them the usage."""

    async def handle(r: SignedRequest) -> StreamReply:
        assert parse_request(r.body).stream_options is not None

        async def pump(send: SendFrame) -> None:
            for payload in (chunk(" a"), chunk(" b"), chunk(" c", "length")):
                await send(data_frame(payload))
            await send(data_frame(to_json(CompletionResponse("cmpl-1", 1, "m", [], usage=USAGE))))
            last = [receipt_frame(bytes(300)), data_frame(DONE)]
            for frame in reversed(last) if receipt_after_done else last:
                await send(frame)

        return StreamReply(200, (), pump)

    async with client_of(handle) as client:
        stream = await client.completions.create(
            model="m", prompt="p", stream=True, stream_options={"include_usage": True}
        )
        chunks = [c async for c in stream]
    assert [c.choices[0].text for c in chunks[:3]] == [" a", " b", " c"]
    assert chunks[0].choices[0].logprobs is not None
    assert chunks[0].choices[0].logprobs.token_logprobs == [-0.5]
    assert (len(chunks), chunks[3].choices) == (4, [])
    assert chunks[3].usage is not None
    assert chunks[3].usage.total_tokens == 5


async def test_an_error_in_mid_stream_is_raised() -> None:
    async def handle(_: SignedRequest) -> StreamReply:
        async def pump(send: SendFrame) -> None:
            await send(data_frame(chunk(" a")))
            await send(data_frame(error_body("order 7 halts this model", "model_halted", "model_halted")))

        return StreamReply(200, (), pump)

    got: list[str] = []
    async with client_of(handle) as client:
        stream = await client.completions.create(model="m", prompt="p", stream=True)
        got.append((await anext(stream)).choices[0].text)
        with pytest.raises(openai.APIError, match="order 7 halts"):
            await anext(stream)
    assert got == [" a"]


async def test_the_list_of_models() -> None:
    async def handle(r: SignedRequest) -> Response:
        assert (r.method, r.path, r.body) == ("GET", "/v1/models", b"")
        return Response(
            200, (("content-type", "application/json"),), to_json(ModelList([ModelCard("id", 1, "o", "n")]))
        )

    async with client_of(handle) as client:
        assert [m.id async for m in client.models.list()] == ["id"]


@pytest.mark.parametrize(
    ("error", "raised", "attempts"),
    [
        (ModelHalted("order 7 halts this model", b"order"), openai.APIStatusError, 1),
        (Malformed("echo is not served"), openai.BadRequestError, 1),
        (Busy("later"), openai.RateLimitError, 3),
        (RetryFresh("from before a restart", 20), openai.ConflictError, 3),
    ],
)
async def test_errors_and_what_is_retried(
    error: DavyError, raised: type[openai.APIStatusError], attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    waits: list[float] = []

    async def no_sleep(seconds: float) -> None:
        waits.append(seconds)

    async def handle(_: SignedRequest) -> Response:
        nonlocal asked
        asked += 1
        raise error

    async with client_of(handle) as client:
        monkeypatch.setattr("openai._base_client.anyio.sleep", no_sleep)
        with pytest.raises(raised) as caught:
            await client.completions.create(model="m", prompt="p")
    told = json.loads(error_response(error).body)["error"]
    assert asked == attempts
    assert len(waits) == attempts - 1
    assert caught.value.status_code == error_response(error).status
    assert (caught.value.code, caught.value.type, caught.value.param) == (told["code"], told["type"], None)
    assert str(error) in caught.value.message
    if isinstance(error, RetryFresh):
        assert waits == [0.02, 0.02]
