"""A snapshot on its way here, from strangers: chunks of bounded size, on the disk until all are there, then checked.

Nothing of it is believed before its rows give the app hash, and they are compared while they are read, one after the
other: memory holds a row and a chunk, however much was offered.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from davy.ledger.driver.cometbft import snapshots
from davy.ledger.driver.cometbft.snapshots import FORMAT, MAX_CHUNKS, MAX_HEAD_BYTES, SIZE_BYTES, Offer, SnapshotHead
from davy.ledger.rules.records import MAX_RECORD_BYTES, table_of
from davy.ledger.rules.trie import root_of_rising
from davy.protocol.encoding import decode
from davy.protocol.errors import Malformed, Refused, StoreFailed, TooLarge
from davy.protocol.proof import value_hash


class Fetched:
    """A snapshot that was offered, and what has come of it.

    Parameters
    ----------
    folder
        For its chunks alone; whatever is there goes.

    Raises
    ------
    Malformed
        It is not offered as this version writes them.
    StoreFailed
        The folder cannot be made.
    """

    def __init__(
        self, folder: Path, height: int, format_: int, chunks: int, hash_: bytes, metadata: bytes, app_hash: bytes
    ) -> None:
        if format_ != FORMAT or not 0 < chunks <= MAX_CHUNKS or len(metadata) != 32 * chunks:
            raise Malformed("the snapshot is of another format")
        hashes = tuple(metadata[n : n + 32] for n in range(0, len(metadata), 32))
        self.offer, self.app_hash = Offer(height, format_, hashes), app_hash
        if hash_ != self.offer.hash:
            raise Malformed("the snapshot's hash is not that of its chunks' hashes")
        self._folder, self._here = folder, set[int]()
        try:
            self.drop()
            folder.mkdir(parents=True, mode=0o700)
        except OSError as e:
            raise StoreFailed(f"no state can be fetched to {folder} ({e.strerror}); make room") from None

    def take(self, index: int, chunk: bytes) -> bool:
        """Keep a chunk; False where it is too long, or not the one that was offered.

        Raises
        ------
        StoreFailed
            The disk did not take it.
        """
        if not 0 <= index < len(self.offer.hashes) or len(chunk) > snapshots.CHUNK_BYTES:
            return False
        if hashlib.sha256(chunk).digest() != self.offer.hashes[index]:
            return False
        try:
            (self._folder / str(index)).write_bytes(chunk)
        except OSError as e:
            raise StoreFailed(f"{self._folder} did not take a chunk ({e.strerror}); make room, start again") from None
        self._here.add(index)
        return True

    @property
    def whole(self) -> bool:
        return len(self._here) == len(self.offer.hashes)

    def head(self) -> SnapshotHead:
        """What stands before the rows, unchecked but for its form and height.

        Raises
        ------
        Malformed, TooLarge, StoreFailed
        """
        head = decode(next(self._frames(), b""), SnapshotHead, limit=MAX_HEAD_BYTES)
        if head.height != self.offer.height:
            raise Malformed("the snapshot is of another height than it was offered for")
        return head

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys, each of a table and its width, and values, unchecked.

        Raises
        ------
        Malformed, TooLarge, StoreFailed
        """
        frames = islice(self._frames(), 1, None)
        for key in frames:
            table_of(key)
            value = next(frames, None)
            if value is None:
                raise Malformed("the snapshot ends within a row")
            yield key, value

    def check(self) -> None:
        """Check that the rows are the state.

        Raises
        ------
        Malformed, TooLarge, StoreFailed
        Refused
            They are another one.
        """
        if root_of_rising((key, value_hash(value)) for key, value in self.rows()) != self.app_hash:
            raise Refused("the snapshot is not the state that the producers signed for")

    def drop(self) -> None:
        """Forget it."""
        self._here.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _frames(self) -> Iterator[bytes]:
        buffer, at, needed = bytearray(), 0, SIZE_BYTES
        for index in range(len(self.offer.hashes)):
            del buffer[:at]
            buffer += self._chunk(index)
            at = 0
            while len(buffer) >= at + needed:
                size = int.from_bytes(buffer[at : at + SIZE_BYTES], "big")
                if size > MAX_RECORD_BYTES:
                    raise TooLarge(f"the snapshot has a frame of {size} bytes, longer than any record; ask others")
                needed = SIZE_BYTES + size
                if len(buffer) >= at + needed:
                    yield bytes(buffer[at + SIZE_BYTES : at + needed])
                    at, needed = at + needed, SIZE_BYTES
        if len(buffer) > at:
            raise Malformed("the snapshot breaks off within a frame")

    def _chunk(self, index: int) -> bytes:
        try:
            return (self._folder / str(index)).read_bytes()
        except OSError as e:
            raise StoreFailed(f"{self._folder} cannot be read ({e.strerror}); start again") from None
