"""Next-token logits, as every engine hands them over, and the ports of a model in memory.

An engine computes with arrays of its own; what leaves it is NumPy's, on the CPU, in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Logits: TypeAlias = npt.NDArray[np.float32]
"""[..., vocabulary]"""


class Keepable(Protocol):
    """Rows that advance together; `keep` leaves only some of them, in the order given."""

    def keep(self, rows: Sequence[int]) -> None: ...


R = TypeVar("R", bound=Keepable)


class Model(Protocol[R]):
    """Next-token logits of several rows at once: `davy.models.llama_numpy`, `llama_torch`, `automodel`."""

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> tuple[R, Logits]: ...

    def step(self, rows: R, tokens: Sequence[int]) -> Logits: ...


class Loaded(Model[R], Protocol[R]):
    """A model that can also be held against what it said: the logits inside whole sequences.

    `read` gives [B, last, V]; before the beginning of a sequence shorter than `last` stands anything.
    """

    def read(self, sequences: Sequence[Sequence[int]], last: int) -> Logits: ...


def log_softmax(logits: Logits) -> npt.NDArray[np.float64]:
    """Natural log-probabilities, in float64: those of a whole vocabulary must sum to one, not to a little more."""
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(-1, keepdims=True))
    return wide
