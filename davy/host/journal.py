"""What a keyholder signed, as files: one an order, so that two processes of one home (serve, halt) never collide."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from anyio import to_thread

from davy.host.files import make_private_folder, read_bounded, write_over
from davy.protocol.errors import Misconfigured, StoreFailed
from davy.protocol.limits import MAX_RELEASED, MAX_SIGNED_ORDER_BYTES
from davy.protocol.words import Digest

_DRILL: Final = "last-drill"
_RELEASED: Final = "last-drill-released"
_NODES: Final = "nodes-named"
_MAX_NODES_BYTES: Final = 2 * 1024 * 1024
_MAX_RELEASED_BYTES: Final = 8 * 1024 * 1024
"""All the nodes of an address book."""
_WHOLE: Final = 4
"""Times as many whole orders are kept: all that the brakes of some rosters hold."""
_NAME: Final = re.compile("[0-9a-f]{64}")


class FileJournal:
    """The orders of a home, as `davy.keyholders.standing.Journal`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, order: Digest, body: bytes) -> None:
        """Remember an order for which a share is about to be released; durable on return.

        Raises
        ------
        StoreFailed
            The disk did not take it: the share must not be released.
        Misconfigured
            There are too many.
        """
        await to_thread.run_sync(self._write, order, "order", body)

    async def keep_signed(self, order: Digest, signed: bytes) -> None:
        """Remember a whole order that was verified here.

        Raises
        ------
        StoreFailed, Misconfigured
        """
        await to_thread.run_sync(self._write, order, "signed", signed)

    async def drop(self, order: Digest) -> None:
        """Forget an order, whole or not, that can matter no more.

        Raises
        ------
        StoreFailed
        """
        await to_thread.run_sync(self._drop, order)

    async def keep_drill(self, signed: bytes) -> None:
        """Remember the newest drill in place of any before it.

        Raises
        ------
        StoreFailed, Misconfigured
        """
        await to_thread.run_sync(self._write_one, signed)

    async def drill(self) -> bytes | None:
        """Return the drill last kept.

        Raises
        ------
        Misconfigured
            It cannot be read.
        """
        return await to_thread.run_sync(self._read_one)

    async def keep_released(self, told: bytes) -> None:
        """Remember what came of the drill last released here (`davy.keyholders.drills`).

        Raises
        ------
        StoreFailed, Misconfigured
        """
        await to_thread.run_sync(self._write_one, told, _RELEASED)

    async def released(self) -> bytes | None:
        """Return what was last kept by `keep_released`.

        Raises
        ------
        Misconfigured
            It cannot be read.
        """
        return await to_thread.run_sync(self._read_one, _RELEASED, _MAX_RELEASED_BYTES)

    async def keep_nodes(self, told: bytes) -> None:
        """Remember where nodes listen (`davy.keyholders.listening`).

        Raises
        ------
        StoreFailed, Misconfigured
        """
        await to_thread.run_sync(self._write_one, told, _NODES)

    async def nodes(self) -> bytes | None:
        """Return what was last kept by `keep_nodes`.

        Raises
        ------
        Misconfigured
            It cannot be read.
        """
        return await to_thread.run_sync(self._read_one, _NODES, _MAX_NODES_BYTES)

    async def orders(self) -> list[bytes]:
        """Return the bytes of every order remembered by `keep`.

        Raises
        ------
        Misconfigured
            One cannot be read.
        """
        return await to_thread.run_sync(self._read, "order")

    async def signed(self) -> list[bytes]:
        """Return every whole order.

        Raises
        ------
        Misconfigured
            One cannot be read.
        """
        return await to_thread.run_sync(self.whole)

    def whole(self) -> list[bytes]:
        """`signed`, where no event loop runs."""
        return self._read("signed")

    def _paths(self, kind: str) -> list[Path]:
        found = sorted(self._folder.glob(f"*.{kind}"))
        return [p for p in found if _NAME.fullmatch(p.stem)]

    def _write(self, order: Digest, kind: str, data: bytes) -> None:
        make_private_folder(self._folder)
        path = self._folder / f"{order.hex()}.{kind}"
        if not path.exists():
            most = MAX_RELEASED * (_WHOLE if kind == "signed" else 1)
            if len(self._paths(kind)) >= most:
                raise Misconfigured(f"{self._folder} holds {most} orders; move those that are over away")
            write_over(path, data)

    def _drop(self, order: Digest) -> None:
        try:
            for kind in ("order", "signed"):
                (self._folder / f"{order.hex()}.{kind}").unlink(missing_ok=True)
        except OSError as e:
            raise StoreFailed(f"{self._folder} cannot be written ({e}); mend its permissions") from None

    def _read(self, kind: str) -> list[bytes]:
        found: list[bytes] = []
        for path in self._paths(kind):
            try:
                found.append(read_bounded(path, MAX_SIGNED_ORDER_BYTES))
            except Misconfigured:
                if path.exists():  # else another process of this home has just dropped it
                    raise
        return found

    def _write_one(self, data: bytes, name: str = _DRILL) -> None:
        make_private_folder(self._folder)
        write_over(self._folder / name, data)

    def _read_one(self, name: str = _DRILL, limit: int = MAX_SIGNED_ORDER_BYTES) -> bytes | None:
        path = self._folder / name
        return read_bounded(path, limit) if path.exists() else None
