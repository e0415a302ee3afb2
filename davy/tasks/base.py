"""The public base distribution: what a search of all public text, and of the prompt itself, can say of the next token.

It is the search that a cheat would do, done for everybody: each stretch of public text (up to `DEPTH` tokens) that ends
like the prompt votes for what followed it, longer matches over shorter ones; then each stretch of the prompt that ends
like the prompt does the same. Public text is what is shipped with the models, and renditions of it: the generator of
challenges is public too, so anybody can run it under seeds of one's own and search what comes out.

Order k leans on order k − 1 by interpolated absolute discounting (Ney, Essen & Kneser 1994): with n(w) the count of w
after the last k tokens, n their sum and t the number of distinct w,

    p_k(w) = (max(n(w) − D, 0) + (D·t + A)·p_{k−1}(w)) / (n + A)

Counts are integers, and the few operations on float64 are elementwise in a fixed order (no sum of floats), so everybody
computes the same bits. Matches are ranges of one suffix array over the reversed text.
"""

from __future__ import annotations

import hashlib
import lzma
import os
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from davy.protocol.errors import Misconfigured
from davy.tasks.rename import disguise
from davy.tasks.rule import IntArray
from davy.tasks.task import FloatArray
from davy.tasks.vocabulary import Vocabulary

SEPARATOR: Final = "\n\f\n"
"""Between the documents of a public text."""
DEPTH: Final = 8
RENDITIONS: Final = 1_500_000
"""Characters of renditions; half of them of the held-out part."""
RENDITION_SEED: Final = 20_261_123

Tokens = npt.NDArray[np.uint16]


class Order(NamedTuple):
    """How an estimate leans on the shorter one: D a distinct token, A in any case. Fitted by bench/fit_base.py."""

    discount: float
    lean: float


PUBLIC: Final = (Order(0.0, 34.0), Order(0.42, 163.0), Order(0.81, 9.8), *[Order(0.4, 100.0)] * (DEPTH - 2))
PROMPT: Final = (Order(0.0, 6_700.0), Order(0.8, 2.1), Order(0.43, 0.001))


class PublicText(NamedTuple):
    """What is shipped beside the models."""

    training: list[str]
    held_out: list[str]


