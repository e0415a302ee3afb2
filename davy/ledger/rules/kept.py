"""Answers that are given again as they are while what they tell of does not change: bounded, the oldest goes first."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from davy.ledger.rules.records import PAID

_UNTIL_A_BLOCK: Final = frozenset({"/metagraph", "/weights", "/subnets"})
"""What every node asks for once a block, and costs most."""
_FOR_GOOD: Final = "/epoch"
"""Its record is written once, and later dropped."""
_MOST: Final = 64
_MOST_BYTES: Final = 16 * 1024 * 1024


class Kept:
    """Answers by path and data."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, bytes], bytes] = {}
        self._bytes = 0

    def get(self, path: str, data: bytes) -> bytes | None:
        return self._answers.get((path, data))

    def note(self, path: str, data: bytes, raw: bytes) -> None:
        """Keep an answer if it is of a kind that is kept."""
        if path != _FOR_GOOD and path not in _UNTIL_A_BLOCK:
            return
        while self._answers and (len(self._answers) >= _MOST or self._bytes + len(raw) > _MOST_BYTES):
            self._drop(next(iter(self._answers)))
        self._answers[path, data] = raw
        self._bytes += len(raw)

    def follow(self, changed: Collection[bytes]) -> None:
        """Forget what a block that changed these keys may have made untrue."""
        for path, data in tuple(self._answers):
            if path != _FOR_GOOD or PAID.tag + data[: PAID.width] in changed:
                self._drop((path, data))

    def _drop(self, asked: tuple[str, bytes]) -> None:
        self._bytes -= len(self._answers.pop(asked))
