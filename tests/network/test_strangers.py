"""What strangers write down as their address leads nowhere within, and their names hold up nobody else's."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from davy.network import strangers
from davy.network.certificate import CertificateFiles, make_certificate
from davy.network.http_client import HttpTransport
from davy.network.http_server import serve
from davy.network.room import Room
from davy.network.strangers import Strangers, Within, lies_within
from davy.protocol.errors import Unreachable
from davy.protocol.ports import Response, SignedRequest
from davy.protocol.transaction import Endpoint
from tests.network.conftest import Answering
from tests.twins import WallClock

pytestmark = pytest.mark.anyio

MACHINE = ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
WITHIN = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"]
NOWHERE = ["0.0.0.0", "::", "169.254.169.254", "fe80::1", "fe80::1%1", "224.0.0.1", "ff02::1", "::ffff:169.254.169.254"]
NOWHERE.append("64:ff9b::a9fe:a9fe")
OUTSIDE = ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("host", [*MACHINE, *WITHIN, *NOWHERE, *OUTSIDE])
def test_which_addresses_are_asked(host: str) -> None:
    assert Strangers().admits(host) == (host in OUTSIDE)
    assert Strangers(within=Within.MACHINE).admits(host) == (host in OUTSIDE or host in MACHINE)
    assert Strangers(within=Within.PRIVATE).admits(host) == (host not in NOWHERE)


@contextmanager
def looked_up(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[str]]) -> Iterator[list[str]]:
    """Names resolve to these; those without an answer never do, until the end."""
    asked: list[str] = []
    over = threading.Event()

    def getaddrinfo(host: str, port: int | None, *_: Any, **how: Any) -> list[Any]:
        asked.append(host)
        if host not in answers:
            over.wait()
        return [
            (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port))
            for a in answers.get(host, [])
        ]

    with monkeypatch.context() as patch:
        patch.setattr(strangers.socket, "getaddrinfo", getaddrinfo)
        try:
            yield asked
        finally:
            over.set()


async def test_a_name_leads_nowhere_within(monkeypatch: pytest.MonkeyPatch) -> None:
    more: dict[str, list[str]] = {"here": ["127.0.0.1", "::1"], "none": []}
    with looked_up(
        monkeypatch, {"in": ["10.0.0.1", "::1"], "both": ["10.0.0.1", "1.1.1.1"], "out": ["1.1.1.1"]} | more
    ):
        assert [r["host"] for r in await Strangers().resolve("both", 7)] == ["1.1.1.1"]
        assert [(r["host"], r["port"]) for r in await Strangers().resolve("out", 7)] == [("1.1.1.1", 7)]
        with pytest.raises(OSError, match="private network"):
            await Strangers().resolve("in", 7)
        assert len(await Strangers(within=Within.PRIVATE).resolve("in", 7)) == 2
        places = ("in", "both", "out", "here", "none", "10.0.0.1", "1.1.1.1", "127.0.0.1", "64:ff9b::a00:1")
        assert [await lies_within(host) for host in places] == [
            Within.PRIVATE,
            Within.NOTHING,
            Within.NOTHING,
            Within.MACHINE,
            Within.NOTHING,
            Within.PRIVATE,
            Within.NOTHING,
            Within.MACHINE,
            Within.PRIVATE,
        ]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_transport_to_strangers_asks_no_name_of_this_machine(host: str, tmp_path: Path) -> None:
    certificate = make_certificate(bytes(32))
    files = CertificateFiles(tmp_path / "certificate", tmp_path / "key")
    files.certificate.write_bytes(certificate.certificate)
    files.key.write_bytes(certificate.key)
    heard: list[str] = []

    async def hear(r: SignedRequest) -> Response:
        heard.append(r.path)
        return Response(200, (), b"")

    clock, names = WallClock(), Strangers()
    async with (
        serve(Answering(hear), "127.0.0.1", 0, files) as port,
        HttpTransport(clock, pinned=False, resolver=names) as transport,
    ):

        async def call() -> Response:
            to = Endpoint(host, port, bytes(32), b"")
            return await transport.call(to, SignedRequest("GET", "/", (), b""), deadline=clock.now() + 20_000)

        if host == "localhost":
            with pytest.raises(Unreachable):
                await call()
            assert heard == []
        names.within = Within.MACHINE
        assert (await call()).status == 200


async def test_names_that_are_never_found_hold_up_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """They fill the threads of strangers; what the machine itself looks up has others."""
    names = Strangers(within=Within.PRIVATE)
    with looked_up(monkeypatch, {"other": ["10.0.0.1"]}):
        async with anyio.create_task_group() as tasks:
            for n in range(100):
                tasks.start_soon(names.resolve, f"slow{n}", 7)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(60):
                assert await lies_within("other")
            tasks.cancel_scope.cancel()


async def test_a_name_with_many_addresses_opens_one_connection_of_each_family(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [f"1.1.1.{n}" for n in range(1, 50)] + [f"2606:4700::{n}" for n in range(1, 50)]
    with looked_up(monkeypatch, {"many": many}):
        found = await Strangers().resolve("many", 7)
        assert {r["host"] for r in found} == {"1.1.1.1", "2606:4700::1"}
        assert len(found) == 2
        found = await Strangers().resolve("many", 7, socket.AF_INET)
        assert [r["host"] for r in found] == ["1.1.1.1"]


async def test_of_names_that_are_never_found_no_more_are_looked_up_at_a_time_also_when_nobody_waits_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room(3)
    with looked_up(monkeypatch, {}) as asked:
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                for n in range(5):
                    tasks.start_soon(Strangers(look_ups=room).find, f"slow{n}")
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
        with anyio.move_on_after(0.05):
            await room.take((0, 0))
        assert len(asked) == 3
    with anyio.fail_after(60):
        await room.take((0, 0))


def test_a_process_ends_though_a_name_is_never_found() -> None:
    script = """
import socket, threading, anyio
from davy.network.strangers import Strangers
def never(*_, **how):
    threading.Event().wait()
socket.getaddrinfo = never
async def main():
    with anyio.move_on_after(0.1):
        await Strangers().find("slow")
anyio.run(main)
print("over")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "over\n"


async def test_connections_to_many_who_are_asked_once_are_closed_at_once() -> None:
    """Else thousands of them, kept for later, would leave no file for the address book."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert await reader.read() == b""
        ended.set()
        writer.close()

    clock = WallClock()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        plain = {("127.0.0.1", port)}
        async with HttpTransport(clock, pinned=False, plain=plain, keeps_alive=False) as transport:
            to = Endpoint("127.0.0.1", port, bytes(32), b"")
            request = SignedRequest("GET", "/", (), b"")
            assert (await transport.call(to, request, deadline=clock.now() + 20_000)).status == 200
            with anyio.fail_after(60):
                await ended.wait()
