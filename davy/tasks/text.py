"""The task `text`: predict the next token of documentation nobody has seen, in the subnet's pinned tokenizer.

A challenge is a prompt and a private true next token; a miner sees an ordinary completion request. What is scored is
the distribution it reports for the first token, by the rule of davy.tasks.rule. Later tokens are checked (each the
reported most likely one, the text theirs) but not scored: they follow the miner's own first token, not the truth, so
there is no truth for them. Log-probabilities of the prompt itself (`echo`) are never asked for: they would be scored on
what was handed out with the request.

An answer that failed, was late or never came scores `ABSENT` less than the base. A miner can always answer with the
base itself, which is public, so not answering never pays.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from davy.network.openai import CompletionRequest, CompletionResponse
from davy.protocol.errors import Misconfigured
from davy.tasks import rule
from davy.tasks.answer import Answer, read_tokens
from davy.tasks.base import Base
from davy.tasks.rule import IntArray
from davy.tasks.shape import Shape, dress, ordinary
from davy.tasks.task import ANY_MODEL, Corpus, FloatArray, Generator, Setting
from davy.tasks.vocabulary import Vocabulary

ABSENT: Final = 1.0
"""Nats below the base that an absent answer scores."""
LONGEST: Final = 352
"""Tokens of a prompt, at most."""
CONTEXT: Final = 384
"""Tokens of a prompt and its answer: they must fit into the context of the smallest models served."""
SPREAD: Final = 0.15
"""A prompt's size lies within this share of the size it imitates."""
UNSURE: Final = 0.2
PUBLIC_MATCH: Final = 2
"""What a search can answer is not asked: a place is taken only where the base gives no token more than `UNSURE`, and no
more than `PUBLIC_MATCH` of the prompt's last tokens stand in this order in published text. Both depend on the prompt
alone, so that the choice tells nothing of the truth, and the rule stays proper."""
FOLLOWS: Final = 8
"""Tokens kept of what follows, for those who speak another vocabulary and for the log."""
ATTEMPTS: Final = 200
WORN: Final = 20
"""Of them, so many wear what users sent; a user may have sent nothing that can be worn."""


class TextChallenge(NamedTuple):
    """What is asked, and what really follows: its first token, its first characters; these stay with the validator."""

    asked: CompletionRequest
    truth: int
    follows: str


class Text:
    """Pinned: every miner of the subnet speaks the same vocabulary."""

    def __init__(self, setting: Setting) -> None:
        self.vocabulary = Vocabulary(setting.tokenizer)
        self.base = Base.of_public_text(setting.models, self.vocabulary, setting.cache)
        self.shapes = setting.shapes
        self._base_after = lru_cache(maxsize=1024)(self._base_of)

    def challenge(self, rng: Generator, corpus: Corpus) -> TextChallenge:
        """Draw a text and a place in it.

        Raises
        ------
        Misconfigured
            `ATTEMPTS` texts held no place where a prompt's tokens are the beginning of the text's tokens.
        """
        for n in range(ATTEMPTS):
            # Anew: a user's prompt may be longer than what is asked here.
            shape = self.shapes.draw(rng) if n < WORN else ordinary(rng)
            text = corpus.text(rng, int(shape.prompt_bytes * (1 + SPREAD)) + 64)
            ids = self.vocabulary.encode(text)
            cut = self._cut(ids, shape, rng)
            if cut is not None:
                prompt = self.vocabulary.bytes_of(ids[:cut]).decode()
                follows = self.vocabulary.bytes_of(ids[cut : cut + FOLLOWS]).decode("utf-8", "replace")
                return TextChallenge(dress(shape, model=ANY_MODEL, prompt=prompt), int(ids[cut]), follows)
        raise Misconfigured("no text of the corpus gives a prompt of ordinary size; give it longer documents")

    def _cut(self, ids: IntArray, shape: Shape, rng: Generator) -> int | None:
        """A random place, of fitting size, that may be asked."""
        ends = np.cumsum([len(self.vocabulary.token_bytes[int(i)]) for i in ids])
        size = shape.prompt_bytes
        places = 1 + np.flatnonzero((ends >= size * (1 - SPREAD)) & (ends <= size * (1 + SPREAD)))
        places = places[places <= min(LONGEST, CONTEXT - shape.worn.max_tokens)]
        return next(
            (int(p) for p in rng.permutation(places[places + FOLLOWS <= len(ids)]) if self.may_ask(ids[:p])), None
        )

    def may_ask(self, ids: IntArray) -> bool:
        """These tokens are exactly those of their text, and a search does not know how it goes on."""
        if self.base.longest_match(ids) > PUBLIC_MATCH or float(self.base.distribution(ids).max()) > UNSURE:
            return False
        raw = self.vocabulary.bytes_of(ids)
        prompt = raw.decode("utf-8", "replace")
        return prompt.encode() == raw and np.array_equal(self.vocabulary.encode(prompt), ids)

    def request(self, c: TextChallenge) -> CompletionRequest:
        return c.asked

    def parse(self, c: TextChallenge, r: CompletionResponse) -> Answer:
        return read_tokens(r, c.asked, self.vocabulary)

    def score(self, c: TextChallenge, answers: Sequence[Answer | None]) -> FloatArray:
        """Nats; see the head of this file."""
        base = self._base_after(c.asked.prompt)
        absent = self.baseline(c) - ABSENT
        return np.array([absent if a is None else self._score(c, a, base) for a in answers])

    def baseline(self, c: TextChallenge) -> float:
        base = self._base_after(c.asked.prompt)
        return rule.score(base, c.truth, base)

    def _base_of(self, prompt: str) -> FloatArray:
        return self.base.distribution(self.vocabulary.encode(prompt))

    @staticmethod
    def _score(c: TextChallenge, a: Answer, base: FloatArray) -> float:
        first = a.positions[0]
        return rule.score(rule.spread(first.listed, np.exp(first.logprobs), base), c.truth, base)
