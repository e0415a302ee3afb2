"""A reopened ledger is the one that was closed; a torn, swapped or foreign file is refused in words."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.embedded import Producer
from davy.ledger.headers import Authority, open_header
from davy.ledger.rules.machine import Machine
from davy.protocol.errors import Misconfigured, StoreFailed
from davy.protocol.genesis import Genesis

pytestmark = pytest.mark.anyio


async def grow(chain: Any, database: Path, clock: Any, blocks: int = 6) -> None:
    """Make blocks with two transactions each, the last one too."""
    with closing(BlockStore(database)) as store:
        producer = Producer(chain.genesis, store, chain.producer, clock)
        for _ in range(blocks):
            nonce = producer.head.height
            for person in (0, 1):
                producer.submit(chain.tx(person, nonce))
            await producer.make_block()


def rows(database: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as db:
        return db.execute(query).fetchall()


async def test_it_goes_on_where_it_was(chain: Any, database: Path, clock: Any) -> None:
    await grow(chain, database, clock, 3)
    await grow(chain, database, clock, 2)
    with closing(BlockStore(database)) as store:
        producer = Producer(chain.genesis, store, chain.producer, clock)
        assert producer.head.height == 5
        assert store.height() == 5
        assert [len(store.txs(h)) for h in range(1, 6)] == [2] * 5


async def test_a_fresh_machine_that_replays_all_blocks_agrees(chain: Any, database: Path, clock: Any) -> None:
    await grow(chain, database, clock)
    with closing(BlockStore(database)) as store:
        machine = Machine.from_genesis(chain.genesis)
        producer = Producer(chain.genesis, store, chain.producer, clock)
        for height, raw, after in store.headers(1, 99):
            header = open_header(raw, Authority.of(chain.genesis)).header
            assert header.app_hash == machine.app_hash
            done = machine.apply_block(height, header.time, [t.raw for t in store.txs(height)])
            assert done.results == tuple(t.result for t in store.txs(height))
            assert machine.app_hash == after
        assert machine.height == producer.head.height == 6
        assert list(machine.rows()) == list(store.state())


async def test_a_file_that_was_begun_and_has_no_block_opens(chain: Any, database: Path, clock: Any) -> None:
    await grow(chain, database, clock, 0)
    await grow(chain, database, clock, 1)
    assert rows(database, "SELECT count(*) FROM blocks") == [(1,)]


async def test_another_chain_s_file_is_refused(chain: Any, database: Path, clock: Any) -> None:
    await grow(chain, database, clock)
    g: Genesis = chain.genesis
    other = Genesis(1, "other", g.time, g.parameters, g.producers, g.allocations, g.subnets, g.keyholders)
    with closing(BlockStore(database)) as store, pytest.raises(Misconfigured, match="belongs to another chain"):
        Producer(other, store, chain.producer, clock)


Damage = Callable[[sqlite3.Connection], object]


def statement(sql: str) -> Damage:
    return lambda db: db.executescript(sql)


def flip(table: str, column: str, where: str, at: int | None = None) -> Damage:
    """Change one bit of a value, in its middle or at byte `at`."""

    def damage(db: sqlite3.Connection) -> None:
        (value,) = db.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()
        changed = bytearray(value)
        changed[len(value) // 2 if at is None else at] ^= 1
        assert db.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (bytes(changed),)).rowcount == 1

    return damage


DAMAGES = {
    "a header's bit": flip("blocks", "header", "height = 3"),
    "the last header's signature": flip("blocks", "header", "height = 6", at=-1),
    "the first block gone": statement("DELETE FROM blocks WHERE height = 1"),
    "a block in the middle gone": statement("DELETE FROM blocks WHERE height = 4"),
    "the last block gone": statement("DELETE FROM blocks WHERE height = 6"),
    "all blocks gone": statement("DELETE FROM blocks"),
    "a block twice": statement("INSERT INTO blocks SELECT 7, header, app_hash FROM blocks WHERE height = 6"),
    "an app hash's bit": flip("blocks", "app_hash", "height = 2"),
    "the last app hash's bit": flip("blocks", "app_hash", "height = 6"),
    "a state row's bit": flip("state", "value", "key = (SELECT max(key) FROM state)"),
    "a state row gone": statement("DELETE FROM state WHERE key = (SELECT min(key) FROM state)"),
    "an account gone": statement(
        "DELETE FROM state WHERE key = (SELECT key FROM state WHERE length(key) = 33 LIMIT 1)"
    ),
    "a state row too many": statement("INSERT INTO state VALUES (x'ff', x'00')"),
    "all state gone": statement("DELETE FROM state"),
    "a transaction's bit": flip("txs", "raw", "position = (SELECT max(position) FROM txs)"),
    "a transaction gone": statement("DELETE FROM txs WHERE position = (SELECT max(position) FROM txs)"),
    "a genesis bit": flip("facts", "value", "name = 'genesis'"),
    "another format": statement("UPDATE facts SET value = x'00' WHERE name = 'format'"),
    "no format": statement("DELETE FROM facts WHERE name = 'format'"),
    "a header that is a number": statement("UPDATE blocks SET header = 7000000000 WHERE height = 3"),
    "the last header a text": statement("UPDATE blocks SET header = 'text' WHERE height = 6"),
    "an app hash that is a number": statement("UPDATE blocks SET app_hash = 1.5 WHERE height = 2"),
    "a state row that is a text": statement("UPDATE state SET value = 'text' WHERE key = (SELECT max(key) FROM state)"),
    "a transaction that is a text": statement(
        "UPDATE txs SET raw = 'text' WHERE position = (SELECT max(position) FROM txs)"
    ),
    "a result that is none": statement("UPDATE txs SET code = x'00' WHERE position = (SELECT max(position) FROM txs)"),
    "a genesis that is a text": statement("UPDATE facts SET value = 'text' WHERE name = 'genesis'"),
    "a text that is none": statement(
        "UPDATE txs SET log = CAST(x'ff' AS TEXT) WHERE position = (SELECT max(position) FROM txs)"
    ),
}


@pytest.fixture
async def grown(chain: Any, database: Path, clock: Any) -> Path:
    await grow(chain, database, clock)
    return database


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_file_is_refused(chain: Any, grown: Path, clock: Any, damage: Damage) -> None:
    with closing(sqlite3.connect(grown)) as db:
        damage(db)
        db.commit()
    with closing(BlockStore(grown)) as store:
        with pytest.raises(Misconfigured, match=r"restore a backup|another chain|another version") as refused:
            Producer(chain.genesis, store, chain.producer, clock)
        assert str(grown) in str(refused.value)
        assert "\n" not in str(refused.value)


async def test_a_file_whose_tables_have_no_readable_names_is_refused(grown: Path) -> None:
    with closing(sqlite3.connect(grown)) as db:
        db.execute("PRAGMA writable_schema=ON")
        db.execute("UPDATE sqlite_master SET sql = CAST(x'ff' AS TEXT), name = CAST(x'fe' AS TEXT) WHERE name = 'txs'")
        db.commit()
    with pytest.raises(Misconfigured, match="restore a backup"):
        BlockStore(grown)


def torn_copies(whole: Path) -> Iterator[Path]:
    """The file with each page cut off with what follows, zeroed, or overwritten."""
    data, path = whole.read_bytes(), whole.with_name("torn.db")
    for n in range(0, len(data), 4096):
        rest = data[n + 4096 :]
        for torn in (data[:n], data[:n] + bytes(4096) + rest, data[:n] + b"\xa5" * 4096 + rest):
            path.write_bytes(torn)
            yield path
            for name in path.parent.glob("torn.db*"):
                name.unlink()


async def test_a_torn_file_is_refused_or_whole(chain: Any, grown: Path, clock: Any) -> None:
    outcomes: list[str] = []
    for torn in torn_copies(grown):
        empty = torn.stat().st_size == 0
        try:
            with closing(BlockStore(torn)) as store:
                height = Producer(chain.genesis, store, chain.producer, clock).head.height
            outcomes.append("begun anew" if empty and height == 0 else f"opened at {height}")
        except (Misconfigured, StoreFailed) as e:
            outcomes.append("refused" if "restore" in str(e) or "another version" in str(e) else str(e))
    assert set(outcomes) <= {"begun anew", "opened at 6", "refused"}
    assert outcomes.count("begun anew") == 1
    assert outcomes.count("refused") > len(outcomes) // 2


FRAME = 24 + 4096
"""Of SQLite's log, whose head has 32 bytes: a page and what stands before it."""


