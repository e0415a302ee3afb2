"""Who stays silent loses its seat: a bond alone must not hold a place among those whose votes are needed.

A producer's count rises by one with each block whose commit lacks its vote for that block, and falls by one with each
that has it. Whoever votes in more than half of all blocks is safe, even if a third of the proposers leave its votes
out; whoever is silent is found out after `LONGEST_ABSENCE` blocks, as long as more than two thirds vote and there are
blocks at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import Final

from davy.ledger.rules.records import ABSENCES, AbsenceRecord
from davy.ledger.rules.state import State
from davy.protocol.words import PublicKey

LONGEST_ABSENCE: Final = 3_600
"""Commits without a producer's vote, more than with it."""


def address(key: PublicKey) -> bytes:
    """The first 20 bytes of SHA-256(key), by which the engine calls a producer."""
    return hashlib.sha256(key).digest()[:20]


def count_absences(s: State, seated: Iterable[PublicKey], absent: Collection[bytes]) -> None:
    """Count the commit for the block before; `absent` are the addresses of those whose vote for it is missing."""
    for key in seated:
        before = _count(s, key)
        now = min(before + 1, LONGEST_ABSENCE) if address(key) in absent else max(before - 1, 0)
        if now:
            s.put(ABSENCES, key, AbsenceRecord(now))
        elif before:
            s.delete(ABSENCES, key)


def silent(s: State, seated: Iterable[PublicKey]) -> list[PublicKey]:
    """Those that are absent for too long, in the order given."""
    return [key for key in seated if _count(s, key) >= LONGEST_ABSENCE]


def _count(s: State, key: PublicKey) -> int:
    record = s.get(ABSENCES, key)
    return 0 if record is None else record.count
