"""Real sockets and TLS: an order that is posted ends every open stream, whatever certificate the sender expected."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest

from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.network.brake_routes import BrakeRoutes
from davy.network.certificate import CertificateFiles, make_certificate
from davy.network.error_responses import error_response, response_error
from davy.network.events import data_frame
from davy.network.fan_out import Addressee, Spreading, spread
from davy.network.http_client import HttpTransport
from davy.network.http_server import serve
from davy.protocol.errors import ModelHalted, Unreachable
from davy.protocol.ports import Response, SendFrame, SignedRequest, StreamReply
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole
from tests.killswitch.story import START, Story, subject
from tests.network.conftest import Answering
from tests.twins import LoopClock, MemoryStore, SeededKeys

pytestmark = pytest.mark.anyio
ASK = SignedRequest("GET", "/stream", (), b"")


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


class Node(NamedTuple):
    guard: Guard
    endpoint: Endpoint
    hotkey: bytes


@asynccontextmanager
async def node(
    story: Story, clock: LoopClock, number: int, folder: Path, *, plain: bool = False
) -> AsyncGenerator[Node]:
    keys = SeededKeys(200 + number)
    guard = Guard(first_state(story.genesis), keys=keys, clock=clock, store=MemoryStore())
    for source in range(3):
        guard.pulled(bytes([source]) * 32)

    async def stream(_: SignedRequest) -> Response | StreamReply:
        guard.permit(subject())

        async def pump(send: SendFrame) -> None:
            try:
                async with guard.running(subject()):
                    while True:
                        await send(data_frame(b"token"))
                        await anyio.sleep(0.005)
            except ModelHalted as e:
                await send(data_frame(error_response(e).body))

        return StreamReply(200, (), pump)

    made = make_certificate(bytes([number]) * 32)
    files = CertificateFiles(folder / f"{number}.pem", folder / f"{number}.key")
    files.certificate.write_bytes(made.certificate)
    files.key.write_bytes(made.key)
    tls = None if plain else files
    async with serve(BrakeRoutes(guard, Answering(stream), clock), "127.0.0.1", 0, tls) as port:
        yield Node(guard, Endpoint("127.0.0.1", port, made.fingerprint, b""), keys.public(KeyRole.HOTKEY))


async def test_every_open_stream_ends(tmp_path: Path) -> None:
    story = Story()
    clock = LoopClock(START - int(anyio.current_time() * 1000))
    ended: dict[int, ModelHalted] = {}
    raw = story.given[story.halt(0, 3)]
    async with AsyncExitStack() as opened:
        nodes = [await opened.enter_async_context(node(story, clock, n, tmp_path)) for n in range(3)]
        users = await opened.enter_async_context(HttpTransport(clock))
        keyholder = await opened.enter_async_context(HttpTransport(clock, pinned=False))
        flowing = [anyio.Event() for _ in nodes]

        async def use(n: int) -> None:
            async with users.stream(nodes[n].endpoint, ASK, deadline=clock.now() + 60_000) as incoming:
                async for frame in incoming.frames:
                    flowing[n].set()
                    if b"error" in frame:
                        told = response_error(Response(451, (), frame.removeprefix(b"data: ")))
                        assert isinstance(told, ModelHalted)
                        ended[n] = told

        async with anyio.create_task_group() as tasks:
            for n in range(len(nodes)):
                tasks.start_soon(use, n)
            for event in flowing:
                await event.wait()
            ports = [Endpoint(n.endpoint.host, n.endpoint.port, b"\x01" * 32, b"") for n in nodes]
            wrong = [Addressee(at, n.hotkey) for at, n in zip(ports, nodes, strict=True)]
            with pytest.raises(Unreachable):  # the certificates are not these: who pins them does not get through
                await users.call(wrong[0].endpoint, ASK, deadline=clock.now() + 60_000)
            told = await spread([raw], wrong, keyholder, clock, how=Spreading(60_000, 60_000))
            assert [t.is_reached for t in told] == [True] * 3, [t.fault for t in told]
            assert [t.attested[0].attestation.streams for t in told] == [1] * 3
        assert [ended[n].order for n in range(3)] == [raw] * 3
        answer = await users.call(nodes[0].endpoint, ASK, deadline=clock.now() + 60_000)
        assert answer.status == 451


async def test_a_gateway_in_plain_http_hears_of_an_order_too(tmp_path: Path) -> None:
    story = Story()
    clock = LoopClock(START - int(anyio.current_time() * 1000))
    raw = story.given[story.halt(0, 3)]
    async with AsyncExitStack() as opened:
        gateway = await opened.enter_async_context(node(story, clock, 0, tmp_path, plain=True))
        miner = await opened.enter_async_context(node(story, clock, 1, tmp_path))
        plain = {(gateway.endpoint.host, gateway.endpoint.port)}
        keyholder = await opened.enter_async_context(HttpTransport(clock, pinned=False, plain=plain))
        to = [Addressee(n.endpoint, n.hotkey) for n in (gateway, miner)]
        told = await spread([raw], to, keyholder, clock, how=Spreading(60_000, 60_000))
        assert [t.is_reached for t in told] == [True] * 2, [t.fault for t in told]
        deaf = await opened.enter_async_context(HttpTransport(clock, pinned=False))
        (unheard,) = await spread([raw], to[:1], deaf, clock, how=Spreading(500, 500))
        assert not unheard.is_reached


def test_what_needs_a_certificate_never_goes_out_in_plain_http() -> None:
    with pytest.raises(ValueError, match="certificate"):
        HttpTransport(LoopClock(START), plain={("127.0.0.1", 80)})
