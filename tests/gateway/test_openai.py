"""The official OpenAI client and a gateway, over sockets: answers, streams, models, errors, users who leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import openai
import pytest

from davy.gateway.gateway import Limits
from davy.miners.backend import Piece, Stopped, Tally
from davy.network.http_server import serve
from davy.network.openai import CompletionRequest
from tests.gateway.stage import Miner, Stage, stage
from tests.miners.stage import Letters

pytestmark = pytest.mark.anyio
KEY = "the key"
Pieces = AbstractAsyncContextManager[AsyncGenerator[Piece | Tally, None]]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@asynccontextmanager
async def client_of(s: Stage, key: str = KEY) -> AsyncGenerator[openai.AsyncOpenAI]:
    async with (
        serve(s.gateway, "127.0.0.1", 0, None) as port,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0) as client,
    ):
        yield client


async def test_an_answer_a_stream_and_the_models() -> None:
    async with stage(Miner("a"), key=KEY) as s, client_of(s) as client:
        got = await client.completions.create(model="any", prompt="abc", max_tokens=4, temperature=0)
        assert (got.choices[0].text, got.choices[0].logprobs) == ("defg", None)
        some = await client.completions.create(model="letters", prompt="abc", max_tokens=2, temperature=0, logprobs=2)
        log = some.choices[0].logprobs
        assert log is not None
        assert log.top_logprobs is not None
        assert len(log.top_logprobs[0]) == 2
        stream = await client.completions.create(model="any", prompt="abc", max_tokens=4, temperature=0, stream=True)
        assert "".join([c.choices[0].text async for c in stream]) == "defg"
        assert [m.owned_by async for m in client.models.list()] == ["1 miner"]


@pytest.mark.parametrize("stream", [False, True])
async def test_errors_reach_the_client_as_errors(stream: bool) -> None:
    async def ask(client: openai.AsyncOpenAI, **changes: Any) -> None:
        given: dict[str, Any] = {"model": "any", "prompt": "abc", "stream": stream, **changes}
        await client.completions.create(**given)

    async with stage(Miner("a"), key=KEY) as s:
        async with client_of(s) as client:
            with pytest.raises(openai.NotFoundError, match="no miner serves 'other'"):
                await ask(client, model="other")
            with pytest.raises(openai.BadRequestError, match="max_tokens"):
                await ask(client, max_tokens=0)
        async with client_of(s, "wrong") as client:
            with pytest.raises(openai.AuthenticationError, match="API key"):
                await ask(client)
    async with stage(Miner("a"), limits=Limits(places=0)) as s, client_of(s) as client:
        with pytest.raises(openai.RateLimitError, match="being answered"):
            await ask(client)
    async with stage() as s, client_of(s) as client:
        with pytest.raises(openai.NotFoundError, match="no miner serves"):
            await ask(client)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_user_who_hangs_up_ends_the_miners_work(stream: bool) -> None:
    begun, ended = anyio.Event(), anyio.Event()

    class Endless(Letters):
        def generate(self, request: CompletionRequest, stopped: Stopped) -> Pieces:
            return self._endless()

        @asynccontextmanager
        async def _endless(self) -> AsyncGenerator[AsyncGenerator[Piece | Tally, None]]:
            pieces = self._one()
            try:
                yield pieces
            finally:
                await pieces.aclose()
                ended.set()

        async def _one(self) -> AsyncGenerator[Piece | Tally, None]:
            yield Piece(ord("d"), "d", -0.5, ((ord("d"), -0.5),))
            begun.set()
            await anyio.sleep_forever()

    async with stage(Miner("a", backend=Endless())) as s, client_of(s) as client:
        asking = asyncio.ensure_future(client.completions.create(model="any", prompt="abc", stream=stream))
        with anyio.fail_after(60):
            await begun.wait()
            if stream:
                answer: Any = await asking
                assert (await anext(answer)).choices[0].text == "d"
                await answer.close()
            else:
                asking.cancel()
            await ended.wait()
            while (await s.get("/health"))[1]["answering"]:
                await anyio.lowlevel.checkpoint()
