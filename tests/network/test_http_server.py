"""The front door under bad clients: too large, too slow, not HTTP, too many; and what the machine refuses."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from davy.network.certificate import CertificateFiles, make_certificate
from davy.network.http_client import HttpTransport
from davy.network.http_server import ServerLimits, serve
from davy.protocol.errors import Misconfigured, TooLarge, Unreachable
from davy.protocol.limits import MAX_HEADER_BYTES, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES
from davy.protocol.ports import Response, SendFrame, SignedRequest, StreamReply
from davy.protocol.transaction import Endpoint
from tests.network.conftest import Answering, Sign
from tests.twins import LoopClock

pytestmark = pytest.mark.anyio
CERTIFICATE = make_certificate(bytes(32))
HOST = "127.0.0.1"
HUNG = 60
"""Seconds after which a connection that a limit should have ended is a failure."""
IMPATIENT = ServerLimits(head=0.1, handshake=0.1)
"""With whoever sends no whole request: anybody else needs longer on a slow machine."""


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    files = CertificateFiles(tmp_path / "certificate.pem", tmp_path / "key.pem")
    files.certificate.write_bytes(CERTIFICATE.certificate)
    files.key.write_bytes(CERTIFICATE.key)
    return files


async def echo(r: SignedRequest) -> Response:
    return Response(200, (("x-path", r.path), ("x-method", r.method)), r.body)


ECHO = Answering(echo)


async def exchange(port: int, *parts: bytes) -> bytes:
    """Send bytes and read until the server closes; what was lost by a reset is no part of it."""
    reader, writer = await asyncio.open_connection(HOST, port)
    got = b""
    try:
        with anyio.fail_after(HUNG):
            for part in parts:
                writer.write(part)
                await writer.drain()
            while data := await reader.read(65_536):
                got += data
    except ConnectionError:
        pass
    finally:
        writer.close()
    return got


async def test_plain_http_keeps_a_connection() -> None:
    async with serve(ECHO, HOST, 0, None) as port:
        request = b"POST /a?b HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"
        got = await exchange(port, request, request.replace(b"host: x", b"connection: close"))
    assert got.count(b"HTTP/1.1 200 OK\r\nx-path: /a?b\r\nx-method: POST\r\ncontent-length: 2\r\n") == 2


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\xff" * 99]
)
async def test_what_is_not_http(garbage: bytes) -> None:
    async with serve(ECHO, HOST, 0, None) as port:
        got = await exchange(port, garbage)
        assert got.startswith(b"HTTP/1.1 400 ")
        assert got.endswith(b'"param":null,"code":"malformed"}}')
        assert b"200 OK" in await exchange(port, b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")


async def test_headers_too_large_or_too_many() -> None:
    async with serve(ECHO, HOST, 0, None) as port:
        fits = b"GET / HTTP/1.1\r\nx: " + b"y" * (MAX_HEADER_BYTES - 30) + b"\r\nconnection: close\r\n\r\n"
        assert (await exchange(port, fits)).startswith(b"HTTP/1.1 200")
        for fields in (b"x: " + b"y" * MAX_HEADER_BYTES + b"\r\n", b"x: y\r\n" * 65):
            got = await exchange(port, b"GET / HTTP/1.1\r\n" + fields + b"\r\n")
            assert got.startswith(b"HTTP/1.1 413")
            assert b"connection: close" in got


async def test_a_header_without_end_is_cut_off() -> None:
    """By its size: time is not what ends it here."""
    async with serve(ECHO, HOST, 0, None, limits=ServerLimits(head=3_600)) as port:
        assert await exchange(port, b"GET / HTTP/1.1\r\nx: ", *[b"y" * 65_536] * 20) == b""


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_too_large_is_refused_unread(chunked: bool) -> None:
    body = b"x" * (MAX_REQUEST_BYTES + 1)
    framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % len(body)
    if chunked:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    async with serve(ECHO, HOST, 0, None) as port:
        got = await exchange(port, b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n" + body)
    assert got.startswith(b"HTTP/1.1 413")


async def test_endless_trailers_are_cut_off() -> None:
    """Refused as too many header fields, or cut off, as the pieces happen to arrive; never read to an end."""
    async with serve(ECHO, HOST, 0, None) as port:
        head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
        got = await exchange(port, head, *[b"x: " + b"y" * 60_000 + b"\r\n"] * 20, b"\r\n")
    assert b"HTTP/1.1 200" not in got


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nx: y\r\n", b"\r\n"])
async def test_a_slow_head_loses_the_connection(sent: bytes) -> None:
    async with serve(ECHO, HOST, 0, None, limits=IMPATIENT) as port:
        assert await exchange(port, sent) == b""


async def test_a_slow_head_on_a_used_connection() -> None:
    async with serve(ECHO, HOST, 0, None, limits=ServerLimits(head=2, idle=3_600)) as port:
        got = await exchange(port, b"GET / HTTP/1.1\r\n\r\n", b"GET /second HT")
    assert got.count(b"HTTP/1.1 200") == 1


async def test_a_slow_head_after_an_answer_was_read() -> None:
    async with serve(ECHO, HOST, 0, None, limits=ServerLimits(head=2, idle=3_600)) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi")
        assert (await reader.readuntil(b"\r\n\r\nhi")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /second HT")
        with anyio.fail_after(HUNG):
            assert await reader.read() == b""
        writer.close()


async def test_an_idle_connection_ends() -> None:
    async with serve(ECHO, HOST, 0, None, limits=ServerLimits(head=3_600, idle=1)) as port:
        assert (await exchange(port, b"GET / HTTP/1.1\r\n\r\n")).count(b"HTTP/1.1 200") == 1


async def test_a_slow_body_is_told_so() -> None:
    async with serve(ECHO, HOST, 0, None, limits=ServerLimits(body=0.1)) as port:
        got = await exchange(port, b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc")
    assert got.startswith(b"HTTP/1.1 408")


async def test_a_client_that_does_not_read_is_let_go() -> None:
    stopped = asyncio.Event()

    async def handle(_: SignedRequest) -> StreamReply:
        async def pump(send: SendFrame) -> None:
            try:
                while True:
                    await send(b"x" * 60_000)
            finally:
                stopped.set()

        return StreamReply(200, (), pump)

    async with serve(Answering(handle), HOST, 0, None, limits=ServerLimits(write=0.1)) as port:
        _, writer = await asyncio.open_connection(HOST, port, limit=1)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with anyio.fail_after(HUNG):
            await stopped.wait()
        writer.close()


async def test_a_slow_handshake_loses_the_connection(files: CertificateFiles) -> None:
    async with serve(ECHO, HOST, 0, files, limits=IMPATIENT) as port:
        assert await exchange(port, b"\x16\x03\x01") == b""


async def test_no_tls_below_1_3(files: CertificateFiles) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with serve(ECHO, HOST, 0, files) as port:
        _, writer = await asyncio.open_connection(HOST, port, ssl=context)
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.close()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.open_connection(HOST, port, ssl=context)


async def test_more_connections_than_allowed_are_closed() -> None:
    async with serve(ECHO, HOST, 0, None, limits=ServerLimits(connections=2)) as port, AsyncExitStack() as stack:
        for _ in range(2):
            _, writer = await asyncio.open_connection(HOST, port)
            stack.callback(writer.close)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0)
        assert await exchange(port, b"GET / HTTP/1.1\r\n\r\n") == b""


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serve(ECHO, HOST, 0, None) as port:
        requests = [b"GET /%d HTTP/1.1\r\n\r\n" % i for i in range(2)] + [
            b"GET /2 HTTP/1.1\r\nconnection: close\r\n\r\n"
        ]
        got = await exchange(port, b"".join(requests))
    places = [got.index(b"x-path: /%d" % i) for i in range(3)]
    assert places == sorted(places)


async def test_a_header_that_cannot_be_sent_ends_in_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(_: SignedRequest) -> Response:
        return Response(200, (("x", "a\r\nset-cookie: b"),), b"")

    async with serve(Answering(handle), HOST, 0, None) as port:
        assert b"set-cookie" not in await exchange(port, b"GET / HTTP/1.1\r\n\r\n")
    assert "could not be sent" in caplog.text


async def test_a_busy_port() -> None:
    async with serve(ECHO, HOST, 0, None) as port:
        with pytest.raises(Misconfigured, match=f"cannot listen on {HOST}:{port} .*choose another"):
            async with serve(ECHO, HOST, port, None):
                pytest.fail("two servers on one port")


@pytest.mark.parametrize(
    ("host", "port"), [("192.0.2.1", 0), ("no such host", 0), ("a" * 300, 0), ("", 0), (HOST, 70_000)]
)
async def test_an_address_that_is_not_ours(host: str, port: int) -> None:
    with pytest.raises(Misconfigured, match="cannot listen"):
        async with serve(ECHO, host, port, None):
            pytest.fail("listens")


async def test_files_that_are_no_certificate(files: CertificateFiles) -> None:
    files.key.write_bytes(make_certificate(bytes([1]) * 32).key)
    for bad in (files, CertificateFiles(files.key, files.key), CertificateFiles(files.certificate, files.key / "x")):
        with pytest.raises(Misconfigured, match="delete both for a new pair"):
            async with serve(ECHO, HOST, 0, bad):
                pytest.fail("serves")


async def test_stopping_lets_requests_finish_and_streams_go() -> None:
    """What can finish in time does; what cannot is cancelled; the port is free again."""
    started, streams, finished, cancelled = anyio.Event(), anyio.Event(), anyio.Event(), anyio.Event()

    async def handle(r: SignedRequest) -> Response | StreamReply:
        if r.path == "/short":
            started.set()
            await anyio.sleep(0.05)
            finished.set()
            return Response(200, (), b"done")

        async def pump(send: SendFrame) -> None:
            try:
                await send(b"data: x")
                streams.set()
                await anyio.sleep_forever()
            finally:
                cancelled.set()

        return StreamReply(200, (), pump)

    got: list[bytes] = []
    port = 0

    async def ask(port: int, path: bytes) -> None:
        got.append(await exchange(port, b"GET " + path + b" HTTP/1.1\r\n\r\n"))

    async with anyio.create_task_group() as tasks:
        async with serve(Answering(handle), HOST, 0, None, limits=ServerLimits(farewell=2)) as port:
            tasks.start_soon(ask, port, b"/long")
            await streams.wait()
            tasks.start_soon(ask, port, b"/short")
            await started.wait()
        assert finished.is_set()
        assert cancelled.is_set()
    assert sorted(g.endswith(b"done") for g in got) == [False, True]
    async with serve(ECHO, HOST, port, None) as again:
        assert again == port


class Relay:
    """Passes bytes on to a port and counts who came."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.accepted = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        far_reader, far_writer = await asyncio.open_connection(HOST, self._port)

        async def pass_on(a: asyncio.StreamReader, b: asyncio.StreamWriter) -> None:
            while data := await a.read(65_536):
                b.write(data)
            b.close()

        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer), return_exceptions=True)


