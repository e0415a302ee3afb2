"""A copier after the truth jumps: what liquid α takes from it, and what it gives back.

Validators of equal stake agree on two miners for long, then the first one's share jumps by `size`. The honest see it
at once, a copier `late` rounds after. Its *relative dividend* is its own over an honest one's. Under liquid α bonds
move fast where a validator is ahead of the consensus or sells. So the honest run away from a copier that waits; once it
copies, it sells as fast, and has caught up while a fixed α would still have it pay.

Opentensor's working paper on consensus-based weights puts the penalty at 33% for a jump of .5 and 6% for one of .1, and
finds that liquid α helps the copier after round 8. With the defaults here the means over the first four rounds are 33%
and 6.5%, and help begins in the round of the first copy. The paper leaves open where its signal starts and over which
rounds it averages; its α came from a miner's consensus, while subtensor's of today, and davy's, comes from the pair.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from davy.incentive.mechanism import Params
from davy.sims.market import within
from davy.sims.tracing import Float, trace

_SETTLED: Final = 80
"""Rounds before the jump, after which bonds of m = .9 are within 2·10^-4 of where they go."""


@dataclass(frozen=True, kw_only=True)
class Jump:
    """Defaults give the figures of the working paper.

    Attributes
    ----------
    size
        Of the jump, in shares of the incentive.
    start
        The first miner's share before it.
    late
        Rounds that the copier is late: the concealment interval, if it copies what is revealed.
    rounds
        Followed after the jump.
    """

    size: float = 0.5
    start: float = 0.25
    late: int = 8
    validators: int = 10
    rounds: int = 24
    mechanism: str = "yuma3"
    params: Params = field(default_factory=Params)

    def __post_init__(self) -> None:
        within("start", self.start, 0, 1)
        within("size, added to start,", self.start + self.size, 0, 1)
        within("validators", self.validators, 3, 4096)
        within("rounds", self.rounds, 1, 1000)
        within("late", self.late, 0, self.rounds)

    def liquid(self) -> Jump:
        """The same under liquid α, between the bounds of the parameters."""
        return replace(self, params=replace(self.params, liquid_alpha=True))


def relative_dividend(j: Jump) -> Float:
    """The copier's dividend / an honest one's, in each round after the jump, [rounds]."""
    rounds = np.arange(-_SETTLED, j.rounds)
    first = np.full((len(rounds), j.validators), j.start)
    first[rounds >= 0, :-1] += j.size
    first[rounds >= j.late, -1] += j.size
    t = trace(np.stack([first, 1 - first], axis=-1), np.ones(j.validators), name=j.mechanism, params=j.params)
    return (t.dividends[:, -1] / t.dividends[:, :-1].mean(axis=1))[_SETTLED:]


def penalty(j: Jump) -> Float:
    """What liquid α takes of the copier's relative dividend, [rounds]: 1 − liquid / fixed; below 0 it gives."""
    return 1 - relative_dividend(j.liquid()) / relative_dividend(j)
