"""The owner's socket: real ones, and whatever else connects to it."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest

from davy.keyholders.circle import Circle, Holder
from davy.keyholders.control import controlled, decide, pending
from davy.keyholders.desk import Desk, Matter
from davy.protocol.errors import Malformed, Misconfigured, Unreachable
from davy.protocol.transaction import Endpoint
from tests.twins import SetClock

pytestmark = pytest.mark.anyio
KEY = b"\1" * 32
CIRCLE = Circle((Holder("bob", Endpoint("host", 1, bytes(32), b""), KEY),))


async def no_sheets(sheet: str) -> str | None:
    raise Malformed(f"no sheet: {sheet}")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Without virtual time: sockets are real."""
    return request.param


@pytest.fixture
def path() -> Iterator[Path]:
    with TemporaryDirectory() as folder:  # short enough for a socket
        yield Path(folder) / "control"


@pytest.fixture
def desk() -> Desk:
    desk = Desk(SetClock(0))
    for n in (1, 2):
        desk.put(Matter(bytes([n]) * 32, "halt", f"screen {n}", KEY, 1_000))
    return desk


async def test_the_owner_sees_and_decides(path: Path, desk: Desk) -> None:
    async with controlled(path, desk, [CIRCLE], no_sheets):
        assert stat.S_IMODE((await anyio.Path(path).stat()).st_mode) == 0o600
        seen = await pending(path)
        assert [(m.id, m.kind, m.sender, m.screen) for m in seen] == [
            ("01" * 32, "halt", "bob", "screen 1"),
            ("02" * 32, "halt", "bob", "screen 2"),
        ]
        assert (await decide(path, "01010101", yes=True)).screen == "screen 1"
        assert (await decide(path, "02" * 32, yes=False)).screen == "screen 2"
        assert await pending(path) == []
        for wrong in ("01010101", "02", "zz", "é"):
            with pytest.raises(Malformed):
                await decide(path, wrong, yes=True)
    assert (desk.find(b"\1" * 32).decision, desk.find(b"\2" * 32).decision) == (True, False)
    with pytest.raises(Unreachable, match="davy keyholder serve"):
        await pending(path)


async def test_who_waits_is_told_when_something_comes(path: Path) -> None:
    desk = Desk(SetClock(0))
    async with controlled(path, desk, [CIRCLE], no_sheets), anyio.create_task_group() as tasks:

        async def later() -> None:
            await anyio.sleep(0.3)
            desk.put(Matter(b"\3" * 32, "halt", "screen 3", KEY, 1_000))

        assert await pending(path, patience=0.2) == []
        tasks.start_soon(later)
        assert [m.screen for m in await pending(path, patience=60)] == ["screen 3"]


async def test_what_a_killed_process_left_is_replaced(path: Path, desk: Desk) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with controlled(path, desk, [CIRCLE], no_sheets):
        assert len(await pending(path)) == 2


@pytest.mark.parametrize(
    "sent", [b"", b"\n", b"x" * 5_000, b'{"do":"burn"}\n', b'{"do":"sign","id":5}\n', b"[" * 900 + b"\n", b"\xff\xfe\n"]
)
async def test_junk_decides_nothing_and_stops_nothing(path: Path, desk: Desk, sent: bytes) -> None:
    async with controlled(path, desk, [CIRCLE], no_sheets):
        async with await anyio.connect_unix(path) as stream:
            await stream.send(sent or b" ")
        assert len(await pending(path)) == 2


async def test_a_path_too_long_for_a_socket_is_said(tmp_path: Path, desk: Desk) -> None:
    long = tmp_path / ("x" * 100) / "control"
    with pytest.raises(Misconfigured, match="too long"):
        async with controlled(long, desk, [CIRCLE], no_sheets):
            raise AssertionError
