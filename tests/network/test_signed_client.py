"""A node restarts: its clients do not notice, and nothing is answered twice."""

from __future__ import annotations

from random import Random

import pytest
import trio.testing

from davy.network.error_responses import response_error
from davy.network.freshness import RetryFresh
from davy.network.memory import MemoryNetwork, no_delay
from davy.network.signed import RequestVerifier, request_id
from davy.network.signed_client import Question, SignedClient
from davy.protocol.errors import Busy
from davy.protocol.ports import Response, SendFrame, SignedRequest, StreamReply
from davy.protocol.receipt import EMPTY_BRAKE_HEAD
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole
from tests.network.conftest import ANCHOR, CHAIN
from tests.twins import LoopClock, MemoryStore, SeededEntropy, SeededKeys

pytestmark = pytest.mark.anyio
TO = Endpoint("miner", 1, bytes(32), b"")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Node:
    """Verifies; answers with the id of the request it accepted, whole or as a stream."""

    def __init__(self, clock: LoopClock, store: MemoryStore) -> None:
        self._verifier = RequestVerifier(SeededKeys(2).public(KeyRole.HOTKEY), CHAIN, clock, store)
        self.asked = 0

    async def open(self) -> Node:
        await self._verifier.open()
        return self

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        self.asked += 1
        who = await self._verifier.verify(request)

        async def pump(send: SendFrame) -> None:
            await send(b"data: " + who.request_id.hex().encode())

        return StreamReply(200, (), pump) if request.path == "/stream" else Response(200, (), who.request_id)


def question(path: str = "/") -> Question:
    return Question(TO, SeededKeys(2).public(KeyRole.HOTKEY), path, b"{}", ANCHOR, EMPTY_BRAKE_HEAD)


def parts() -> tuple[LoopClock, MemoryStore, MemoryNetwork, SignedClient]:
    clock = LoopClock()
    net = MemoryNetwork(clock, 0.0, no_delay, Random(0))
    client = SignedClient(SeededKeys(1), CHAIN, net.transport(), clock, SeededEntropy())
    return clock, MemoryStore(), net, client


async def test_a_call_is_signed_anew_after_a_restart() -> None:
    clock, store, net, client = parts()
    net.serve(TO, first := await Node(clock, store).open())
    got = await client.call(question(), deadline=clock.now() + 10_000)
    assert got.response.body == request_id(got.sent)
    net.serve(TO, second := await Node(clock, store.copy()).open())
    got = await client.call(question(), deadline=clock.now() + 10_000)
    assert (got.response.status, got.response.body) == (200, request_id(got.sent))
    assert (first.asked, second.asked) == (1, 2)


async def test_a_stream_is_signed_anew_after_a_restart() -> None:
    clock, store, net, client = parts()
    for node in (Node(clock, store), Node(clock, store)):
        net.serve(TO, await node.open())
        async with client.stream(question("/stream"), deadline=clock.now() + 10_000) as got:
            frames = [frame async for frame in got.incoming.frames]
        assert frames == [b"data: " + request_id(got.sent).hex().encode()]
    assert node.asked == 2


async def test_once_and_not_beyond_the_deadline() -> None:
    clock, _, net, client = parts()

    class Amnesiac:
        asked = 0
        after_ms = 0

        async def handle(self, request: SignedRequest) -> Response:
            self.asked += 1
            raise RetryFresh("again", self.after_ms)

    net.serve(TO, node := Amnesiac())
    for node.after_ms, asked in [(31_000, 1), (500, 2)]:
        node.asked = 0
        got = await client.call(question(), deadline=clock.now() + 30_000)
        assert isinstance(response_error(got.response), RetryFresh)
        assert node.asked == asked
        node.asked = 0
        async with client.stream(question(), deadline=clock.now() + 30_000) as stream:
            (body,) = [frame async for frame in stream.incoming.frames]
        assert isinstance(response_error(Response(stream.incoming.status, (), body)), RetryFresh)
        assert node.asked == asked


async def test_other_errors_are_answers() -> None:
    clock, _, net, client = parts()

    class Full:
        asked = 0

        async def handle(self, request: SignedRequest) -> Response:
            self.asked += 1
            raise Busy("later")

    net.serve(TO, node := Full())
    got = await client.call(question(), deadline=clock.now() + 10_000)
    assert isinstance(response_error(got.response), Busy)
    assert node.asked == 1