async def test_connections_are_kept(files: CertificateFiles, sign: Sign) -> None:
    """200 requests, 16 at a time: 16 connections at most, and none more for 200 more."""
    clock = LoopClock()
    async with serve(ECHO, HOST, 0, files) as port:
        relay = Relay(port)
        async with await asyncio.start_server(relay, HOST, 0) as listener, HttpTransport(clock) as transport:
            slots = anyio.CapacityLimiter(16)

            async def ask(to: Endpoint) -> None:
                async with slots:
                    answer = await transport.call(to, sign(), deadline=clock.now() + 30_000)
                    assert answer.status == 200

            for _ in range(2):
                async with anyio.create_task_group() as tasks:
                    for _ in range(200):
                        # a new record each time, as the metagraph gives one each block
                        there = listener.sockets[0].getsockname()[1]
                        tasks.start_soon(ask, Endpoint(HOST, there, CERTIFICATE.fingerprint, b""))
                assert 1 <= relay.accepted <= 16


async def test_a_stream_whose_end_is_not_marked_is_not_taken(files: CertificateFiles, sign: Sign) -> None:
    """A peer that ends a stream by closing: a cut could not be told from the end."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: x\n\n")
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    clock = LoopClock()
    async with await asyncio.start_server(answer, HOST, 0, ssl=context) as listener, HttpTransport(clock) as transport:
        to = Endpoint(HOST, listener.sockets[0].getsockname()[1], CERTIFICATE.fingerprint, b"")
        async with transport.stream(to, sign(), deadline=clock.now() + 10_000) as incoming:
            with pytest.raises(Unreachable, match="does not mark the end"):
                await anext(aiter(incoming.frames))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_a_peer_that_answers_nonsense_is_unreachable(files: CertificateFiles, sign: Sign, answer: bytes) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    clock = LoopClock()
    async with await asyncio.start_server(nonsense, HOST, 0, ssl=context) as listener, HttpTransport(clock) as t:
        to = Endpoint(HOST, listener.sockets[0].getsockname()[1], CERTIFICATE.fingerprint, b"")
        with pytest.raises(Unreachable):
            await t.call(to, sign(), deadline=clock.now() + 10_000)


@asynccontextmanager
async def raw_peer(files: CertificateFiles, answer: bytes) -> AsyncGenerator[tuple[HttpTransport, Endpoint, LoopClock]]:
    """A peer that sends these bytes after a request's head, and then keeps the connection open."""

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await reader.read()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    clock = LoopClock()
    async with await asyncio.start_server(send, HOST, 0, ssl=context) as listener:
        to = Endpoint(HOST, listener.sockets[0].getsockname()[1], CERTIFICATE.fingerprint, b"")
        async with HttpTransport(clock) as transport:
            yield transport, to, clock


