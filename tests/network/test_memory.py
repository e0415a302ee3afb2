"""The network in memory under loss, delay and partitions, in virtual time: same seed, same history."""

from __future__ import annotations

from random import Random

import anyio
import pytest
import trio
import trio.testing

from davy.network.memory import MemoryNetwork, no_delay
from davy.protocol.errors import Unreachable
from davy.protocol.ports import Response, SendFrame, SignedRequest, StreamReply
from davy.protocol.transaction import Endpoint
from tests.network.conftest import Answering
from tests.twins import LoopClock

pytestmark = pytest.mark.anyio
TO = Endpoint("miner", 1, bytes(32), b"")
R = SignedRequest("GET", "/", (), b"")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


async def ok(_: SignedRequest) -> Response:
    return Response(200, (), b"ok")


def delayed(rng: Random) -> float:
    return rng.uniform(10, 30)


def network(loss: float = 0.0, delay: float = 0.0, seed: int = 0) -> tuple[MemoryNetwork, LoopClock]:
    clock = LoopClock()
    return MemoryNetwork(clock, loss, (lambda _: delay) if delay else no_delay, Random(seed)), clock


async def test_a_call_takes_one_delay_each_way() -> None:
    net, clock = network(delay=1_000)
    net.serve(TO, Answering(ok))
    began = clock.now()
    await net.transport().call(TO, R, deadline=began + 60_000)
    assert clock.now() - began == 2_000


async def test_frames_keep_their_order_and_their_distances() -> None:
    net, clock = network(delay=500)

    async def handle(_: SignedRequest) -> StreamReply:
        async def pump(send: SendFrame) -> None:
            for i in range(3):
                await send(b"data: %d" % i)
                await anyio.sleep(10)

        return StreamReply(200, (), pump)

    net.serve(TO, Answering(handle))
    got: list[tuple[int, bytes]] = []
    began = clock.now()
    async with net.transport().stream(TO, R, deadline=began + 60_000) as incoming:
        async for frame in incoming.frames:
            got.append((clock.now() - began, frame))  # noqa: PERF401
    assert got == [(1_500, b"data: 0"), (11_500, b"data: 1"), (21_500, b"data: 2")]


async def test_what_is_lost_is_waited_for() -> None:
    net, clock = network(loss=1.0)
    net.serve(TO, Answering(ok))
    began = clock.now()
    with pytest.raises(Unreachable, match="in time"):
        await net.transport().call(TO, R, deadline=began + 7_000)
    assert clock.now() - began == 7_000
    with pytest.raises(Unreachable, match="in time"):
        async with net.transport().stream(TO, R, deadline=began + 9_000):
            pytest.fail("reached")


async def test_a_lost_answer_was_handled() -> None:
    """Of many calls some fail after the handler ran: a client cannot know."""
    handled = 0

    async def count(_: SignedRequest) -> Response:
        nonlocal handled
        handled += 1
        return Response(200, (), b"")

    net, clock = network(loss=0.3, seed=1)
    net.serve(TO, Answering(count))
    answered = 0
    for _ in range(200):
        try:
            await net.transport().call(TO, R, deadline=clock.now() + 100)
            answered += 1
        except Unreachable:
            pass
    assert answered < handled < 200
    assert 60 < answered < 140  # .7² of 200 is 98
    assert 110 < handled < 170  # .7 of 200 is 140


async def test_a_cut_and_its_healing() -> None:
    net, clock = network()
    net.serve(TO, Answering(ok))
    net.cut("validator", "miner")
    with pytest.raises(Unreachable):
        await net.transport("validator").call(TO, R, deadline=clock.now() + 100)
    assert (await net.transport("other").call(TO, R, deadline=clock.now() + 100)).body == b"ok"
    net.heal()
    assert (await net.transport("validator").call(TO, R, deadline=clock.now() + 100)).body == b"ok"
    net.stop(TO)
    with pytest.raises(Unreachable):
        await net.transport("validator").call(TO, R, deadline=clock.now() + 100)


async def test_a_cut_breaks_streams_and_cancels_their_pumps() -> None:
    net, clock = network()
    cancelled = anyio.Event()

    async def handle(_: SignedRequest) -> StreamReply:
        async def pump(send: SendFrame) -> None:
            try:
                while True:
                    await send(b"data: x")
                    await anyio.sleep(1)
            finally:
                cancelled.set()

        return StreamReply(200, (), pump)

    net.serve(TO, Answering(handle))
    async with net.transport("validator").stream(TO, R, deadline=clock.now() + 60_000) as incoming:
        frames = aiter(incoming.frames)
        assert await anext(frames) == b"data: x"
        net.cut("validator", "miner")
        with pytest.raises(Unreachable, match="broke off"):
            await anext(frames)
        assert cancelled.is_set()


def history(seed: int) -> list[tuple[int, int, str]]:
    """What became of 50 calls by 5 clients, and when."""
    seen: list[tuple[int, int, str]] = []

    async def run() -> None:
        clock = LoopClock()
        net = MemoryNetwork(clock, 0.2, delayed, Random(seed))
        net.serve(TO, Answering(ok))

        async def client(n: int) -> None:
            for _ in range(10):
                try:
                    await net.transport().call(TO, R, deadline=clock.now() + 100)
                    seen.append((n, clock.now(), "answered"))
                except Unreachable:
                    seen.append((n, clock.now(), "lost"))
                await anyio.sleep(n / 7)

        # one after another: the order of trio's tasks within one instant is its own
        for n in range(5):
            await client(n)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    start = seen[0][1]
    return [(n, t - start, what) for n, t, what in seen]


def test_a_seed_is_a_history() -> None:
    assert history(1) == history(1) != history(2)