def read_public_text(folder: Path) -> PublicText:
    """Read training.txt.xz and heldout.txt.

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
    return PublicText(training.split(SEPARATOR), held_out.split(SEPARATOR))


def renditions(text: PublicText, seed: int, characters: int) -> list[str]:
    """Run the public generator over public text, training and held-out documents by turns."""
    rng = np.random.default_rng(seed)
    made: list[str] = []
    length = 0
    while length < characters:
        source = text.held_out if len(made) % 2 else text.training
        made.append(disguise([source[int(i)] for i in rng.integers(len(source), size=4)], rng, characters=1_500))
        length += len(made[-1])
    return made


class Base:
    """Next-token distributions of a public text.

    Parameters
    ----------
    published
        Token ids of the documents anybody can read.
    rendered
        Token ids of their renditions.
    size
        Of the vocabulary, below 65535.
    """

    def __init__(self, published: Sequence[IntArray], rendered: Sequence[IntArray], size: int) -> None:
        self._index(_joined([*rendered, *published], size), sum(len(d) + 1 for d in rendered), size)

    @classmethod
    def of_public_text(cls, folder: Path, vocabulary: Vocabulary, cache: Path | None = None) -> Base:
        """Count all public text of a folder: some seconds, less if `cache` keeps its tokens from an earlier time."""
        kept = None if cache is None else cache / _cache_name(folder, vocabulary)
        found = None if kept is None else _recall(kept)
        if found is None:
            text = read_public_text(folder)
            rendered = vocabulary.encode_all(renditions(text, RENDITION_SEED, RENDITIONS))
            published = vocabulary.encode_all([*text.training, *text.held_out])
            found = _joined([*rendered, *published], vocabulary.size), sum(len(d) + 1 for d in rendered)
            if kept is not None:
                _keep(kept, *found)
        base = cls.__new__(cls)
        base._index(*found, vocabulary.size)
        return base

    def _index(self, tokens: Tokens, rendered: int, size: int) -> None:
        self._size = size
        self._published = len(tokens) - rendered
        self._reversed = np.concatenate([tokens[::-1], np.full(DEPTH, size, dtype=np.uint16)])
        self._suffixes = _suffix_array(self._reversed, size + 1)
        self._next = self._reversed[self._suffixes - 1]
        self._starts = np.searchsorted(self._reversed[self._suffixes], np.arange(size + 2))
        self.followers = lru_cache(maxsize=512)(self._count_range)

    def distribution(self, context: IntArray) -> FloatArray:
        """p(w) of every token w after `context`: all positive; the sum is 1 but for rounding."""
        p = np.full(self._size, 1.0 / self._size)
        ranges = self.ranges(context)
        for order, (low, high) in zip(PUBLIC, ranges, strict=False):
            p = _lean(self.followers(low, high), p, order)
        for order, counts in zip(PROMPT, self.within(context), strict=False):
            p = _lean(counts, p, order)
        return p

    def longest_match(self, context: IntArray) -> int:
        """How many of the last tokens of `context`, `DEPTH` at most, stand in this order in published text."""
        ranges = self.ranges(context)
        return next((k for k in range(len(ranges) - 1, 0, -1) if self._is_published(*ranges[k])), 0)

    def _is_published(self, low: int, high: int) -> bool:
        return bool((self._suffixes[low:high] < self._published).any())

    def ranges(self, context: IntArray) -> list[tuple[int, int]]:
        """Where the last 0, 1, 2 … tokens of `context` stand in the suffix array, as far as they occur at all."""
        found = [(0, len(self._suffixes))]
        for k, token in enumerate(context[::-1][:DEPTH]):
            low, high = found[-1]
            if k == 0:
                low, high = int(self._starts[token]), int(self._starts[token + 1])
            else:
                low = self._first(low, high, k, int(token))
                high = self._first(low, high, k, int(token) + 1)
            if low == high:
                break
            found.append((low, high))
        return found

    def _first(self, low: int, high: int, k: int, token: int) -> int:
        """The first place of a range whose suffix has `token` or a greater one at k. Few are read: ranges are long."""
        return bisect_left(self._suffixes, token, low, high, key=lambda s: self._reversed[s + k])

    def within(self, context: IntArray) -> list[IntArray]:
        """Counts of what followed the last 0, 1, 2 … tokens within the prompt itself."""
        found = [self._count(context)]
        at = np.arange(1, len(context))
        for k in range(1, len(PROMPT)):
            at = at[at >= k]
            at = at[context[at - k] == context[len(context) - k]] if k <= len(context) else at[:0]
            if not len(at):
                break
            found.append(self._count(context[at]))
        return found

    def _count_range(self, low: int, high: int) -> IntArray:
        return self._count(self._next[low:high])

    def _count(self, tokens: npt.NDArray[np.integer]) -> IntArray:
        """How often each token occurs; ends of documents are left out."""
        return np.bincount(tokens, minlength=self._size + 1)[: self._size]


def _lean(counts: IntArray, shorter: FloatArray, order: Order) -> FloatArray:
    n, t = int(counts.sum()), int(np.count_nonzero(counts))
    return (np.maximum(counts - order.discount, 0.0) + (order.discount * t + order.lean) * shorter) / (n + order.lean)


def _joined(documents: Sequence[IntArray], size: int) -> Tokens:
    """All documents in a row, the token `size` before, between and after them."""
    end = np.array([size])
    return np.concatenate([end, *(part for d in documents for part in (d, end))]).astype(np.uint16)


def _suffix_array(text: Tokens, symbols: int) -> npt.NDArray[np.int64]:
    """Positions of `text`, without the first and the last `DEPTH`, sorted by the `DEPTH` tokens from there on.

    Four tokens make one number (1537⁴ < 2⁶³), two ranks of four tokens another one.
    """
    count = len(text) - DEPTH
    key = np.zeros(len(text) - 3, dtype=np.int64)
    for k in range(4):
        key = key * symbols + text[k : k + len(key)]
    order = np.argsort(key)
    rank = np.empty_like(order)
    rank[order] = np.concatenate([[0], np.cumsum(key[order][1:] != key[order][:-1])])
    both = rank[:count] * len(text) + rank[4 : 4 + count]
    suffixes = np.argsort(both, kind="stable")
    return suffixes[suffixes > 0]


def _keep(path: Path, tokens: Tokens, rendered: int) -> None:
    """SHA-256 of what follows, the number of rendered tokens in 8 bytes, the tokens; in place by one rename."""
    body = rendered.to_bytes(8, "little") + tokens.astype("<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(hashlib.sha256(body).digest() + body)
    partial.replace(path)


def _recall(path: Path) -> tuple[Tokens, int] | None:
    """What `_keep` kept; None if there is nothing, or not those bytes."""
    raw = path.read_bytes() if path.is_file() else b""
    if len(raw) < 40 or hashlib.sha256(raw[32:]).digest() != raw[:32]:
        return None
    return np.frombuffer(raw, dtype="<u2", offset=40).astype(np.uint16), int.from_bytes(raw[32:40], "little")


def _cache_name(folder: Path, vocabulary: Vocabulary) -> str:
    """Changes with the tokenizer, the texts and the way renditions are made."""
    h = hashlib.sha256(vocabulary.digest + b"%d %d" % (RENDITIONS, RENDITION_SEED))
    for path in (folder / "training.txt.xz", folder / "heldout.txt", Path(disguise.__code__.co_filename)):
        h.update(hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"")
    return f"base-{h.hexdigest()[:32]}.tokens"
