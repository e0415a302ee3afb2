"""A task small enough for a thousand answers a second: which of sixteen letters comes next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from davy.miners.simple import SimpleBackend
from davy.network.openai import CompletionRequest, CompletionResponse
from davy.protocol.errors import BadAnswer
from davy.tasks.task import ANY_MODEL, Corpus, FloatArray, Generator

LETTERS = "abcdefghijklmnop"
_TOKENS = tuple(map(ord, LETTERS))
_FLOOR = 1e-3


def next_letter(prompt: str) -> list[float]:
    """The true distribution after a prompt: mostly the letter after its last one."""
    p = [0.3 / 15] * 16
    p[(LETTERS.index(prompt[-1]) + 1) % 16] = 0.7
    return p


class GuessChallenge(NamedTuple):
    prompt: str
    truth: int


class NoCorpus:
    def text(self, rng: Generator, characters: int) -> str:
        return ""


class Guess:
    """Log score of the reported distribution, smoothed; the baseline answers uniformly."""

    def challenge(self, rng: Generator, corpus: Corpus) -> GuessChallenge:
        prompt = "".join(LETTERS[i] for i in rng.integers(16, size=6))
        return GuessChallenge(prompt, int(rng.choice(16, p=next_letter(prompt))))

    def request(self, c: GuessChallenge) -> CompletionRequest:
        return CompletionRequest(
            ANY_MODEL, c.prompt, max_tokens=1, temperature=0.0, logprobs=16, return_tokens_as_token_ids=True
        )

    def parse(self, c: GuessChallenge, r: CompletionResponse) -> dict[int, float]:
        logs = r.choices[0].logprobs
        if logs is None or len(logs.top_logprobs) != 1:
            raise BadAnswer("no distribution over the next letter")
        return {int(k.removeprefix("token_id:")) - ord("a"): math.exp(v) for k, v in logs.top_logprobs[0].items()}

    def score(self, c: GuessChallenge, answers: Sequence[Mapping[int, float] | None]) -> FloatArray:
        return np.array([math.log(max((a or {}).get(c.truth, 0.0), _FLOOR)) for a in answers])

    def baseline(self, c: GuessChallenge) -> float:
        return math.log(1 / 16)


class Guesser(SimpleBackend):
    """Mixes the truth with ignorance: `knowledge` 1 knows the distribution, 0 nothing."""

    context = 256

    def __init__(self, knowledge: float) -> None:
        self._knowledge = knowledge

    def learn(self, knowledge: float) -> None:
        """Know more, or less, from now on."""
        self._knowledge = knowledge

    def next_token(self, tokens: Sequence[int]) -> Mapping[int, float]:
        known, unknown = self._knowledge, (1 - self._knowledge) / 16
        p = next_letter(bytes(tokens).decode())
        return {token: known * x + unknown for token, x in zip(_TOKENS, p, strict=True)}
