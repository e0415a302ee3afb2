"""A client's connections, against servers that say what they should not, byte by byte."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Pong, Request, TextMessage

from davy.ledger.client.connections import Address, Connections
from davy.ledger.client.subscription import MAX_EVENT_CHARS
from davy.protocol.errors import Misconfigured, TooLarge

pytestmark = pytest.mark.anyio
Serve = Callable[[SocketStream], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Without virtual time: sockets are real."""
    return request.param


@asynccontextmanager
async def connected(serve: Serve) -> AsyncGenerator[Connections]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    connections = Connections(Address.of(f"http://127.0.0.1:{port}"))

    async def until_it_hangs_up(stream: SocketStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            await serve(stream)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, until_it_hangs_up)
        try:
            with anyio.fail_after(30):
                yield connections
        finally:
            await connections.aclose()
            tasks.cancel_scope.cancel()


async def asked(stream: SocketStream) -> bytes:
    """One whole request; every body here is two bytes long."""
    got = b""
    while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < 2:
        got += await stream.receive()
    return got


async def test_a_connection_is_kept_and_opened_anew_where_it_was_closed() -> None:
    opened = 0

    async def serve(stream: SocketStream) -> None:
        nonlocal opened
        opened += 1
        async with stream:
            for _ in range(2):  # and then it hangs up, without a word
                body = (await asked(stream))[-2:]
                await stream.send(OK + body)

    async with connected(serve) as c:
        assert [await c.post("/", b"%02d" % n, limit=10) for n in range(5)] == [b"00", b"01", b"02", b"03", b"04"]
    assert opened == 3


async def test_the_answer_to_a_call_that_was_given_up_is_nobody_else_s() -> None:
    async def serve(stream: SocketStream) -> None:
        async with stream:
            body = (await asked(stream))[-2:]
            await anyio.sleep(0.5 if body == b"01" else 0)
            await stream.send(OK + body)
            await asked(stream)

    async with connected(serve) as c:
        with anyio.move_on_after(0.1) as scope:
            await c.post("/", b"01", limit=10)
        assert scope.cancelled_caught
        await anyio.sleep(0.6)
        assert await c.post("/", b"02", limit=10) == b"02"


async def test_an_answer_too_many_is_nobody_s() -> None:
    async def serve(stream: SocketStream) -> None:
        async with stream:
            while True:
                body = (await asked(stream))[-2:]
                await stream.send(OK + body + OK + b"XX")

    async with connected(serve) as c:
        assert [await c.post("/", b"%02d" % n, limit=10) for n in range(3)] == [b"00", b"01", b"02"]


async def test_who_hangs_up_in_the_handshake_broke_the_connection_off() -> None:
    async def serve(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()

    async with connected(serve) as c:
        with pytest.raises(ConnectionResetError):
            await Connections(c._to._replace(secure=True)).post("/", b"00", limit=10)


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", ValueError),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000, ValueError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", ValueError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", ConnectionError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffffff\r\n", ValueError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n", TooLarge),
        (b"HTTP/1.1 200 OK\r\n\r\nan answer that ends when it ends", TooLarge),
        (b"", OSError),
    ],
    ids=[
        "no HTTP",
        "a long header",
        "two lengths",
        "half a body",
        "a chunk beyond sense",
        "chunks",
        "no length",
        "nothing",
    ],
)
async def test_what_is_no_answer_is_told_apart(sent: bytes, error: type[Exception]) -> None:
    async def serve(stream: SocketStream) -> None:
        async with stream:
            await asked(stream)
            await stream.send(sent)

    async with connected(serve) as c:
        with pytest.raises(error):
            await c.post("/", b"00", limit=10)


async def test_a_redirect_is_an_answer_like_any_other() -> None:
    seen: list[bytes] = []

    async def serve(stream: SocketStream) -> None:
        async with stream:
            seen.append((await asked(stream)).split(b"\r\n")[0])
            await stream.send(b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\nno")

    async with connected(serve) as c:
        assert await c.post("/", b"00", limit=10) == b"no"
    assert seen == [b"POST / HTTP/1.1"]


async def test_nobody_there_and_no_tls_are_os_errors() -> None:
    async def serve(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(OK + b"ok")

    async with connected(serve) as c:
        secure = Connections(c._to._replace(secure=True))
        with pytest.raises(OSError):  # noqa: PT011 - of either kind, by who is faster
            await secure.post("/", b"00", limit=10)
        there = c._to
    with pytest.raises(OSError, match="connect"):
        await Connections(there).post("/", b"00", limit=10)


@pytest.mark.parametrize(
    "url",
    ["", "http://", "ftp://a", "http://a:0", "http://a:99999", "http://a b", "http://a/?x=1", "http://a/#x", "http://u@a",
     "http://ä", "http://a\r\nx: y", "http://[::1", "http://" + 64 * "a"],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="not an address of a ledger"):
        Address.of(url)


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://127.0.0.1:26657", "127.0.0.1:26657"),
        ("https://ledger.example/rpc/", "ledger.example"),
        ("http://[::1]:80", "[::1]"),
        ("https://[::1]:80", "[::1]:80"),
    ],
)
def test_addresses(url: str, authority: str) -> None:
    assert Address.of(url).authority == authority
    assert Address.of(url).path in ("", "/rpc")


async def told(*events: object) -> list[str | Exception]:
    """What a subscriber hears of a server that sends these events and then looks whether its pings were answered."""
    heard: list[str | Exception] = []
    pongs: list[bytes] = []
    done = anyio.Event()

    async def serve(stream: SocketStream) -> None:
        ws = WSConnection(ConnectionType.SERVER)
        async with stream:
            ws.receive_data(await stream.receive())
            assert [type(e) for e in ws.events()] == [Request]
            await stream.send(ws.send(AcceptConnection()))
            for event in events:
                await stream.send(ws.send(event))  # type: ignore[arg-type]
                if isinstance(event, Ping):
                    while not pongs:
                        ws.receive_data(await stream.receive())
                        pongs.extend(bytes(e.payload) for e in ws.events() if isinstance(e, Pong))
            await done.wait()

    async with connected(serve) as c:
        s = await c.subscription("/websocket", "news, please")
        try:
            while True:
                heard.append(await s.text())
        except (OSError, ValueError) as e:
            heard.append(e)
        finally:
            done.set()
            await s.aclose()
    assert len(pongs) == sum(isinstance(e, Ping) for e in events)
    return heard


async def test_messages_come_whole_and_pings_are_answered() -> None:
    heard = await told(
        TextMessage("a"),
        Ping(b"there?"),
        TextMessage("b", message_finished=False),
        TextMessage("c"),
        CloseConnection(1000),
    )
    assert heard[:-1] == ["a", "bc"]
    assert isinstance(heard[-1], ConnectionResetError)


async def test_a_message_is_bounded_whole_or_in_parts() -> None:
    for parts in (1, 4):
        size = MAX_EVENT_CHARS // parts + 1
        heard = await told(*(TextMessage("x" * size, message_finished=n + 1 == parts) for n in range(parts)))
        assert [type(e) for e in heard] == [ValueError]


async def test_a_message_in_very_many_parts_comes_whole() -> None:
    parts = [TextMessage("é" * (n % 2), message_finished=False) for n in range(4_000)]
    heard = await told(*parts, TextMessage("."), CloseConnection(1000))
    assert heard[0] == "é" * 2_000 + "."


async def test_a_server_without_subscriptions_says_so() -> None:
    async def serve(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async with connected(serve) as c:
        with pytest.raises(ValueError, match="404"):
            await c.subscription("/websocket", "news, please")
