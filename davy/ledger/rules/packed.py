"""Numbers of all UIDs of a subnet as bytes, big-endian, and rows of weights: the form in which records hold them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from davy.incentive.fixed_point import ONE, Int64, Weights
from davy.protocol.transaction import Weight
from davy.protocol.words import U16

_WEIGHT: Final = Struct(">H8sH")
_WEIGHTS: Final = np.dtype([("uid", ">u2"), ("subject", "u8"), ("value", ">u2")])
"""A subject is only ever compared, so its bytes may stand for any number: this machine's is the fastest."""
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
    return np.frombuffer(b"".join(subjects), dtype=np.uint64)


def row_values(rows: Sequence[bytes], subjects: NDArray[np.uint64]) -> Int64:
    """Rows' weights by UID, [rows, n], all UIDs below n; zero where the subject is not the neuron's current one."""
    weights = np.frombuffer(b"".join(rows), dtype=_WEIGHTS)
    begins = np.arange(0, len(rows) * len(subjects), len(subjects))
    uid = weights["uid"].astype(np.int64)
    bound = weights["subject"] == subjects[uid]
    values = np.zeros((len(rows), len(subjects)), dtype=np.int64)
    values.reshape(-1)[uid + begins.repeat([len(row) // _WEIGHTS.itemsize for row in rows])] = weights["value"] * bound
    return values


def row_pairs(row: bytes) -> tuple[tuple[int, int], ...]:
    """(uid, value) of each weight of a row, whatever it is bound to."""
    weights = np.frombuffer(row, dtype=_WEIGHTS)
    return tuple(zip(weights["uid"].tolist(), weights["value"].tolist(), strict=True))


def row_length(row: bytes) -> int:
    """How many weights a row has."""
    return len(row) // _WEIGHTS.itemsize


def pack_pairs(values: Weights) -> tuple[bytes, ...]:
    """The weights of each row [rows, n] that are not zero, below 2^16, 4 bytes each: (uid, value)."""
    given = values != 0
    uids = np.arange(values.shape[1], dtype=np.int64) << 16
    whole: Int64 = values.astype(np.int64) | uids
    data = whole[given].astype(">u4").tobytes()
    ends = [0, *(given.sum(axis=1).cumsum() * _PAIRS.itemsize).tolist()]
    return tuple(data[first:end] for first, end in pairwise(ends))


def pairs(data: bytes) -> tuple[tuple[int, int], ...]:
    """Inverse of `pack_pairs`."""
    given = np.frombuffer(data, dtype=_PAIRS)
    return tuple(zip(given["uid"].tolist(), given["value"].tolist(), strict=True))


def pairs_length(data: bytes) -> int:
    """How many weights were packed."""
    return len(data) // _PAIRS.itemsize


def _grown(values: NDArray[np.generic], n: int) -> Int64:
    grown = np.zeros(n, dtype=np.int64)
    grown[: len(values)] = values[:n]
    return grown
