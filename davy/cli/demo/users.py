"""The gateway's users: short questions all the time, and long streams whose ends are kept."""

from __future__ import annotations

import base64
import json
import random
import time
from typing import Any, Final, NamedTuple

import aiohttp
import anyio

from davy import models

_EAGER: Final = 6.0
_CALM: Final = 2.0
"""Questions a second, before and after `calm`."""
_SHORT: Final = 2
"""Tokens of an answer to a question; challenges ask for as many."""
_LONG: Final = 120
"""Tokens of a stream."""
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)


class Ended(NamedTuple):
    """How one stream ended."""

    tokens: int
    status: int
    code: str
    """Of the error that ended or refused it; empty for an answer that came to its end."""
    order: bytes
    """Signed, where one came with it."""
    at: int
    """When, in Unix milliseconds."""


class Users:
    """Somebody who knows one URL."""

    def __init__(self, url: str, seed: int) -> None:
        self.gateway = url.removesuffix("/v1")
        self._url = f"{url}/completions"
        self._rng = random.Random(seed)
        self._pace = _EAGER
        self._texts = models.heldout()
        self.answered = 0
        self.refused = 0
        self.ended: list[Ended] = []
        self.flowing = 0
        """Streams that have begun to be answered and have not ended."""

    async def ask(self) -> None:
        """Ask short questions as they come to mind, until cancelled."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, anyio.create_task_group() as tasks:
            while True:
                tasks.start_soon(self._question, session)
                await anyio.sleep(self._rng.expovariate(self._pace))

    def calm(self) -> None:
        """Ask less often: who is good to validators only has been seen through."""
        self._pace = _CALM

    async def stream(self, model: str) -> None:
        """Read one long answer of a model after the other, until one is refused."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while True:
                ended = await self._stream(session, model)
                self.ended.append(ended)
                if ended.code == "model_halted":
                    return
                await anyio.sleep(0.05 if ended.status == 200 else 0.5)

    async def get(self, model: str) -> tuple[int, dict[str, Any]]:
        """Ask a model once: status and body."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            asked = {"model": model, "prompt": self._prompt(), "max_tokens": _SHORT, "temperature": 0}
            async with session.post(self._url, json=asked) as answer:
                return answer.status, await answer.json()

    def _prompt(self) -> str:
        text = self._rng.choice(self._texts)
        begin = self._rng.randrange(max(1, len(text) - 200))
        return text[begin : begin + self._rng.randrange(40, 160)].strip() or "The module"

    async def _question(self, session: aiohttp.ClientSession) -> None:
        asked = {"model": "any", "prompt": self._prompt(), "max_tokens": _SHORT, "temperature": 0}
        try:
            async with session.post(self._url, json=asked) as answer:
                await answer.read()
                self.answered += answer.status == 200
                self.refused += answer.status != 200
        except (aiohttp.ClientError, TimeoutError):
            self.refused += 1

    async def _stream(self, session: aiohttp.ClientSession, model: str) -> Ended:
        asked = {"model": model, "prompt": self._prompt(), "max_tokens": _LONG, "temperature": 1, "stream": True}
        tokens, code, order, status = 0, "", b"", 0
        try:
            async with session.post(self._url, json=asked) as answer:
                status = answer.status
                if status != 200:
                    error = (await answer.json())["error"]
                    return Ended(0, status, error["code"], _order(error.get("order", "")), _now())
                async for line in answer.content:
                    if line.startswith(b'data: {"error"'):
                        error = json.loads(line.removeprefix(b"data: "))["error"]
                        code, order = error["code"], _order(error.get("order", ""))
                    elif line.startswith(b"data: {"):
                        self.flowing += not tokens
                        tokens += 1
        except (aiohttp.ClientError, TimeoutError):
            code = "broken"
        self.flowing -= bool(tokens)
        return Ended(tokens, status, code, order, _now())


def _now() -> int:
    return time.time_ns() // 1_000_000


def _order(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
