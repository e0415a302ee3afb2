"""Which character comes next in a private text? Told by the first characters of a miner's likely tokens."""

import numpy as np

from davy.network.openai import CompletionRequest
from davy.tasks.answer import check_probabilities, choice_of
from davy.tasks.task import ANY_MODEL


# fmt: off
class Letters:
    def __init__(self, setting): ...
    def challenge(self, rng, corpus):
        return corpus.text(rng, 200)[:200]
    def request(self, c):
        return CompletionRequest(ANY_MODEL, c[:-1], max_tokens=1, temperature=0.0, logprobs=20)
    def parse(self, c, r):
        top = choice_of(r, self.request(c))[2].top_logprobs[0]
        check_probabilities(np.array([*top.values()]))
        return sum(np.exp(q) for token, q in top.items() if token.startswith(c[-1]))
    def score(self, c, answers):
        return [self.baseline(c) - 1 if q is None else np.log(0.01 / 95 + 0.99 * q) for q in answers]
    def baseline(self, c):
        return np.log(1 / 95)
