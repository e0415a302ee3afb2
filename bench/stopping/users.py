"""One user a host, all in one process: a signed stream is open at each, and what a user sees is what is measured."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import msgspec

from bench.stopping.hosts import Lag, Post
from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy
from davy.network.error_responses import response_error
from davy.network.http_client import HttpTransport
from davy.network.signed_client import Question, SignedClient
from davy.protocol.errors import DavyError, ModelHalted
from davy.protocol.ports import Response
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor
from davy.protocol.words import ChainId
from tests.twins import SeededKeys

TOKENS = 1_000
DEADLINE_MS = 300_000


class Seen(NamedTuple):
    """Nanoseconds of the monotonic clock; `ended`: the stream had ended by the order, or a request was refused."""

    token: int
    ended: int
    order: bytes


class Watch:
    """What a user of one host has seen since all were asked to stream."""

    def __init__(self, post: Post) -> None:
        self.post = post
        self.tokens, self.token, self.ended, self.order = 0, 0, 0, b""

    async def run(self, client: SignedClient, rng: random.Random) -> None:
        while not self.ended:
            try:
                await self._stream(client)
            except ModelHalted as e:
                self.ended, self.order = time.monotonic_ns(), e.order
            except DavyError:
                await anyio.sleep(rng.uniform(0.02, 0.1))

    async def _stream(self, client: SignedClient) -> None:
        body = {"model": "slow", "prompt": "a", "max_tokens": TOKENS, "stream": True}
        to, anchor = self.post, Anchor(1, bytes(32))
        question = Question(
            to.endpoint, to.hotkey, "/v1/completions", msgspec.json.encode(body), anchor, EMPTY_BRAKE_HEAD
        )
        halted = b""
        async with client.stream(question, deadline=SystemClock().now() + DEADLINE_MS) as (_, incoming):
            async for frame in incoming.frames:
                if incoming.status != 200:
                    raise response_error(Response(incoming.status, incoming.headers, frame))
                if frame.startswith(b'data: {"error"'):
                    told = response_error(Response(451, (), frame.removeprefix(b"data: ")))
                    halted = told.order if isinstance(told, ModelHalted) else b""
                elif frame.startswith(b"data: {"):
                    self.tokens, self.token = self.tokens + 1, time.monotonic_ns()
        if halted:
            self.ended, self.order = time.monotonic_ns(), halted


def run_users(pipe: Any, chain: ChainId, posts: Sequence[Post]) -> None:
    """A process: opens streams when told, and says what came of them when asked."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # uvloop tells of each connection that was cut
    anyio.run(_live, pipe, chain, posts, backend_options={"use_uvloop": True})


async def _live(pipe: Any, chain: ChainId, posts: Sequence[Post]) -> None:
    clock, rng, lag = SystemClock(), random.Random(0), Lag()
    watches: list[Watch] = []
    async with HttpTransport(clock) as transport, anyio.create_task_group() as tasks:
        client = SignedClient(SeededKeys(10**6), chain, transport, clock, OsEntropy())
        tasks.start_soon(lag.watch)
        while (told := await anyio.to_thread.run_sync(pipe.recv)) != "end":
            match told:
                case ("stream", numbers):
                    watches = [Watch(posts[n]) for n in numbers]
                    for watch in watches:
                        tasks.start_soon(watch.run, client, rng)
                    while not all(w.tokens > 1 for w in watches):  # noqa: ASYNC110 - measured from outside
                        await anyio.sleep(0.05)
                    lag.worst()
                case ("seen", patience_s):
                    with anyio.move_on_after(patience_s):
                        while not all(w.ended for w in watches):  # noqa: ASYNC110
                            await anyio.sleep(0.02)
                case _:
                    pass
            seen = {w.post.number: Seen(w.token, w.ended, w.order) for w in watches}
            pipe.send((seen, time.process_time(), lag.worst()))
        tasks.cancel_scope.cancel()
