"""The engine's log of what it receives and votes, in pieces of 10 MB: those go that no start of its reads again.

The engine itself keeps a gigabyte of them, which is most of what it writes. When it starts, it reads from where the log
says that its last block ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

_log = logging.getLogger(__name__)


class VoteLog:
    """The pieces that are full, each with a height that was kept when it was seen to be.

    Says a piece where block h + 1 ended, then block h was kept; where h + 2 did, it was not full yet. So once h + 2 is
    kept, whatever the engine looks for stands in a later piece. That is so while the engine runs; while it starts,
    blocks of before may be kept anew, and it has not yet read where the last one ended.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._full: dict[Path, int] = {}
        self._told = False

    def tidy(self, height: Callable[[], int]) -> None:
        """Remove what is not needed; `height` is that of the newest block that is kept, and is asked after looking."""
        try:
            full = [path for path in self._folder.glob("wal.*") if path.suffix[1:].isdecimal()]
        except OSError:
            return  # the next look is soon
        kept = height()
        self._full = {path: self._full.get(path, kept) for path in full}
        for path in [path for path, seen in self._full.items() if kept >= seen + 2]:
            try:
                path.unlink(missing_ok=True)
            except OSError as e:  # no block depends on it
                if not self._told:
                    _log.warning("old votes in %s cannot be removed (%s): they take up to a gigabyte", path, e.strerror)
                self._told = True
            else:
                del self._full[path]
