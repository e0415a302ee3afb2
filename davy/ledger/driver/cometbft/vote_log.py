"""The engine's log of what it receives and votes, in pieces of 10 MB: those go that no start of its reads again.

The engine itself keeps a gigabyte of them, which is most of what it writes. When it starts, it reads from where the log
says that its last block ended.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class VoteLog:
    """The pieces that are full, each with a height that was kept when it was seen to be.

    Says a piece where block h + 1 ended, then block h was kept; where h + 2 did, it was not full yet. So once h + 2 is
    kept, whatever the engine looks for stands in a later piece.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._full: dict[Path, int] = {}

    def tidy(self, height: Callable[[], int]) -> None:
        """Remove what is not needed; `height` is that of the newest block that is kept, and is asked after looking."""
        full = [path for path in self._folder.glob("wal.*") if path.suffix[1:].isdecimal()]
        kept = height()
        self._full = {path: self._full.get(path, kept) for path in full}
        for path in [path for path, seen in self._full.items() if kept >= seen + 2]:
            path.unlink(missing_ok=True)
            del self._full[path]
