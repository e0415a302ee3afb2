"""A search of all public text, held-out documents included: what a cheat with a good index and no model can say.

The longest end of the prompt that occurs in the text is found, and all that followed it, then the next shorter one, and
so on; estimates lean on the shorter ones by Witten and Bell's rule (p_k = (n + t·p_{k−1}) / (N + t), with N occurrences
and t distinct followers), so it is honest about how little a rare match proves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from davy.miners.simple import SimpleBackend
from davy.miners.vocabulary import TokenizerFile
from davy.tasks.base import Base
from davy.tasks.vocabulary import Vocabulary

_LISTED: Final = 64


class Lookup(SimpleBackend):
    """Searches all text that lies beside a model: what it was trained on, what challenges are made of, renditions."""

    name = "lookup"

    def __init__(self, folder: Path, cache: str = "") -> None:
        self.vocabulary = TokenizerFile(folder / "tokenizer.json")
        self._size = self.vocabulary.size
        kept = Path(cache) if cache else None
        self._text = Base.of_public_text(folder.parent, Vocabulary(folder / "tokenizer.json"), kept)

    def next_token(self, tokens: Sequence[int]) -> Mapping[int, float]:
        p = np.full(self._size, 1.0 / self._size)
        for low, high in self._text.ranges(np.asarray(tokens, dtype=np.int64))[1:]:
            followed = self._text.followers(low, high)
            occurrences, distinct = int(followed.sum()), int(np.count_nonzero(followed))
            if distinct:
                p = (followed + distinct * p) / (occurrences + distinct)
        likely = np.argsort(-p, kind="stable")[:_LISTED]
        return {int(t): float(p[t]) for t in likely}
