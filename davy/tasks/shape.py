"""What a challenge looks like: all that a miner sees of it but the text is taken from a request somebody really sent.

A validator that also relays users' requests lets `Shapes` observe them; a challenge then copies one of the last, drawn
at random: every field, and its prompt's size. Only a request at temperature 0 can lend its shape, since only there can
the emitted tokens be checked against the reported distribution.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import msgspec
import numpy as np

from davy.network.openai import CompletionRequest

LISTED: Final = 20
"""Log-probabilities asked for in every request: a gateway adds them to its users' requests and strips them."""
KEPT: Final = 4_096
LONGEST_PROMPT: Final = 4_096
"""Bytes; no challenge is as long."""


class Shape(NamedTuple):
    """A request without its prompt, and the size its prompt had."""

    prompt_bytes: int
    worn: CompletionRequest


class Shapes:
    """The last `KEPT` organic requests that can lend their shape; nothing of their text is kept."""

    def __init__(self) -> None:
        self._seen: deque[Shape] = deque(maxlen=KEPT)

    def __len__(self) -> int:
        return len(self._seen)

    def observe(self, r: CompletionRequest) -> bool:
        """Remember a user's request as it goes out to a miner; False if it cannot lend its shape."""
        size = len(r.prompt.encode())
        if r.temperature != 0 or r.logprobs != LISTED or size > LONGEST_PROMPT:
            return False
        bare = msgspec.structs.replace(r, prompt="-", model="-", return_tokens_as_token_ids=True)
        self._seen.append(Shape(size, bare))
        return True

    def draw(self, rng: np.random.Generator) -> Shape:
        """One of the requests observed; before there is any, a made-up one."""
        return self._seen[int(rng.integers(len(self._seen)))] if self._seen else ordinary(rng)


def ordinary(rng: np.random.Generator) -> Shape:
    """A made-up shape of ordinary size."""
    size = int(np.clip(rng.lognormal(mean=5.4, sigma=0.45), 80, 700))
    tokens = int(rng.choice([2, 4, 8], p=[0.25, 0.5, 0.25]))
    return Shape(size, outgoing(CompletionRequest(model="-", prompt="-", max_tokens=tokens, temperature=0.0)))


def outgoing(r: CompletionRequest, *, token_ids: bool = True) -> CompletionRequest:
    """A user's request as it goes out to a miner: log-probabilities are asked for, and no user is named.

    At temperature 0 `seed` and `top_p` change no answer and are left out: a challenge that wore a seed seen before
    would be known by it.

    Parameters
    ----------
    token_ids
        Whether tokens are named by id: True where the subnet pins a tokenizer (`text`), else False (`text-open`).
    """
    worn = msgspec.structs.replace(r, logprobs=LISTED, return_tokens_as_token_ids=token_ids, user=None)
    return msgspec.structs.replace(worn, seed=None, top_p=1.0) if r.temperature == 0 else worn


def dress(shape: Shape, *, model: str, prompt: str) -> CompletionRequest:
    """Put a prompt and a model into a shape."""
    return msgspec.structs.replace(shape.worn, model=model, prompt=prompt)
