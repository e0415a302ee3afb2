"""The state after some blocks as files that other producers' engines fetch piece by piece, instead of every block.

A snapshot is one run of bytes, cut into chunks: frames of a length and as many bytes, of which the first is a
`SnapshotHead` and the others are keys and values of the state in turn. Its metadata are the SHA-256 of its chunks, its
hash that of the metadata, so that a wrong chunk is known before the next one comes. What the whole is worth is decided
by the app hash, which the engine has of more than two thirds of the producers.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from davy.protocol.chain import Succession
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Malformed, Misconfigured
from davy.protocol.limits import MAX_COMMITTED_HEADER_BYTES, MAX_PRODUCER_CHANGES
from davy.protocol.words import ChainId, Height

FORMAT: Final = 1
CHUNK_BYTES: Final = 1024 * 1024
MAX_CHUNKS: Final = 16_384
KEPT: Final = 2
_SIZE: Final = 4
_HASHES: Final = "hashes"
_MAX_HEAD_BYTES: Final = 2 * MAX_COMMITTED_HEADER_BYTES * MAX_PRODUCER_CHANGES


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
    """The newest ones of a home; any other file in the folder is left alone.

    Parameters
    ----------
    every
        Blocks from one to the next; 0: none are taken.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self._folder, self._every = folder, every
        self._newest = max(self.heights(), default=0)

    def due(self, height: int) -> bool:
        """Whether there is none since the last multiple of `every`."""
        return 0 < self._every <= height and self._newest < height - height % self._every

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
            for height in self.heights()[:-KEPT]:
                shutil.rmtree(self._folder / str(height), ignore_errors=True)
        except OSError as e:
            raise Misconfigured(f"no snapshot could be written to {self._folder} ({e.strerror})") from None

    def heights(self) -> list[int]:
        """Of those that are there, rising."""
        if not self._folder.is_dir():
            return []
        return sorted(int(p.name) for p in self._folder.iterdir() if p.name.isdigit())

    def offers(self) -> list[Offer]:
        """Those that are there, by height."""
        return [offer for height in self.heights() if (offer := self._offer(height)).hashes]

    def chunk(self, height: int, format_: int, index: int) -> bytes:
        """A chunk's bytes; none where there is no such chunk any more."""
        if format_ != FORMAT:
            return b""
        try:
            return (self._folder / str(int(height)) / str(int(index))).read_bytes()
        except OSError:
            return b""

    def _offer(self, height: int) -> Offer:
        try:
            hashes = (self._folder / str(height) / _HASHES).read_bytes()
        except OSError:  # it is going
            hashes = b""
        return Offer(height, FORMAT, tuple(hashes[n : n + 32] for n in range(0, len(hashes), 32)))


class Fetched:
    """A snapshot on its way here.

    Raises
    ------
    Malformed
        It is not offered as this version writes them.
    """

    def __init__(self, height: int, format_: int, chunks: int, hash_: bytes, metadata: bytes, app_hash: bytes) -> None:
        hashes = tuple(metadata[n : n + 32] for n in range(0, len(metadata), 32))
        self.offer, self.app_hash = Offer(height, format_, hashes), app_hash
        if format_ != FORMAT or not 0 < chunks == len(hashes) <= MAX_CHUNKS or len(metadata) != 32 * chunks:
            raise Malformed("the snapshot is of another format")
        if hash_ != self.offer.hash:
            raise Malformed("the snapshot's hash is not that of its chunks' hashes")
        self._chunks: dict[int, bytes] = {}

    def take(self, index: int, chunk: bytes) -> bool:
        """Keep a chunk; False where it is not the one that was offered."""
        if not 0 <= index < len(self.offer.hashes) or hashlib.sha256(chunk).digest() != self.offer.hashes[index]:
            return False
        self._chunks[index] = chunk
        return True

    @property
    def whole(self) -> bool:
        return len(self._chunks) == len(self.offer.hashes)

    def read(self) -> tuple[SnapshotHead, list[tuple[bytes, bytes]]]:
        """What it holds, unchecked but for its form.

        Raises
        ------
        Malformed, TooLarge
        """
        frames = list(_read(b"".join(self._chunks[i] for i in range(len(self.offer.hashes)))))
        if len(frames) % 2 == 0:
            raise Malformed("the snapshot ends within a row")
        head = decode(frames[0], SnapshotHead, limit=_MAX_HEAD_BYTES)
        if head.height != self.offer.height:
            raise Malformed("the snapshot is of another height than it was offered for")
        return head, list(zip(frames[1::2], frames[2::2], strict=True))


def _frames(head: SnapshotHead, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    yield _framed(encode(head))
    for key, value in rows:
        yield _framed(key) + _framed(value)


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(_SIZE, "big") + data


def _chunks(frames: Iterable[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for frame in frames:
        buffer += frame
        while len(buffer) >= CHUNK_BYTES:
            yield bytes(buffer[:CHUNK_BYTES])
            del buffer[:CHUNK_BYTES]
    if buffer:
        yield bytes(buffer)


def _read(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        begins = at + _SIZE
        at = begins + int.from_bytes(data[at:begins], "big")
        if at > len(data):
            raise Malformed("the snapshot breaks off within a frame")
        yield data[begins:at]
