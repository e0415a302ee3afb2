"""Rows of tokens for training: half documentation as it stands, half recombined and consistently renamed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from davy.tasks.rename import disguise
from training.tokenizer import END

Tokens = npt.NDArray[np.int64]
DISGUISED = 0.6  # of all rows


class Rows:
    """The row of every (step, place in the batch) under one seed; nothing depends on the rows asked for before."""

    def __init__(self, documents: Sequence[str], tokenizer: Tokenizer, seed: int, length: int) -> None:
        self._documents = documents
        self._tokenizer = tokenizer
        self._seed = seed
        self._length = length
        order = np.random.default_rng(seed).permutation(len(documents))
        shuffled = END.join(["", *(documents[int(i)] for i in order)])
        self._stream: Tokens = np.array(tokenizer.encode(shuffled).ids, dtype=np.int64)

    def batch(self, step: int, rows: int) -> Tokens:
        """[rows, length] token ids."""
        return np.stack([self._row(np.random.default_rng([self._seed, step, row])) for row in range(rows)])

    def _row(self, rng: np.random.Generator) -> Tokens:
        if rng.random() >= DISGUISED:
            start = int(rng.integers(len(self._stream) - self._length))
            return self._stream[start : start + self._length]
        ids: list[int] = []
        while len(ids) < self._length:
            chosen = self._some(rng, int(rng.integers(1, 5)))
            text = disguise(
                chosen, rng, characters=int(rng.integers(400, 1500)), noun_share=float(rng.uniform(0.2, 0.8))
            )
            ids += self._tokenizer.encode(END + text).ids
        return np.array(ids[: self._length], dtype=np.int64)

    def _some(self, rng: np.random.Generator, count: int) -> list[str]:
        return [self._documents[int(i)] for i in rng.integers(len(self._documents), size=count)]
