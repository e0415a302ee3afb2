"""Fit the constants of davy.tasks.base (how far each order leans on the shorter one) to the public generator.

    python -m bench.fit_base --challenges 3000

Coordinate search on the log-likelihood of true next tokens; prints both tables and the loss on challenges unseen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from davy.tasks.base import DEPTH, PROMPT, PUBLIC
from davy.tasks.corpus import Disguised, private_rng
from davy.tasks.rule import IntArray
from davy.tasks.task import Setting
from davy.tasks.text import PUBLIC_MATCH, Text

STEPS = (0.5, 0.7, 0.85, 0.95, 1.05, 1.2, 1.4, 2.0)
KINDS = (4, 3)  # public and prompt orders; those beyond share the last one's constants


class Everywhere(Text):
    """Asks also where the base is sure: constants fitted only where it is not would teach it never to be."""

    def may_ask(self, ids: IntArray) -> bool:
        return self.base.longest_match(ids) <= PUBLIC_MATCH


def counts(task: Text, models: Path, number: int, secret: bytes) -> np.ndarray:
    """[challenge, order, (n, t, n(truth))]: all that the likelihood of a truth depends on; public orders first."""
    corpus = Disguised.held_out(models)
    rng = private_rng(secret, netuid=0, epoch=0)
    found = np.zeros((number, DEPTH + 1 + len(PROMPT), 3))
    for i in range(number):
        c = task.challenge(rng, corpus)
        ids = task.vocabulary.encode(c.asked.prompt)
        public = [task.base.followers(*r) for r in task.base.ranges(ids)]
        for start, tables in ((0, public), (DEPTH + 1, task.base.within(ids))):
            for k, table in enumerate(tables):
                found[i, start + k] = table.sum(), np.count_nonzero(table), table[c.truth]
    return found


def loss(found: np.ndarray, constants: np.ndarray, size: int) -> float:
    """Mean nats a truth; constants [public | prompt, kind, (D, A)]."""
    p = np.full(len(found), 1.0 / size)
    for k in range(found.shape[1]):
        part, order = (0, k) if k <= DEPTH else (1, k - DEPTH - 1)
        discount, lean = constants[part][min(order, KINDS[part] - 1)]
        n, t, own = found[:, k].T
        here = (np.maximum(own - discount, 0) + (discount * t + lean) * p) / (n + lean)
        p = np.where(n > 0, here, p)
    return float(-np.log(p).mean())


def fit(found: np.ndarray, constants: np.ndarray, size: int, rounds: int) -> np.ndarray:
    best = loss(found, constants, size)
    for _ in range(rounds):
        for place in np.ndindex(constants.shape):
            for step in STEPS:
                tried = constants.copy()
                tried[place] *= step
                if (place[2] == 1 or tried[place] < 1.0) and (now := loss(found, tried, size)) < best:
                    best, constants = now, tried
    return constants


def main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--challenges", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--models", type=Path, default=Setting().models)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    task = Everywhere(Setting(models=options.models, cache=options.cache))
    seen, unseen = (counts(task, options.models, options.challenges, secret) for secret in (b"fit", b"check"))
    start = np.zeros((2, max(KINDS), 2))
    for part, table in enumerate((PUBLIC, PROMPT)):
        start[part, : KINDS[part]] = table[: KINDS[part]]
    fitted = fit(seen, start, task.vocabulary.size, options.rounds)
    for name, table, kinds in zip(("PUBLIC", "PROMPT"), fitted, KINDS, strict=True):
        print(name, "=", ", ".join(f"Order({d:.3g}, {a:.3g})" for d, a in table[:kinds]))
    for name, table in (("as committed", start), ("fitted", fitted)):
        here, there = (loss(found, table, task.vocabulary.size) for found in (seen, unseen))
        print(f"{name}: {here:.4f} nats, unseen {there:.4f}")


if __name__ == "__main__":
    main()