async def test_an_answer_announced_too_large_is_not_waited_for(files: CertificateFiles, sign: Sign) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (MAX_RESPONSE_BYTES + 1)
    async with raw_peer(files, head) as (transport, to, clock):
        with pytest.raises(TooLarge):
            await transport.call(to, sign(), deadline=clock.now() + 20_000)


async def test_an_answer_that_grows_too_large(files: CertificateFiles, sign: Sign) -> None:
    size = MAX_RESPONSE_BYTES + 1
    chunk = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n" % (size + 1) + bytes(size)
    async with raw_peer(files, chunk) as (transport, to, clock):
        with pytest.raises(TooLarge):
            await transport.call(to, sign(), deadline=clock.now() + 20_000)


async def test_a_stream_that_ends_within_a_frame(files: CertificateFiles, sign: Sign) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    async with (
        raw_peer(files, head + b"10\r\ndata: a\n\ndata: b\r\n0\r\n\r\n") as (transport, to, clock),
        transport.stream(to, sign(), deadline=clock.now() + 20_000) as incoming,
    ):
        frames = aiter(incoming.frames)
        assert await anext(frames) == b"data: a"
        with pytest.raises(Unreachable, match="broke off"):
            await anext(frames)


async def test_a_redirect_is_an_answer_and_not_followed(files: CertificateFiles, sign: Sign) -> None:
    async def handle(_: SignedRequest) -> Response:
        return Response(307, (("location", "/elsewhere"),), b"")

    clock = LoopClock()
    async with serve(Answering(handle), HOST, 0, files) as port, HttpTransport(clock) as transport:
        to = Endpoint(HOST, port, CERTIFICATE.fingerprint, b"")
        assert (await transport.call(to, sign(), deadline=clock.now() + 10_000)).status == 307
