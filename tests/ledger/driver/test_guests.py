"""Who may be connected to a ledger: not everybody at once, and nobody who reads nothing."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from aiohttp import web

from davy.host.open_files import allow_many_open_files
from davy.ledger.driver import guests as doors
from davy.ledger.driver import server
from davy.ledger.driver.guests import Guests, room

pytestmark = pytest.mark.anyio
LARGE = 32 * 1024 * 1024


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return "asyncio", {"use_uvloop": request.param}


class Visitor:
    """A connection that speaks HTTP when it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def asks(self, path: str = "hello") -> bytes:
        """The answer, without its head; empty: it was hung up on."""
        try:
            self.writer.write(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await self.reader.readuntil(b"\r\n\r\n")
            return await self.reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
        except (OSError, asyncio.IncompleteReadError):
            return b""

    def leaves(self) -> None:
        self.writer.transport.abort()


class Door:
    def __init__(self, url: str, guests: Guests, stack: AsyncExitStack) -> None:
        self.host, port = url.removeprefix("http://").rsplit(":", 1)
        self.port, self.guests, self._stack = int(port), guests, stack

    async def visitor(self) -> Visitor:
        visitor = Visitor(*await asyncio.open_connection(self.host, self.port))
        self._stack.callback(visitor.leaves)
        return visitor


@asynccontextmanager
async def door(monkeypatch: pytest.MonkeyPatch, places: int) -> AsyncIterator[Door]:
    made: list[Guests] = []

    def kept(*told: Any) -> Guests:
        made.append(Guests(*told))
        return made[0]

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=bytes(LARGE) if request.path == "/large" else b"hello")

    monkeypatch.setattr(server, "Guests", kept)
    app = web.Application()
    app.router.add_get("/{path}", answer)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(server.listening(app, "127.0.0.1", 0, places=places))
        with anyio.fail_after(60):
            yield Door(url, made[0], stack)


async def test_who_comes_when_there_is_no_room_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with door(monkeypatch, 8) as d:
        inside = [await d.visitor() for _ in range(8)]  # of this machine, where a proxy may stand: no quarter
        assert [await v.asks() for v in inside] == [b"hello"] * 8
        assert await (await d.visitor()).asks() == b""
        inside[3].leaves()
        while not (said := await (await d.visitor()).asks()):  # noqa: ASYNC110
            await anyio.sleep(0.01)
        assert said == b"hello"
        assert [await v.asks() for v in inside[4:]] == [b"hello"] * 4


async def test_one_address_gets_a_quarter_of_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    origins = iter(["here"] * 3 + ["there"] * 2)
    monkeypatch.setattr(doors, "origin", lambda _: next(origins))
    async with door(monkeypatch, 8) as d:
        said = [await (await d.visitor()).asks() for _ in range(5)]
    assert said == [b"hello", b"hello", b"", b"hello", b"hello"]


async def test_half_a_request_takes_a_place_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with door(monkeypatch, 2) as d:
        for visitor in [await d.visitor() for _ in range(2)]:
            visitor.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n")
            await visitor.writer.drain()
        assert await (await d.visitor()).asks() == b""
        assert len(d.guests._present()) == 2


async def test_who_does_not_read_its_answer_is_hung_up_on_and_who_reads_slowly_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with door(monkeypatch, 8) as d:
        deaf, slow = await d.visitor(), await d.visitor()
        for visitor in (deaf, slow):
            visitor.writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await slow.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        port = slow.writer.get_extra_info("sockname")[1]
        (its,) = [
            g.transport for g in d.guests._present().values() if g.transport.get_extra_info("peername")[1] == port
        ]
        read = 0
        while len(d.guests._present()) == 2:
            waiting = its.get_write_buffer_size()
            while its.get_write_buffer_size() == waiting:
                read += len(await slow.reader.readexactly(64 * 1024))
            d.guests.drop_idle_readers()
        await slow.reader.readexactly(LARGE - read)
        assert await slow.asks() == b"hello"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.9", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("2001:db8:0:1:2::3", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a socket", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_an_address_is_what_one_has_to_oneself(host: str | None, origin: str) -> None:
    assert doors.origin(host) == origin


def test_half_of_the_files_stay_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, places in ((256, 128), (1_024, 512), (1 << 20, 2_000), (resource.RLIM_INFINITY, 2_000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, resource.RLIM_INFINITY))
        assert room() == places


@pytest.mark.parametrize(
    ("soft", "hard", "after"),
    [
        (1_024, 4_096, (4_096, 4_096)),
        (1_024, resource.RLIM_INFINITY, (65_536, resource.RLIM_INFINITY)),
        (1_024, 1_024, None),
        (100_000, 200_000, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None),
    ],
)
def test_more_files_are_allowed_and_never_fewer(
    soft: int, hard: int, after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: said.append(both))
    allow_many_open_files()
    assert said == ([after] if after else [])
