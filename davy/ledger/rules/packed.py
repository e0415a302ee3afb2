"""Numbers of all UIDs of a subnet as bytes, big-endian, and rows of weights: the form in which records hold them."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from davy.incentive.fixed_point import ONE, Int64
from davy.protocol.transaction import Weight
from davy.protocol.words import U16

_WEIGHT: Final = Struct(">H8sH")
_WEIGHTS: Final = np.dtype([("uid", ">u2"), ("subject", ">u8"), ("value", ">u2")])
_PAIRS: Final = np.dtype([("uid", ">u2"), ("value", ">u2")])


def pack_amounts(values: Int64) -> bytes:
    """Base units, 64 bits each."""
    return values.astype(">i8").tobytes()


def amounts(data: bytes, n: int) -> Int64:
    """`n` amounts; zeros for UIDs newer than the record."""
    return _grown(np.frombuffer(data, dtype=">i8"), n)


def pack_flags(values: NDArray[np.bool_]) -> bytes:
    """One byte each, 0 or 1."""
    return values.astype(np.uint8).tobytes()


def flags(data: bytes, n: int) -> NDArray[np.bool_]:
    """`n` flags; False for UIDs newer than the record."""
    return _grown(np.frombuffer(data, dtype=np.uint8), n) == 1


def pack_shares(q30: Int64) -> bytes:
    """Q30 shares as u16 proportions, rounded down: for reading, not for paying."""
    return (np.minimum(q30, ONE) * U16 // ONE).astype(">u2").tobytes()


def shares(data: bytes, n: int) -> Int64:
    """`n` u16 proportions; zeros for UIDs newer than the record."""
    return _grown(np.frombuffer(data, dtype=">u2"), n)


def pack_bonds(stored: Int64) -> bytes:
    """Bonds as their mechanism stores them, below 2^32."""
    return stored.astype(">u4").tobytes()


def bonds(data: bytes, columns: int) -> Int64:
    """Rows of bonds."""
    return np.frombuffer(data, dtype=">u4").reshape(-1, columns).astype(np.int64)


def pack_uids(uids: Int64) -> bytes:
    return uids.astype(">u2").tobytes()


def uids(data: bytes) -> list[int]:
    return [int(uid) for uid in np.frombuffer(data, dtype=">u2")]


def pack_row(weights: Sequence[Weight]) -> bytes:
    """A validator's row: 12 bytes a weight."""
    return b"".join(_WEIGHT.pack(w.uid, w.subject, w.value) for w in weights)


def pack_subjects(subjects: Sequence[bytes]) -> NDArray[np.uint64]:
    """All neurons' subjects as numbers, to be compared with a row's."""
    return np.frombuffer(b"".join(subjects), dtype=">u8").astype(np.uint64)


def row_values(row: bytes, subjects: NDArray[np.uint64]) -> Int64:
    """A row's weights by UID, [n], all of them below n; zero where the subject is not the neuron's current one."""
    weights = np.frombuffer(row, dtype=_WEIGHTS)
    uid = weights["uid"].astype(np.int64)
    bound = weights["subject"] == subjects[uid]
    values = np.zeros(len(subjects), dtype=np.int64)
    values[uid[bound]] = weights["value"][bound]
    return values


def row_pairs(row: bytes) -> tuple[tuple[int, int], ...]:
    """(uid, value) of each weight of a row, whatever it is bound to."""
    return tuple((int(w["uid"]), int(w["value"])) for w in np.frombuffer(row, dtype=_WEIGHTS))


def pack_pairs(values: Int64) -> bytes:
    """The weights of a row that are not zero, 4 bytes each."""
    where = np.flatnonzero(values)
    pairs = np.empty(len(where), dtype=_PAIRS)
    pairs["uid"], pairs["value"] = where, values[where]
    return pairs.tobytes()


def pairs(data: bytes) -> tuple[tuple[int, int], ...]:
    """Inverse of `pack_pairs`."""
    return tuple((int(uid), int(value)) for uid, value in np.frombuffer(data, dtype=_PAIRS))


def _grown(values: NDArray[np.generic], n: int) -> Int64:
    grown = np.zeros(n, dtype=np.int64)
    grown[: len(values)] = values[:n]
    return grown
