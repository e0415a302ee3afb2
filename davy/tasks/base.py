"""The public base distribution: what can be said of the next token by searching all public text and the prompt itself.

It is the search that a cheat would do, done for everybody: every stretch of public text (of up to `DEPTH` tokens) that
ends like the prompt votes for what followed it, longer matches over shorter ones; then every stretch of the prompt that
ends like the prompt does the same. So copying from public text, or from the prompt, earns nothing above it.

Order k leans on order k − 1 by interpolated absolute discounting (Ney, Essen & Kneser 1994), with n(w) the count of w after
the last k tokens, n the sum, t the number of distinct w::

    p_k(w) = (max(n(w) − D, 0) + (D·t + A)·p_{k−1}(w)) / (n + A)

Counts are integers, and the few operations on float64 are elementwise in a fixed order (no sum of floats), so that
everybody computes the same bits. Matches are ranges of one suffix array over the reversed text.
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from davy.protocol.errors import Misconfigured
from davy.tasks.rule import IntArray
from davy.tasks.task import FloatArray
from davy.tasks.vocabulary import Vocabulary

SEPARATOR: Final = "\n\f\n"
"""Between the documents of a public text."""
DEPTH: Final = 16


class Order(NamedTuple):
    """How an estimate leans on the shorter one: D a distinct token, A in any case."""

    discount: float
    lean: float


PUBLIC: Final = (Order(0.0, 0.5), Order(0.7, 0.5), *[Order(0.8, 0.5)] * (DEPTH - 1))
PROMPT: Final = (Order(0.0, 200.0), Order(0.5, 4.0), *[Order(0.4, 1.0)] * 6)


def public_documents(folder: Path) -> list[str]:
    """All public text of a folder of models: what they were trained on, and what was held out.

    Raises
    ------
    Misconfigured
        A file is missing or is no text.
    """
    try:
        training = lzma.decompress((folder / "training.txt.xz").read_bytes()).decode("utf-8")
        held_out = (folder / "heldout.txt").read_text("utf-8")
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as e:
        raise Misconfigured(f"{folder} must hold training.txt.xz and heldout.txt: {e}") from e
    return [*training.split(SEPARATOR), *held_out.split(SEPARATOR)]


class Base:
    """Next-token distributions of the public text. About 12 bytes a token of it in memory; well under 1 ms a context."""

    def __init__(self, documents: Sequence[IntArray], size: int) -> None:
        self._size = size
        end = np.array([size])
        text = np.concatenate([end, *(part for d in documents for part in (d, end))])
        self._reversed = np.concatenate([text[::-1], np.full(DEPTH, size)]).astype(np.uint16)
        self._suffixes = _suffix_array(self._reversed)
        self._suffixes = self._suffixes[self._suffixes > 0]
        self._next = self._reversed[self._suffixes - 1]
        self._starts = np.searchsorted(self._reversed[self._suffixes], np.arange(size + 2))

    @classmethod
    def of_public_text(cls, folder: Path, vocabulary: Vocabulary) -> Base:
        """Read and count all public text of a folder; a second or two."""
        return cls([vocabulary.encode(d) for d in public_documents(folder)], vocabulary.size)

    def distribution(self, context: IntArray) -> FloatArray:
        """p(w) for every token w after `context`: all positive; the sum is 1 but for rounding."""
        p = np.full(self._size, 1.0 / self._size)
        for order, followers in zip(PUBLIC, self._public(context), strict=False):
            p = _lean(followers, p, order)
        for order, followers in zip(PROMPT, self._prompt(context), strict=False):
            p = _lean(followers, p, order)
        return p

    def _public(self, context: IntArray) -> list[IntArray]:
        """Counts of what followed the last 0, 1, 2 … tokens in public text, as long as they occur there."""
        low, high = 0, int(self._starts[self._size])
        found = [self._count(self._next[low:high])]
        for k, token in enumerate(context[::-1][:DEPTH]):
            if k == 0:
                low, high = int(self._starts[token]), int(self._starts[token + 1])
            else:
                column = self._reversed[self._suffixes[low:high] + k]
                low, high = (low + int(np.searchsorted(column, token, side)) for side in ("left", "right"))
            if low == high:
                break
            found.append(self._count(self._next[low:high]))
        return found

    def _prompt(self, context: IntArray) -> list[IntArray]:
        """The same for the prompt itself."""
        found = [self._count(context)]
        at = np.arange(1, len(context))
        for k in range(1, len(PROMPT)):
            at = at[at >= k]
            at = at[context[at - k] == context[len(context) - k]] if len(context) >= k else at[:0]
            if not len(at):
                break
            found.append(self._count(context[at]))
        return found

    def _count(self, tokens: npt.NDArray[np.integer]) -> IntArray:
        return np.bincount(tokens, minlength=self._size)[: self._size]


def _lean(counts: IntArray, shorter: FloatArray, order: Order) -> FloatArray:
    n, t = int(counts.sum()), int(np.count_nonzero(counts))
    return (np.maximum(counts - order.discount, 0.0) + (order.discount * t + order.lean) * shorter) / (n + order.lean)


def _suffix_array(text: npt.NDArray[np.uint16]) -> npt.NDArray[np.int32]:
    """Positions of `text` (its last `DEPTH` left out) sorted by the `DEPTH` tokens from there on, by doubling."""
    rank = text.astype(np.int64)
    width = 1
    order = np.argsort(rank, kind="stable")
    while width < DEPTH:
        following = np.zeros_like(rank)
        following[:-width] = rank[width:]
        key = rank * (int(rank.max()) + 1) + following
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        rank[order] = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
        width *= 2
    return order[order < len(text) - DEPTH].astype(np.int32)
