"""What a client may rely on, whichever transport it has: the same handlers behind memory and behind HTTP over TLS."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import anyio
import pytest

from davy.network.certificate import CertificateFiles, make_certificate
from davy.network.events import data_frame
from davy.network.http_client import HttpTransport
from davy.network.http_server import serve
from davy.network.memory import MemoryNetwork, no_delay
from davy.network.signed import RequestVerifier
from davy.protocol.errors import BadAnswer, Busy, ModelHalted, TooLarge, Unreachable
from davy.protocol.limits import MAX_EVENT_BYTES, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES
from davy.protocol.ports import Response, SendFrame, SignedRequest, StreamReply, Transport
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole
from tests.network.conftest import CHAIN, Answering, Handle, Sign
from tests.twins import LoopClock, MemoryStore, SeededKeys, SetClock

pytestmark = pytest.mark.anyio
CERTIFICATE = make_certificate(bytes(32))


class Setting(NamedTuple):
    transport: str
    loop: str


@pytest.fixture(
    params=[
        Setting("memory", "asyncio"),
        Setting("memory", "trio"),
        Setting("http", "asyncio"),
        Setting("http", "uvloop"),
    ],
    ids=lambda s: f"{s.transport}-{s.loop}",
)
def setting(request: pytest.FixtureRequest) -> Setting:
    return request.param


@pytest.fixture
def anyio_backend(setting: Setting) -> tuple[str, dict[str, bool]]:
    if setting.loop == "trio":
        return "trio", {}
    return "asyncio", {"use_uvloop": setting.loop == "uvloop"}


class Peer(NamedTuple):
    transport: Transport
    to: Endpoint
    clock: LoopClock

    def soon(self) -> int:
        return self.clock.now() + 20_000


Connect = Callable[[Handle], AbstractAsyncContextManager[Peer]]


async def read_stream(peer: Peer, r: SignedRequest, into: list[bytes]) -> None:
    async with peer.transport.stream(peer.to, r, deadline=peer.soon()) as incoming:
        async for frame in incoming.frames:
            into.append(frame)  # noqa: PERF401, what came before an error counts


@pytest.fixture
def connect(setting: Setting, tmp_path: Path) -> Connect:
    """Let a function answer, and connect to it."""

    @asynccontextmanager
    async def connected(handle: Handle) -> AsyncGenerator[Peer]:
        clock = LoopClock()
        if setting.transport == "memory":
            network = MemoryNetwork(clock, 0.0, no_delay, Random(0))
            to = Endpoint("miner", 1, CERTIFICATE.fingerprint, b"")
            network.serve(to, Answering(handle))
            yield Peer(network.transport(), to, clock)
            return
        files = CertificateFiles(tmp_path / "certificate.pem", tmp_path / "key.pem")
        files.certificate.write_bytes(CERTIFICATE.certificate)
        files.key.write_bytes(CERTIFICATE.key)
        async with serve(Answering(handle), "127.0.0.1", 0, files) as port, HttpTransport(clock) as transport:
            yield Peer(transport, Endpoint("127.0.0.1", port, CERTIFICATE.fingerprint, b""), clock)

    return connected


async def test_a_request_arrives_as_it_was_sent(connect: Connect, sign: Sign, miner: SeededKeys) -> None:
    verifier = RequestVerifier(miner.public(KeyRole.HOTKEY), CHAIN, SetClock(), MemoryStore())
    await verifier.open()
    r = sign(path="/v1/completions?a=%20%2f&b", body=bytes(range(256)))

    async def handle(got: SignedRequest) -> Response:
        assert (got.method, got.path, got.body) == (r.method, r.path, r.body)
        return Response(201, (("x-caller", (await verifier.verify(got)).hotkey.hex()),), b"\x00answer")

    async with connect(handle) as peer:
        response = await peer.transport.call(peer.to, r, deadline=peer.soon())
    assert (response.status, response.body) == (201, b"\x00answer")
    assert dict(response.headers)["x-caller"] == SeededKeys(1).public(KeyRole.HOTKEY).hex()


async def test_the_largest_bodies_pass_and_larger_ones_do_not(connect: Connect, sign: Sign) -> None:
    async def handle(r: SignedRequest) -> Response:
        return Response(200, (), bytes(MAX_RESPONSE_BYTES + (r.path == "/more")))

    async with connect(handle) as peer:
        largest = sign(body=bytes(MAX_REQUEST_BYTES))
        assert len((await peer.transport.call(peer.to, largest, deadline=peer.soon())).body) == MAX_RESPONSE_BYTES
        with pytest.raises(TooLarge):
            await peer.transport.call(peer.to, sign(path="/more"), deadline=peer.soon())
        with pytest.raises(TooLarge):
            async with peer.transport.stream(peer.to, sign(path="/more"), deadline=peer.soon()):
                pytest.fail("an answer too large was taken")
        larger = largest._replace(body=bytes(MAX_REQUEST_BYTES + 1))
        refused = await peer.transport.call(peer.to, larger, deadline=peer.soon())
        assert refused.status == 413
        assert b'"code":"too_large"' in refused.body


async def test_what_a_handler_raises_is_an_answer(
    connect: Connect, sign: Sign, caplog: pytest.LogCaptureFixture
) -> None:
    errors = {"/busy": Busy("later"), "/halted": ModelHalted("order 7 halts it", b"order"), "/bug": KeyError("secret")}

    async def handle(r: SignedRequest) -> Response:
        raise errors[r.path]

    async with connect(handle) as peer:
        answers = {p: await peer.transport.call(peer.to, sign(path=p), deadline=peer.soon()) for p in errors}
    assert [a.status for a in answers.values()] == [429, 451, 500]
    assert dict(answers["/halted"].headers)["x-should-retry"] == "false"
    assert b"secret" not in answers["/bug"].body
    assert "secret" in caplog.text


async def test_a_stream_comes_frame_by_frame(connect: Connect, sign: Sign) -> None:
    """Each frame is read before the next one is made."""
    frames = [data_frame(b"%d" % i) for i in range(5)] + [b": receipt AAAA", data_frame(b"[DONE]")]
    read = [anyio.Event() for _ in frames]

    async def handle(_: SignedRequest) -> StreamReply:
        async def pump(send: SendFrame) -> None:
            for frame, event in zip(frames, read, strict=True):
                await send(frame)
                await event.wait()

        return StreamReply(200, (("x-a", "b"),), pump)

    got: list[bytes] = []
    async with connect(handle) as peer, peer.transport.stream(peer.to, sign(), deadline=peer.soon()) as incoming:
        told = dict(incoming.headers)
        assert (incoming.status, told["x-a"], told["content-type"]) == (200, "b", "text/event-stream")
        async for frame in incoming.frames:
            read[len(got)].set()
            got.append(frame)
    assert got == frames


async def test_a_whole_answer_of_a_stream(connect: Connect, sign: Sign) -> None:
    async def handle(_: SignedRequest) -> StreamReply:
        async def pump(send: SendFrame) -> None:
            await send(b"data: a")
            await send(b": b")

        return StreamReply(200, (), pump)

    async with connect(handle) as peer:
        assert (await peer.transport.call(peer.to, sign(), deadline=peer.soon())).body == b"data: a\n\n: b\n\n"


async def test_an_error_instead_of_a_stream(connect: Connect, sign: Sign) -> None:
    async def handle(_: SignedRequest) -> StreamReply:
        raise Busy("later")

    async with connect(handle) as peer, peer.transport.stream(peer.to, sign(), deadline=peer.soon()) as incoming:
        assert incoming.status == 429
        (body,) = [f async for f in incoming.frames]
        assert b'"code":"busy"' in body


async def test_a_stream_that_breaks_off_is_no_end(
    connect: Connect, sign: Sign, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(r: SignedRequest) -> StreamReply:
        async def pump(send: SendFrame) -> None:
            await send(b"data: a")
            raise KeyError("the pump failed")

        return StreamReply(200, (), pump)

    got: list[bytes] = []
    async with connect(handle) as peer:
        with pytest.raises(Unreachable):
            await read_stream(peer, sign(), got)
        with pytest.raises(Unreachable):
            await peer.transport.call(peer.to, sign(), deadline=peer.soon())
    assert got == [b"data: a"]
    assert "the pump failed" in caplog.text


async def test_a_frame_that_is_too_large(connect: Connect, sign: Sign) -> None:
    async def handle(_: SignedRequest) -> StreamReply:
        async def pump(send: SendFrame) -> None:
            await send(b"x" * MAX_EVENT_BYTES)
            await send(b"x" * (MAX_EVENT_BYTES + 1))
            await anyio.sleep_forever()

        return StreamReply(200, (), pump)

    got: list[bytes] = []
    async with connect(handle) as peer:
        with pytest.raises(TooLarge):
            await read_stream(peer, sign(), got)
    assert len(got) == 1


@pytest.mark.parametrize("waits", ["for a token", "for the network"])
async def test_a_client_that_leaves_cancels_the_pump(connect: Connect, sign: Sign, waits: str) -> None:
    stopped = anyio.Event()

    async def handle(_: SignedRequest) -> StreamReply:
        async def pump(send: SendFrame) -> None:
            try:
                await send(b"data: first")
                if waits == "for a token":
                    await anyio.sleep_forever()
                while True:
                    await send(b"data: " + b"x" * 1000)
            finally:
                stopped.set()

        return StreamReply(200, (), pump)

    async with connect(handle) as peer:
        async with peer.transport.stream(peer.to, sign(), deadline=peer.soon()) as incoming:
            assert await anext(aiter(incoming.frames)) == b"data: first"
            assert not stopped.is_set()
        with anyio.fail_after(60):
            await stopped.wait()


async def test_a_client_that_stops_waiting_cancels_the_handler(connect: Connect, sign: Sign) -> None:
    asked, stopped = anyio.Event(), anyio.Event()

    async def handle(_: SignedRequest) -> Response:
        asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()
        return Response(200, (), b"")

    async with connect(handle) as peer:
        patience_ms = 50
        while not asked.is_set():  # a slow machine needs longer than that to connect
            with pytest.raises(Unreachable, match="in time"):
                await peer.transport.call(peer.to, sign(), deadline=peer.clock.now() + patience_ms)
            patience_ms *= 2
        with anyio.fail_after(60):
            await stopped.wait()


async def test_what_the_reader_raises_comes_out_as_it_is(connect: Connect, sign: Sign) -> None:
    async def handle(_: SignedRequest) -> StreamReply:
        async def pump(send: SendFrame) -> None:
            while True:
                await send(b"data: x")

        return StreamReply(200, (), pump)

    async with connect(handle) as peer:
        with pytest.raises(BadAnswer, match="mine"):
            async with peer.transport.stream(peer.to, sign(), deadline=peer.soon()):
                raise BadAnswer("mine")
        with anyio.CancelScope() as scope:
            async with peer.transport.stream(peer.to, sign(), deadline=peer.soon()) as incoming:
                scope.cancel()
                async for _ in incoming.frames:
                    await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught


async def test_a_stream_has_a_deadline(connect: Connect, sign: Sign) -> None:
    async def handle(_: SignedRequest) -> StreamReply:
        async def pump(send: SendFrame) -> None:
            await send(b"data: x")
            await anyio.sleep_forever()

        return StreamReply(200, (), pump)

    async with connect(handle) as peer:
        with pytest.raises(Unreachable, match="in time"):
            async with peer.transport.stream(peer.to, sign(), deadline=peer.clock.now() + 300) as incoming:
                assert [f async for f in incoming.frames]


@pytest.mark.parametrize("following", [b"", bytes([2]) * 32])
async def test_another_certificate_is_not_reached(connect: Connect, sign: Sign, following: bytes) -> None:
    asked: list[SignedRequest] = []

    async def handle(r: SignedRequest) -> Response:
        asked.append(r)
        return Response(200, (), b"")

    async with connect(handle) as peer:
        other = Endpoint(peer.to.host, peer.to.port, bytes([1]) * 32, following)
        with pytest.raises(Unreachable, match="another certificate"):
            await peer.transport.call(other, sign(), deadline=peer.soon())
        with pytest.raises(Unreachable, match="another certificate"):
            async with peer.transport.stream(other, sign(), deadline=peer.soon()):
                pytest.fail("reached")
        assert asked == []  # nothing was sent to whom it is not


async def test_the_next_certificate_is_reached(connect: Connect, sign: Sign) -> None:
    async def handle(_: SignedRequest) -> Response:
        return Response(200, (), b"here")

    async with connect(handle) as peer:
        rotated = Endpoint(peer.to.host, peer.to.port, bytes([1]) * 32, CERTIFICATE.fingerprint)
        assert (await peer.transport.call(rotated, sign(), deadline=peer.soon())).body == b"here"


async def test_nobody_there(connect: Connect, sign: Sign) -> None:
    async def handle(_: SignedRequest) -> Response:
        return Response(200, (), b"")

    async with connect(handle) as peer:
        for host in (peer.to.host, "..", "-"):
            nobody = Endpoint(host, 9, CERTIFICATE.fingerprint, b"")
            with pytest.raises(Unreachable):
                await peer.transport.call(nobody, sign(), deadline=peer.soon())
            with pytest.raises(Unreachable):
                async with peer.transport.stream(nobody, sign(), deadline=peer.soon()):
                    pytest.fail("reached")


async def test_a_past_deadline(connect: Connect, sign: Sign) -> None:
    async def handle(_: SignedRequest) -> Response:
        await anyio.lowlevel.checkpoint()
        return Response(200, (), b"")

    async with connect(handle) as peer:
        with pytest.raises(Unreachable):
            await peer.transport.call(peer.to, sign(), deadline=0)
