"""A search of all public text, held-out documents included: what a cheat with a good index and no model can say.

The longest end of the prompt that occurs in the text is found, and all that followed it, then the next shorter one, and
so on; estimates lean on the shorter ones by Witten and Bell's rule (p_k = (n + t·p_{k−1}) / (N + t), with N occurrences
and t distinct followers), so it is honest about how little a rare match proves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from davy import models
from davy.miners.simple import SimpleBackend
from davy.miners.vocabulary import TokenizerFile

_LONGEST: Final = 24
_OCCURRENCES: Final = 512
_LISTED: Final = 64


class Lookup(SimpleBackend):
    """Searches the text that davy ships: everything its own models ever saw, and everything challenges are made of."""

    name = "lookup"
    slow = True

    def __init__(self, folder: Path) -> None:
        tokenizer = TokenizerFile(folder / "tokenizer.json")
        self.vocabulary, self._size = tokenizer, tokenizer.size
        documents = (*models.training(), *models.heldout())
        # uint16, so that a search for bytes is a search for tokens where it begins at an even place
        self._text = np.array(tokenizer.encode(models.SEPARATOR.join(documents)), dtype=np.uint16).tobytes()

    def next_token(self, tokens: Sequence[int]) -> Mapping[int, float]:
        end = np.array(tokens[-_LONGEST:], dtype=np.uint16).tobytes()
        p = np.full(self._size, 1.0 / self._size)
        for length in range(1, len(tokens[-_LONGEST:]) + 1):
            followed = self._followers(end[-2 * length :])
            if not followed:
                break
            seen = Counter(followed)
            p *= len(seen) / (len(followed) + len(seen))
            for token, times in seen.items():
                p[token] += times / (len(followed) + len(seen))
        likely = np.argsort(-p, kind="stable")[:_LISTED]
        return {int(t): float(p[t]) for t in likely}

    def _followers(self, end: bytes) -> list[int]:
        found: list[int] = []
        at = self._text.find(end)
        while at >= 0 and len(found) < _OCCURRENCES:
            after = at + len(end)
            if at % 2 == 0 and after + 2 <= len(self._text):
                found.append(int.from_bytes(self._text[after : after + 2], "little"))
            at = self._text.find(end, at + 1)
        return found
