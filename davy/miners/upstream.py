"""A model behind another server that speaks OpenAI's API: vLLM, llama.cpp, TGI, a provider.

The miner vouches for what comes from there with its own receipts, but shows no files: the identity is `claimed`. Runs
on asyncio, for aiohttp does.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from davy.miners.backend import Piece, Stopped, Tally
from davy.network.client_failures import told_of_client
from davy.network.events import DONE, FrameReader, data_payloads
from davy.network.openai import CompletionRequest, to_json
from davy.protocol.errors import BadAnswer, Busy, DavyError, Malformed, Misconfigured, TooLarge, Unreachable
from davy.protocol.limits import MAX_NAME_CHARS
from davy.protocol.manifest import Manifest

MAX_ERROR_BYTES: Final = 4 * 1024
_TOKEN_ID: Final = re.compile(r"token_id:(\d{1,9})")


class UpstreamUsage(msgspec.Struct):
    """Other fields, which every server has of its own, are ignored; so are they below."""

    prompt_tokens: int
    completion_tokens: int


class UpstreamLogprobs(msgspec.Struct):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None = None


class UpstreamChoice(msgspec.Struct):
    text: str
    logprobs: UpstreamLogprobs | None = None
    finish_reason: str | None = None


class UpstreamChunk(msgspec.Struct):
    choices: list[UpstreamChoice]
    usage: UpstreamUsage | None = None


_CHUNK: Final = msgspec.json.Decoder(UpstreamChunk)


class Upstream:
    """A completion endpoint of OpenAI's API.

    Parameters
    ----------
    url
        Its base, such as ``http://127.0.0.1:8000/v1``.
    model
        Its name there.
    name
        The name in the manifest; `model` when left out.
    key_env, key_file
        Where its API key stands: a variable of the environment, or a file.
    timeout
        Seconds until the first event of an answer, and between two events.
    concurrent
        Requests there at the same time; more are refused.

    Raises
    ------
    Misconfigured
        No http address, a name no manifest can hold, or no key where one should be.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        name: str = "",
        licence: str = "unstated",
        key_env: str = "",
        key_file: str = "",
        timeout: float = 60.0,
        concurrent: int = 64,
    ) -> None:
        if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url):
            raise Misconfigured(f"'{url}' is not an address of a server: write it like http://127.0.0.1:8000/v1")
        shown = re.sub(r"[^A-Za-z0-9 ._/-]", "-", name or model)
        if len(shown) > MAX_NAME_CHARS:
            raise Misconfigured(f"a model's name holds {MAX_NAME_CHARS} letters, not {len(shown)}: add name=SHORTER")
        if not re.match(r"[A-Za-z0-9]", shown):
            raise Misconfigured(f"'{shown}' cannot name a model: begin with a letter or a digit")
        self._url = url.rstrip("/") + "/completions"
        self._base, self._model = url, model
        self._manifest = Manifest(1, shown, (), "opaque", b"", licence)
        self._headers = {"authorization": f"Bearer {key}"} if (key := _key(key_env, key_file)) else {}
        self._timeout = timeout
        self._concurrent = concurrent
        self._running = 0
        self._session: aiohttp.ClientSession | None = None

    def manifest(self) -> Manifest:
        return self._manifest

    def generate(
        self, request: CompletionRequest, stopped: Stopped
    ) -> AbstractAsyncContextManager[AsyncIterator[Piece | Tally]]:
        if self._running >= self._concurrent:
            raise Busy(f"{self._concurrent} requests are at the upstream server already; ask again in a moment")
        return self._generation(request, stopped)

    async def probe(self) -> None:
        """Ask for one token, as it costs a bond to find out later that nobody there has the model.

        Raises
        ------
        Misconfigured
        """
        asked = CompletionRequest(self._model, "1", max_tokens=1, temperature=0.0)
        try:
            async with self.generate(asked, lambda: False) as items:
                came = [item async for item in items]
        except DavyError as e:
            reason = str(e).removesuffix("; ask another miner")
        else:
            if any(isinstance(item, Piece) or item.completion_tokens or item.finish for item in came):
                return
            reason = "an empty answer"
        raise Misconfigured(f"one token of '{self._model[:80]}' was asked for at {self._base[:80]}: {reason}")

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _generation(
        self, request: CompletionRequest, stopped: Stopped
    ) -> AsyncGenerator[AsyncIterator[Piece | Tally]]:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=self._timeout)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers, trust_env=False)
        self._running += 1
        try:
            answer = await self._ask(self._session, request)
            async with answer, aclosing(_pieces(answer, request, stopped)) as pieces:
                yield pieces
        finally:
            self._running -= 1

    async def _ask(self, session: aiohttp.ClientSession, request: CompletionRequest) -> aiohttp.ClientResponse:
        asked = msgspec.structs.replace(request, model=self._model, stream=True, user=None, stream_options=None)
        fields: dict[str, Any] = msgspec.json.decode(to_json(asked)) | {"stream_options": {"include_usage": True}}
        fields |= {"temperature": request.temperature, "max_tokens": request.max_tokens}  # their defaults may differ
        try:
            answer = await session.post(self._url, json=fields, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as e:
            raise Unreachable(f"the upstream server does not answer ({told_of_client(e)}); ask another miner") from e
        if answer.status == 200:
            return answer
        async with answer:
            said = await _message(answer)
        if answer.status in (400, 404, 413, 422):
            raise Malformed(f"the upstream server refuses the request: {said}")
        if answer.status == 429:
            raise Busy("the upstream server is busy; ask again in a moment")
        if answer.status in (401, 403):
            raise Misconfigured(f"the upstream server does not take our API key ({answer.status}): {said}")
        raise Unreachable(f"the upstream server failed with status {answer.status}; ask another miner")


async def _pieces(
    answer: aiohttp.ClientResponse, request: CompletionRequest, stopped: Stopped
) -> AsyncGenerator[Piece | Tally, None]:
    reader = FrameReader()
    tally = Tally(0)
    try:
        async for data in answer.content.iter_any():
            for frame in reader.feed(data):
                for payload in data_payloads(frame):
                    if payload == DONE:
                        yield tally
                        return
                    chunk = _decoded(payload)
                    for choice in chunk.choices:
                        if choice.finish_reason in ("stop", "length"):
                            tally = tally._replace(finish=choice.finish_reason)
                        for piece in _split(choice, request):
                            if stopped():
                                return
                            yield piece
                    if chunk.usage is not None:
                        tally = Tally(chunk.usage.prompt_tokens, chunk.usage.completion_tokens, tally.finish)
    except (aiohttp.ClientError, TimeoutError, OSError) as e:
        raise Unreachable(f"the upstream server's answer has no end: {told_of_client(e)}; ask another miner") from e
    except TooLarge as e:
        raise BadAnswer(f"the upstream server sends too much: {e}") from e
    raise Unreachable("the upstream server broke off before the end of its answer; ask another miner")


def _decoded(payload: bytes) -> UpstreamChunk:
    try:
        return _CHUNK.decode(payload)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError):
        raise BadAnswer(
            "the upstream server sends what is not a completion chunk; is it an OpenAI-compatible one?"
        ) from None


