"""Who tries to earn without a model, or with a worse one than it says: each reports a distribution for the next token.

An honest miner is here too. Every report goes through the same door: a whole completion response, at most 20 tokens
listed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from davy.models.checkpoint import manifest_of, open_checkpoint
from davy.models.int8 import quantise
from davy.network.openai import Choice, CompletionRequest, CompletionResponse, Logprobs
from davy.tasks.answer import Answer
from davy.tasks.base import Base, PublicText, renditions
from davy.tasks.reexecution import Reexecution
from davy.tasks.rule import IntArray
from davy.tasks.task import FloatArray
from davy.tasks.text import Text, TextChallenge

Reporter = Callable[[Sequence[TextChallenge]], list[FloatArray]]
"""Distributions over the whole vocabulary, one a challenge; only what a miner sees of it may be used."""


def respond(distributions: Sequence[FloatArray], task: Text, asked: CompletionRequest) -> CompletionResponse:
    """Write one distribution a position as a miner does: the most likely token is chosen, 20 are listed."""
    tops = [np.argsort(-d, kind="stable")[: asked.logprobs] for d in distributions]
    chosen = [int(t[0]) for t in tops]
    listed = [
        {f"token_id:{int(i)}": float(np.log(d[i])) for i in t if d[i] > 0}
        for d, t in zip(distributions, tops, strict=True)
    ]
    return CompletionResponse(
        id="cmpl-1",
        created=0,
        model=asked.model,
        choices=[
            Choice(
                index=0,
                text=task.vocabulary.bytes_of(chosen).decode("utf-8", "replace"),
                logprobs=Logprobs(
                    tokens=[f"token_id:{c}" for c in chosen],
                    token_logprobs=[top[f"token_id:{c}"] for c, top in zip(chosen, listed, strict=True)],
                    top_logprobs=listed,
                    text_offset=[0] * len(chosen),
                ),
                finish_reason="stop" if len(chosen) < asked.max_tokens else "length",
            )
        ],
    )


def answers(report: Reporter, task: Text, challenges: Sequence[TextChallenge]) -> list[Answer]:
    """What the validator reads of this reporter's answers."""
    return [task.parse(c, respond([d], task, c.asked)) for c, d in zip(challenges, report(challenges), strict=True)]


def model(folder: Path) -> Reporter:
    """A miner with the model in a folder."""
    run = Reexecution(folder, manifest_of(open_checkpoint(folder)))

    def report(challenges: Sequence[TextChallenge]) -> list[FloatArray]:
        order = sorted(range(len(challenges)), key=lambda i: len(challenges[i].asked.prompt))
        found = run.log_probabilities([challenges[i].asked.prompt for i in order], [[0]] * len(order))
        back = {i: np.exp(log[0]) for i, log in zip(order, found, strict=True)}
        return [back[i] for i in range(len(challenges))]

    return report


def int8(folder: Path) -> Reporter:
    """A miner with the model's int8 copy."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / folder.name
        quantise(folder, copy)
        return model(copy)


def constant(task: Text, text: PublicText) -> Reporter:
    """Always the same answer, and the best one: how often each token stands in public text."""
    counts = (
        np.bincount(np.concatenate(task.vocabulary.encode_all(text.training)), minlength=task.vocabulary.size) + 0.5
    )
    return lambda challenges: [counts / counts.sum()] * len(challenges)


class Search:
    """Search public text for stretches that end like the prompt; every length votes, smoothed (Witten & Bell 1991).

    Parameters
    ----------
    documents
        Token ids.
    prompt_too
        Whether the prompt itself is searched after the text.
    """

    def __init__(self, documents: Sequence[IntArray], task: Text, *, prompt_too: bool = True) -> None:
        self._text = Base(documents, [], task.vocabulary.size)
        self._task = task
        self._prompt_too = prompt_too

    @classmethod
    def published(cls, task: Text, text: PublicText, *, prompt_too: bool = True) -> Search:
        """All text shipped with the models, the held-out part too."""
        return cls(task.vocabulary.encode_all([*text.training, *text.held_out]), task, prompt_too=prompt_too)

    @classmethod
    def flooded(cls, task: Text, text: PublicText, *, seed: int, characters: int) -> Search:
        """All text and renditions of the attacker's own, more than the base has."""
        made = renditions(text, seed, characters)
        return cls(task.vocabulary.encode_all([*made, *text.training, *text.held_out]), task)

    def distribution(self, prompt: str) -> FloatArray:
        ids = self._task.vocabulary.encode(prompt)
        p = np.full(self._task.vocabulary.size, 1.0 / self._task.vocabulary.size)
        tables = [self._text.followers(*r) for r in self._text.ranges(ids)]
        for counts in [*tables, *(self._text.within(ids)[1:] if self._prompt_too else [])]:
            if kinds := np.count_nonzero(counts):
                p = (counts + kinds * p) / (counts.sum() + kinds)
        return p

    def __call__(self, challenges: Sequence[TextChallenge]) -> list[FloatArray]:
        return [self.distribution(c.asked.prompt) for c in challenges]


def mixed(report: Reporter, task: Text, share: float) -> Reporter:
    """Part of one's own distribution and part of the public base: who mixes cannot fall far below it."""

    def both(challenges: Sequence[TextChallenge]) -> list[FloatArray]:
        bases = (task.base.distribution(task.vocabulary.encode(c.asked.prompt)) for c in challenges)
        return [share * own + (1 - share) * base for own, base in zip(report(challenges), bases, strict=True)]

    return both
