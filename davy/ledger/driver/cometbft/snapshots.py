"""The state after some blocks as files that other producers' engines fetch piece by piece, instead of every block.

A snapshot is one run of bytes, cut into chunks: frames of a length and as many bytes, of which the first is a
`SnapshotHead` and the others are keys and values of the state in turn, keys rising. Its metadata are the SHA-256 of its
chunks, its hash that of the metadata, so that a wrong chunk is known before the next one comes. What the whole is worth
is decided by the app hash, which the engine has of more than two thirds of the producers (`fetched`).
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from davy.protocol.chain import Succession
from davy.protocol.encoding import Wire, encode
from davy.protocol.errors import Misconfigured
from davy.protocol.limits import MAX_COMMITTED_HEADER_BYTES, MAX_PRODUCER_CHANGES
from davy.protocol.words import ChainId, Height

_log: Final = logging.getLogger(__name__)
FORMAT: Final = 1
CHUNK_BYTES: Final = 1024 * 1024
MAX_CHUNKS: Final = 16_384
KEPT: Final = 2
SIZE_BYTES: Final = 4
_HASHES: Final = "hashes"
MAX_HEAD_BYTES: Final = 2 * MAX_COMMITTED_HEADER_BYTES * MAX_PRODUCER_CHANGES


class SnapshotHead(Wire):
    """What stands before the rows; `changes` lead from the producers of the genesis to those of the block after it."""

    version: Annotated[int, Meta(ge=1, le=1)]
    chain: ChainId
    height: Height
    changes: Annotated[tuple[Succession, ...], Meta(max_length=MAX_PRODUCER_CHANGES)]


class Offer(NamedTuple):
    """A snapshot as engines tell each other of it."""

    height: int
    format: int
    hashes: tuple[bytes, ...]

    @property
    def metadata(self) -> bytes:
        return b"".join(self.hashes)

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.metadata).digest()


class Snapshots:
    """The newest ones of a home; what has another name than they is left alone.

    Parameters
    ----------
    every
        Blocks from one to the next; 0: none are taken.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self._folder, self._every = folder, every
        for half in folder.glob("*.new"):  # of a process that was killed
            shutil.rmtree(half, ignore_errors=True)
        self._newest = max(self._whole(), default=0)
        self._writes: tuple[int, threading.Thread] | None = None

    def due(self, height: int) -> bool:
        """Whether there is none since the last multiple of `every`, and none is being written."""
        due = 0 < self._every <= height and self._newest < height - height % self._every
        return due and not (self._writes and self._writes[1].is_alive())

    def begin(self, head: SnapshotHead, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Write one while blocks go on; what goes wrong is logged."""

        def write() -> None:
            try:
                self.take(head, rows)
            except Misconfigured as e:
                _log.error("after block %d: %s", head.height, e)

        thread = threading.Thread(target=write, name="snapshot", daemon=True)
        self._writes = head.height, thread
        thread.start()

    def finish(self) -> None:
        """Wait until what was begun is written."""
        if self._writes:
            self._writes[1].join()

    def take(self, head: SnapshotHead, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Write one; it appears whole or not at all, and the oldest goes.

        Raises
        ------
        Misconfigured
            The disk does not take it.
        """
        target, beside = self._folder / str(head.height), self._folder / f"{head.height}.new"
        try:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True, mode=0o700)
            hashes = bytearray()
            for index, chunk in enumerate(_chunks(_frames(head, rows))):
                (beside / str(index)).write_bytes(chunk)
                hashes += hashlib.sha256(chunk).digest()
            (beside / _HASHES).write_bytes(hashes)
            shutil.rmtree(target, ignore_errors=True)
            beside.rename(target)
            self._newest = head.height
            for height in self._whole()[:-KEPT]:
                shutil.rmtree(self._folder / str(height), ignore_errors=True)
        except OSError as e:
            raise Misconfigured(f"no snapshot could be written to {self._folder} ({e.strerror})") from None

    def heights(self) -> list[int]:
        """Of those that are there, and of the one that is being written, rising."""
        written = [self._writes[0]] if self._writes and self._writes[1].is_alive() else []
        return sorted({*written, *self._whole()})

    def offers(self) -> list[Offer]:
        """Those that are there, by height."""
        return [offer for height in self._whole() if (offer := self._offer(height)).hashes]

    def chunk(self, height: int, format_: int, index: int) -> bytes:
        """A chunk's bytes; none where there is no such chunk any more."""
        if format_ != FORMAT:
            return b""
        try:
            return (self._folder / str(int(height)) / str(int(index))).read_bytes()
        except OSError:
            return b""

    def _whole(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return sorted(int(p.name) for p in self._folder.iterdir() if p.name.isdigit())

    def _offer(self, height: int) -> Offer:
        try:
            hashes = (self._folder / str(height) / _HASHES).read_bytes()
        except OSError:  # it is going
            hashes = b""
        return Offer(height, FORMAT, tuple(hashes[n : n + 32] for n in range(0, len(hashes), 32)))


def _frames(head: SnapshotHead, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    yield _framed(encode(head))
    for key, value in rows:
        yield _framed(key) + _framed(value)


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(SIZE_BYTES, "big") + data


def _chunks(frames: Iterable[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for frame in frames:
        buffer += frame
        while len(buffer) >= CHUNK_BYTES:
            yield bytes(buffer[:CHUNK_BYTES])
            del buffer[:CHUNK_BYTES]
    if buffer:
        yield bytes(buffer)
