"""Predicts a byte from the three before it, counted in a text file of yours."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from davy.miners.simple import SimpleBackend


class Trigram(SimpleBackend):
    name = "trigram"
    licence = "Apache-2.0"

    def __init__(self, corpus: Path) -> None:
        text = corpus.read_bytes()
        self._after: defaultdict[bytes, Counter[int]] = defaultdict(Counter)
        for order in range(4):
            for i in range(len(text) - order):
                self._after[text[i : i + order]][text[i + order]] += 1

    def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
        last = bytes(tokens[-3:])
        counts = next(self._after[last[i:]] for i in range(len(last) + 1) if self._after.get(last[i:]))
        return {byte: n / (sum(counts.values()) + 1) for byte, n in counts.items()}