def ends_of_power(log: bytes) -> Iterator[tuple[int, bytes]]:
    """What a disk may hold of a log that was being written: whole up to somewhere, then nothing or garbage."""
    for whole in range(32, len(log) + 1, FRAME):
        for rest in (b"", log[whole : whole + 1000], bytes(FRAME), b"\xa5" * FRAME):
            yield whole, log[:whole] + rest


async def test_a_lost_end_of_the_log_costs_no_block_that_was_acknowledged(
    chain: Any, database: Path, clock: Any, tmp_path: Path
) -> None:
    """Power goes while blocks are on their way to the disk, all of them in SQLite's log yet."""
    log, acknowledged = database.with_name(database.name + "-wal"), list[int]()
    with closing(BlockStore(database)) as store:
        producer = Producer(chain.genesis, store, chain.producer, clock)
        for nonce in range(4):
            producer.submit(chain.tx(0, nonce))
            await producer.make_block()
            acknowledged.append(log.stat().st_size)
        main, written = database.read_bytes(), log.read_bytes()  # noqa: ASYNC240  # a small file, and nothing else runs
    assert acknowledged == sorted(set(acknowledged))
    found = list[tuple[int, int]]()
    for n, (whole, left) in enumerate(ends_of_power(written)):
        place = tmp_path / f"{n}.db"
        place.write_bytes(main)
        place.with_name(place.name + "-wal").write_bytes(left)
        with closing(BlockStore(place)) as store:
            height = Producer(chain.genesis, store, chain.producer, clock).head.height
        found.append((height, sum(end <= whole for end in acknowledged)))
    assert all(height >= least for height, least in found)
    assert {height for height, _ in found} == {0, 1, 2, 3, 4}