def _split(choice: UpstreamChoice, request: CompletionRequest) -> list[Piece]:
    """One chunk as pieces: one a token where the chunk tells its tokens apart, else the chunk is taken for one."""
    said = choice.logprobs
    if request.logprobs is None:
        return [Piece(-1, choice.text, 0.0)] if choice.text else []
    if said is None:
        if choice.text:
            raise BadAnswer("the upstream server gives no log-probabilities; ask without logprobs")
        return []
    tops = said.top_logprobs or [None] * len(said.tokens)
    if not len(said.tokens) == len(said.token_logprobs) == len(tops):
        raise BadAnswer("the upstream server's log-probabilities do not fit its tokens")
    pieces: list[Piece] = []
    for i, (token, logprob, top) in enumerate(zip(said.tokens, said.token_logprobs, tops, strict=True)):
        if logprob is None or logprob > 0:
            raise BadAnswer("the upstream server gives a log-probability that is none")
        names = sorted({**(top or {}), token: logprob}.items(), key=lambda entry: -entry[1])
        listed = tuple((_id(name), p) for name, p in names)
        # Which part of the text a token is, only its chunk knows: the first one brings all of it.
        text = choice.text if i == 0 else ""
        pieces.append(Piece(_id(token), text, logprob, listed, tuple(name for name, _ in names)))
    return pieces


def _id(name: str) -> int:
    found = _TOKEN_ID.fullmatch(name)
    return int(found[1]) if found else -1


async def _message(answer: aiohttp.ClientResponse) -> str:
    """What an upstream server says of its refusal, cut short."""
    raw = await answer.content.read(MAX_ERROR_BYTES)
    try:
        said = msgspec.json.decode(raw)
        return str(said["error"]["message"])[:300]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, RecursionError):
        return raw[:300].decode(errors="replace")


def _key(env: str, file: str) -> str:
    if env and file:
        raise Misconfigured("write key_env or key_file, not both")
    if env:
        if not os.environ.get(env):
            raise Misconfigured(f"the variable {env} is not set: put the upstream server's API key there")
        return os.environ[env].strip()
    if not file:
        return ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise Misconfigured(f"cannot read the API key in {file}: {e}") from None
