"""Blocks, transactions and state in one SQLite file: a block is in it whole or not at all.

WAL with synchronous=FULL: when `append` returns, the block has reached the disk, and only then may anybody be told of
it. A second connection reads, so that an answer never shows a block that is not durable.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Final, NamedTuple

from davy.protocol.chain import TxResult, txs_digest
from davy.protocol.errors import Misconfigured, StoreFailed
from davy.protocol.transaction import tx_hash

_FORMAT: Final = b"davy ledger 2"
_BASE: Final = "begun after"
_DAMAGED: Final = "it holds other values than were written"
_INDEX_BITS: Final = 13
"""A transaction's position is height · 2^13 + index: rows are appended, never inserted between."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (height INTEGER PRIMARY KEY, header BLOB NOT NULL, app_hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS txs (
    position INTEGER PRIMARY KEY, hash BLOB NOT NULL, raw BLOB NOT NULL, code INTEGER NOT NULL, log TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS txs_by_hash ON txs (hash);
CREATE INDEX IF NOT EXISTS headers_awaited ON blocks (height) WHERE header = x'';
CREATE TABLE IF NOT EXISTS state (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


class Block(NamedTuple):
    """What `append` stores: `header` is the signed header's bytes, `app_hash` the state's after this block.

    Under an engine the header is empty until the engine tells it.
    """

    height: int
    header: bytes
    app_hash: bytes
    txs: Sequence[bytes]
    results: Sequence[TxResult]
    puts: Iterable[tuple[bytes, bytes]]
    deletes: Iterable[bytes]
    facts: Mapping[str, bytes] = MappingProxyType({})
    """What else stands and falls with the block, by name, in place of what stood there."""


class StoredTx(NamedTuple):
    """A transaction in a committed block."""

    raw: bytes
    result: TxResult


class BlockStore:
    """One ledger's file.

    Parameters
    ----------
    path
        Created when missing. ``<path>.lock`` is held while it is open: two producers would sign two histories.

    Raises
    ------
    Misconfigured
        Another process has it open, it cannot be opened, or it is no ledger's file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held = _hold(path)
        self._one_writes = threading.Lock()
        try:
            self._writer = _connect(path)
            self._writer.executescript(_SCHEMA)
            self._reader = _connect(path)
            self._reader.execute("PRAGMA query_only=ON")
        except (sqlite3.Error, UnicodeDecodeError) as e:
            self._held.close()
            raise Misconfigured(f"cannot use {path} as a ledger ({e}); restore a backup or name another file") from None

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
        self._held.close()

    def genesis(self) -> bytes | None:
        """Return the genesis this file was begun with, or None for a new one."""
        with self._reading():
            row = self._reader.execute("SELECT value FROM facts WHERE name = 'genesis'").fetchone()
            known = self._reader.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()
            if row is not None and (known is None or _blob(known[0]) != _FORMAT):
                raise Misconfigured(f"{self.path} was written by another version of davy; open it with that one")
            return None if row is None else _blob(row[0])

    def begin(self, genesis: bytes, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Write the state before the first block, once.

        Raises
        ------
        StoreFailed
        """
        with self._writing():
            self._writer.execute("INSERT INTO facts VALUES ('format', ?)", (_FORMAT,))
            self._writer.execute("INSERT INTO facts VALUES ('genesis', ?)", (genesis,))
            self._writer.executemany("INSERT INTO state VALUES (?, ?)", rows)

    def begin_after(self, height: int, rows: Iterable[tuple[bytes, bytes]], facts: Mapping[str, bytes]) -> None:
        """Put the state after a block in the place of the one before the first, without the blocks between.

        Raises
        ------
        StoreFailed
        """
        with self._writing():
            self._writer.execute("DELETE FROM state")
            self._writer.executemany("INSERT INTO state VALUES (?, ?)", rows)
            begun = {**facts, _BASE: height.to_bytes(8, "big")}
            self._writer.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", begun.items())

    def prune(self, below: int, count: int) -> None:
        """Forget the oldest blocks under a height whose headers are known, so many at once. May be called elsewhere.

        Raises
        ------
        StoreFailed
        """
        query = "SELECT height FROM blocks WHERE height < ? AND header != x'' ORDER BY height LIMIT ?"
        with self._writing():
            gone = [row[0] for row in self._writer.execute(query, (below, count))]
            for height in gone:
                self._writer.execute("DELETE FROM blocks WHERE height = ?", (height,))
                first, last = height << _INDEX_BITS, ((height + 1) << _INDEX_BITS) - 1
                self._writer.execute("DELETE FROM txs WHERE position BETWEEN ? AND ?", (first, last))

    def append(self, b: Block) -> None:
        """Write a block and what it changed, in one transaction; durable on return. May be called in another thread.

        Raises
        ------
        StoreFailed
            The disk did not take it; nothing of it is there, and nothing of it may be shown.
        """
        first = b.height << _INDEX_BITS
        with self._writing():
            self._writer.execute("INSERT INTO blocks VALUES (?, ?, ?)", (b.height, b.header, b.app_hash))
            self._writer.executemany(
                "INSERT INTO txs VALUES (?, ?, ?, ?, ?)",
                ((first + r.index, tx_hash(raw), raw, r.code, r.log) for raw, r in zip(b.txs, b.results, strict=True)),
            )
            self._writer.executemany("DELETE FROM state WHERE key = ?", ((key,) for key in b.deletes))
            self._writer.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", b.puts)
            self._writer.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", b.facts.items())

    def put_header(self, height: int, header: bytes, facts: Mapping[str, bytes] = MappingProxyType({})) -> None:
        """Write the header of a block that was stored without one, and what it tells. May be called in another thread.

        Raises
        ------
        StoreFailed
        """
        with self._writing():
            self._writer.execute("UPDATE blocks SET header = ? WHERE height = ?", (header, height))
            self._writer.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())

    def fact(self, name: str) -> bytes | None:
        """Return what the last block, or the beginning, left under a name."""
        with self._reading():
            row = self._reader.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
            return None if row is None else _blob(row[0])

    def base(self) -> int:
        """The height after which this file began with a state that others made; 0: with the genesis."""
        return int.from_bytes(self.fact(_BASE) or b"", "big")

    def earliest(self) -> int:
        """The first block that is kept; 1 before any."""
        with self._reading():
            found = self._reader.execute("SELECT min(height) FROM blocks").fetchone()[0]
        return found or self.base() + 1

    def named_facts(self, after: str, before: str) -> list[tuple[str, bytes]]:
        """The names between two and what stands under them, by name."""
        query = "SELECT name, value FROM facts WHERE name > ? AND name < ? ORDER BY name"
        with self._reading():
            return [(name, _blob(value)) for name, value in self._reader.execute(query, (after, before))]

    def facts(self, after: str, before: str, count: int) -> list[bytes]:
        """What stands under the first names between two, by name."""
        query = "SELECT value FROM facts WHERE name > ? AND name < ? ORDER BY name LIMIT ?"
        with self._reading():
            return [_blob(row[0]) for row in self._reader.execute(query, (after, before, count))]

    def app_hash(self, height: int) -> bytes | None:
        """Return the state's app hash after a block."""
        with self._reading():
            row = self._reader.execute("SELECT app_hash FROM blocks WHERE height = ?", (height,)).fetchone()
            return None if row is None else _blob(row[0])

    def told(self) -> int:
        """The last block up to which every header is known."""
        query = "SELECT coalesce((SELECT min(height) - 1 FROM blocks WHERE header = x''), max(height)) FROM blocks"
        with self._reading():
            found = self._reader.execute(query).fetchone()[0]
        return self.base() if found is None else found

    def state(self) -> Iterator[tuple[bytes, bytes]]:
        """All rows of the state, in key order, as it is when the first is read.

        On a connection of its own: as long as rows are taken, the other one would show everybody the file of then.
        """
        with self._reading(), closing(_connect(self.path)) as apart:
            for key, value in apart.execute("SELECT key, value FROM state ORDER BY key"):
                yield _blob(key), _blob(value)

    def headers(self, first: int, last: int) -> Iterator[tuple[int, bytes, bytes]]:
        """(height, signed header, app hash after it) of the blocks from `first` to `last`, rising."""
        query = "SELECT height, header, app_hash FROM blocks WHERE height BETWEEN ? AND ? ORDER BY height"
        with self._reading():
            for height, header, app_hash in self._reader.execute(query, (first, last)):
                yield height, _blob(header), _blob(app_hash)

    def height(self) -> int:
        """The last block's height; 0 before the first."""
        with self._reading():
            found = self._reader.execute("SELECT max(height) FROM blocks").fetchone()[0]
        return self.base() if found is None else found

    def header(self, height: int) -> bytes | None:
        """Return a block's signed header."""
        with self._reading():
            row = self._reader.execute("SELECT header FROM blocks WHERE height = ?", (height,)).fetchone()
            return None if row is None else _blob(row[0])

    def txs(self, height: int) -> list[StoredTx]:
        """A block's transactions, in order."""
        query = "SELECT position, raw, code, log FROM txs WHERE position BETWEEN ? AND ? ORDER BY position"
        with self._reading():
            rows = self._reader.execute(query, (height << _INDEX_BITS, ((height + 1) << _INDEX_BITS) - 1)).fetchall()
            return [_stored(*row) for row in rows]

    def tx(self, h: bytes) -> StoredTx | None:
        """Return the committed transaction of a hash."""
        query = "SELECT position, raw, code, log FROM txs WHERE hash = ? ORDER BY position LIMIT 1"
        with self._reading():
            row = self._reader.execute(query, (h,)).fetchone()
            return None if row is None else _stored(*row)

    def tx_hashes(self, height: int) -> list[bytes]:
        """The hashes of a block's transactions, in order: `txs_digest` of them stands in its header."""
        query = "SELECT hash FROM txs WHERE position BETWEEN ? AND ? ORDER BY position"
        with self._reading():
            rows = self._reader.execute(query, (height << _INDEX_BITS, ((height + 1) << _INDEX_BITS) - 1)).fetchall()
            return [_blob(row[0]) for row in rows]

    def holds_txs(self, height: int, digest: bytes) -> bool:
        """Whether a block's stored transactions are those its header names."""
        return txs_digest([tx_hash(t.raw) for t in self.txs(height)]) == digest

    @contextmanager
    def _writing(self) -> Generator[None]:
        try:
            with self._one_writes:
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._writer.execute("COMMIT")
                except BaseException:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
        except sqlite3.Error as e:
            raise StoreFailed(
                f"{self.path} did not take a block ({e}); free disk space and start the ledger again"
            ) from None

    @contextmanager
    def _reading(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as e:
            raise StoreFailed(f"{self.path} cannot be read ({e}); restore a backup of the ledger") from None


def _stored(position: int, raw: object, code: object, log: object) -> StoredTx:
    """Raises ValueError where it is no transaction."""
    if not isinstance(code, int) or not isinstance(log, str):
        raise ValueError(_DAMAGED)
    return StoredTx(_blob(raw), TxResult(position >> _INDEX_BITS, position & ((1 << _INDEX_BITS) - 1), code, log))


def _blob(value: object) -> bytes:
    """In a damaged file a column may hold anything: a number would become so many zeros. Raises ValueError."""
    if not isinstance(value, bytes):
        raise ValueError(_DAMAGED)
    return value


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-16384"):
        with closing(db.execute(f"PRAGMA {pragma}")):
            pass
    return db


def _hold(path: Path) -> IO[bytes]:
    try:
        file = path.with_name(path.name + ".lock").open("ab")
    except OSError as e:
        raise Misconfigured(
            f"cannot write beside {path} ({e.strerror}); choose a folder that you may write to"
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Misconfigured(f"another ledger runs on {path}; stop it or name another file") from None
    return file
