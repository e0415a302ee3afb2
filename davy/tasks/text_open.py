"""The task `text-open`: the same challenges for models with any tokenizer, scored on events all can speak of.

An event is the next byte of the text, and after a space the byte after it too: 255 + 256 events, exactly one of which
happens (a space alone would nearly always be the next byte, and tell nothing). A listed token counts for the event
its text begins with; a lone space for all events behind a space, as the base has them. What is not listed is spread
over all events in proportion to the base. The rule is that of davy.tasks.rule, proper in the distribution of events:
a model that lists its most likely tokens truthfully is scored below the distribution it holds by what its list leaves
out.

A prompt ends where the pinned tokenizer ends a token, at no special place for another one; that is the same for all
miners with another tokenizer, and those with the pinned one have an advantage. Pin a tokenizer where it matters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
import numpy as np

from davy.network.openai import CompletionRequest, CompletionResponse
from davy.protocol.errors import BadAnswer
from davy.tasks import rule
from davy.tasks.answer import TIE, check_probabilities, choice_of
from davy.tasks.task import Corpus, FloatArray, Generator, Setting
from davy.tasks.text import ABSENT, Text, TextChallenge

EVENTS: Final = 512
"""Event b < 256: the next byte is b, no space. Event 256 + b: a space, then b. Event 32 never happens."""
UNIFORM: Final = 1e-4
"""Share of the base that lies evenly on all events, so that each of them is possible."""
SPACE: Final = 0x20
_BYTES = re.compile(r"bytes:((?:\\x[0-9a-f]{2})+)")


class EventReport(NamedTuple):
    """Probabilities that a miner's list gives to events, and to a space whatever follows."""

    events: FloatArray
    space: float


class TextOpen:
    """Open: every miner reports tokens of its own vocabulary, as text."""

    def __init__(self, setting: Setting) -> None:
        self._pinned = Text(setting)
        self.shapes = setting.shapes
        self._event_of = np.array([event(b) for b in self._pinned.vocabulary.token_bytes])
        self._base_after = lru_cache(maxsize=1024)(self._base_of)

    def challenge(self, rng: Generator, corpus: Corpus) -> TextChallenge:
        return self._pinned.challenge(rng, corpus)

    def request(self, c: TextChallenge) -> CompletionRequest:
        """The same looks, but tokens are asked for as text: another vocabulary's ids would name nothing."""
        return msgspec.structs.replace(c.asked, return_tokens_as_token_ids=False)

    def parse(self, c: TextChallenge, r: CompletionResponse) -> EventReport:
        """Read the first position.

        Raises
        ------
        BadAnswer
            What `davy.tasks.answer.read_tokens` refuses, as far as it can be seen without the vocabulary.
        """
        text, _, log = choice_of(r, self.request(c))
        top = log.top_logprobs[0]
        if not 1 <= len(top) <= (c.asked.logprobs or 0) + 1:
            raise BadAnswer(f"{len(top)} listed tokens where 1 to {(c.asked.logprobs or 0) + 1} may stand")
        values = np.fromiter(top.values(), dtype=np.float64, count=len(top))
        check_probabilities(values)
        chosen = log.tokens[0]
        if chosen not in top or top[chosen] < float(values.max()) - TIE:
            raise BadAnswer("the chosen token is not the reported most likely one")
        if not text.encode().startswith(first := token_bytes(chosen)) and not first.startswith(text.encode()):
            raise BadAnswer("the text does not begin with the first reported token")
        report = EventReport(np.zeros(EVENTS), 0.0)
        for token, q in zip(top, np.exp(values), strict=True):
            e = event(token_bytes(token))
            if e == SPACE:
                report = report._replace(space=report.space + float(q))
            elif e >= 0:
                report.events[e] += q
        return report

    def score(self, c: TextChallenge, answers: Sequence[EventReport | None]) -> FloatArray:
        base = self._base_after(c.asked.prompt)
        truth = self._truth(c)
        absent = rule.score(base, truth, base) - ABSENT
        return np.array([absent if a is None else rule.score(complete(a, base), truth, base) for a in answers])

    def baseline(self, c: TextChallenge) -> float:
        base = self._base_after(c.asked.prompt)
        return rule.score(base, self._truth(c), base)

    @staticmethod
    def _truth(c: TextChallenge) -> int:
        return event(c.follows.encode())

    def _base_of(self, prompt: str) -> FloatArray:
        tokens = self._pinned.base.distribution(self._pinned.vocabulary.encode(prompt))
        some = self._event_of >= 0
        sums = np.bincount(self._event_of[some], weights=tokens[some], minlength=EVENTS)
        lone, sums[SPACE] = float(sums[SPACE]), 0.0
        sums[256:] *= 1.0 + lone / sums[256:].sum()
        return (1.0 - UNIFORM) * sums / sums.sum() + UNIFORM / EVENTS


def complete(report: EventReport, base: FloatArray) -> FloatArray:
    """A report as a distribution: a lone space's part over events behind a space, the rest over all, as `base`."""
    q = report.events.copy()
    q[256:] += report.space * base[256:] / base[256:].sum()
    total = float(q.sum())
    return q / max(total, 1.0) + max(0.0, 1.0 - total) * base


def event(token: bytes) -> int:
    """The event that a token's bytes begin; 32 for a lone space, which leaves it open; −1 for no bytes at all."""
    if not token:
        return -1
    if token[0] != SPACE:
        return token[0]
    return 256 + token[1] if len(token) > 1 else SPACE


def token_bytes(token: str) -> bytes:
    """Bytes of a token as miners write it: a text, or for part of a character ``bytes:`` and its bytes escaped."""
    match = _BYTES.fullmatch(token)
    return bytes.fromhex(match[1].replace("\\x", "")) if match else token.encode()