def test_a_file_that_is_no_database_is_refused(database: Path) -> None:
    database.write_bytes(b"no database" * 1000)
    with pytest.raises(Misconfigured, match="restore a backup or name another file"):
        BlockStore(database)
    with pytest.raises(Misconfigured, match="choose a folder"):
        BlockStore(database.parent / "nowhere" / "ledger.db")


async def test_a_copy_taken_after_closing_is_a_backup(chain: Any, grown: Path, clock: Any, tmp_path: Path) -> None:
    shutil.copyfile(grown, tmp_path / "backup.db")
    with closing(BlockStore(tmp_path / "backup.db")) as store:
        assert Producer(chain.genesis, store, chain.producer, clock).head.height == 6


async def test_every_connection_flushes_before_it_acknowledges(store: BlockStore) -> None:
    asked = [store._writer.execute(f"PRAGMA {p}").fetchone()[0] for p in ("synchronous", "journal_mode")]
    assert asked == [2, "wal"]


FULL = """
import resource, sys
from contextlib import closing
from pathlib import Path
from davy.ledger.driver.blockstore import Block, BlockStore
from davy.protocol.errors import StoreFailed
with closing(BlockStore(Path(sys.argv[1]))) as store:
    height = store.height() + 1
    before = list(store.state())
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, resource.RLIM_INFINITY))
    try:
        store.append(Block(height, b"header", b"hash", [], [], [(b"k", bytes(2**20))], [before[0][0]]))
    except StoreFailed as e:
        print(e)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert store.height() == height - 1 and list(store.state()) == before
"""


async def test_a_full_disk_leaves_the_block_before(chain: Any, grown: Path, clock: Any) -> None:
    ran = subprocess.run([sys.executable, "-c", FULL, str(grown)], capture_output=True, text=True)  # noqa: ASYNC221
    assert ran.returncode == 0, ran.stderr
    assert "did not take a block" in ran.stdout
    await grow(chain, grown, clock, 1)
    assert rows(grown, "SELECT max(height) FROM blocks") == [(7,)]
