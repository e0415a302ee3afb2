"""What `put` returned from survives kill -9; what the disk refuses leaves the old value."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from davy.host.store import SqliteStore
from davy.protocol.errors import Misconfigured, StoreFailed
from davy.protocol.limits import MAX_STORED_BYTES

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


async def test_values_come_back_after_a_reopening(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path) as store:
        assert await store.get(b"k") is None
        await store.put(b"k", b"one")
        await store.put(b"k", b"two")
        await store.put(b"\x00\xff", b"")
    with SqliteStore(path) as store:
        assert await store.get(b"k") == b"two"
        assert await store.get(b"\x00\xff") == b""
    assert path.stat().st_mode & 0o777 == 0o600


async def test_the_file_flushes_before_a_put_returns(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db") as store:
        asked = [store._db.execute(f"PRAGMA {p}").fetchone()[0] for p in ("synchronous", "journal_mode")]
    assert asked == [2, "wal"]


async def test_too_long_is_refused_not_cut(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db") as store:
        for key, value in [(b"", b"v"), (b"k" * 257, b"v"), (b"k", bytes(MAX_STORED_BYTES + 1))]:
            with pytest.raises(StoreFailed):
                await store.put(key, value)


async def test_a_file_that_is_no_store_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(Misconfigured, match=r"store\.db as a store .*restore a backup"):
        SqliteStore(path)
    with pytest.raises(Misconfigured, match="choose a home"):
        SqliteStore(tmp_path / "nowhere" / "store.db")


WRITER = """
import sys, anyio
from pathlib import Path
from davy.host.store import SqliteStore
async def main():
    store = SqliteStore(Path(sys.argv[1]))
    n = 0
    while True:
        n += 1
        await store.put(b"n", n.to_bytes(8, "big"))
        print(n, flush=True)
anyio.run(main)
"""


async def test_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for lines in (1, 7, 40):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:  # noqa: ASYNC220
            assert writer.stdout is not None
            seen = [writer.stdout.readline() for _ in range(lines)]
            writer.send_signal(signal.SIGKILL)
            seen += writer.stdout.readlines()
        with SqliteStore(path) as store:
            value = await store.get(b"n")
        assert value is not None
        assert int.from_bytes(value, "big") >= int(seen[-1])


FULL = """
import resource, sys, anyio
from pathlib import Path
from davy.host.store import SqliteStore
from davy.protocol.errors import StoreFailed
async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.put(b"k", b"old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (128 * 1024, resource.RLIM_INFINITY))
    try:
        await store.put(b"k", bytes(1024 * 1024))
    except StoreFailed as e:
        print(e)
    assert await store.get(b"k") == b"old"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.put(b"later", b"new")
anyio.run(main)
"""


async def test_a_full_disk_leaves_the_old_value(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    ran = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True)  # noqa: ASYNC221
    assert ran.returncode == 0, ran.stderr
    assert "did not take a value" in ran.stdout
    assert "free disk space" in ran.stdout
    with SqliteStore(path) as store:
        assert await store.get(b"k") == b"old"
        assert await store.get(b"later") == b"new"


@pytest.mark.parametrize(
    ("name", "advice", "never"),
    [("SQLITE_FULL", "free disk space", "move it away"), ("SQLITE_NOTADB", "move it away", "free disk space")],
)
def test_a_store_that_cannot_be_opened_is_not_given_up_for_a_full_disk(
    name: str, advice: str, never: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it holds, halts among it, would be lost with a file that is moved away."""

    class Failing:
        def execute(self, _: str) -> None:
            e = sqlite3.OperationalError("as told")
            e.sqlite_errorcode = getattr(sqlite3, name)
            raise e

    def failing(*_: object, **__: object) -> Failing:
        return Failing()

    monkeypatch.setattr(sqlite3, "connect", failing)
    with pytest.raises(Misconfigured) as raised:
        SqliteStore(tmp_path / "store.db")
    assert advice in str(raised.value)
    assert never not in str(raised.value)
