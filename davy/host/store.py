"""Small durable state of a node, as `davy.protocol.ports.Store`: one SQLite file.

SQLite in WAL mode with synchronous=FULL rather than a file per key: keys may be any bytes, a put costs one flush
instead of two (file and folder), and what a crash leaves is repaired by code that is tested harder than ours could be.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Final, Self

from anyio import to_thread

from davy.protocol.errors import Misconfigured, StoreFailed
from davy.protocol.limits import MAX_STORED_BYTES

MAX_KEY_BYTES: Final = 256


class SqliteStore:
    """Durable keys and values.

    Parameters
    ----------
    path
        The file; created, mode 0600, when it is missing.

    Raises
    ------
    Misconfigured
        The file is no store, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            path.touch(mode=0o600)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
            )
        except OSError as e:
            raise Misconfigured(f"cannot open {path} ({e.strerror}); choose a home that you may write to") from None
        except sqlite3.Error as e:
            # A file that is moved away takes with it what the node knows, halts among it: only what is broken is.
            broken = e.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
            advice = "move it away or restore a backup" if broken else "free disk space, and see that it can be written"
            raise Misconfigured(f"cannot use {path} as a store ({e}); {advice}") from None

    async def put(self, key: bytes, value: bytes) -> None:
        """Store a value; durable on return.

        Raises
        ------
        StoreFailed
            The disk did not take it, or key or value is too long; the old value still stands.
        """
        if not 0 < len(key) <= MAX_KEY_BYTES or len(value) > MAX_STORED_BYTES:
            raise StoreFailed(f"a store takes keys up to {MAX_KEY_BYTES} and values up to {MAX_STORED_BYTES} bytes")
        await to_thread.run_sync(self._put, key, value)

    async def get(self, key: bytes) -> bytes | None:
        """Return the value last put, or None.

        Raises
        ------
        StoreFailed
            The file cannot be read.
        """
        return await to_thread.run_sync(self._get, key)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, key: bytes, value: bytes) -> None:
        try:
            with self._lock:
                self._db.execute(
                    "INSERT INTO entries VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                    (key, value),
                )
        except sqlite3.Error as e:
            raise StoreFailed(f"{self._path} did not take a value ({e}); free disk space and start again") from None

    def _get(self, key: bytes) -> bytes | None:
        try:
            with self._lock:
                row = self._db.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as e:
            raise StoreFailed(f"{self._path} cannot be read ({e}); restore a backup") from None
        return None if row is None else bytes(row[0])
