"""Eleven small cases of three validators and two miners, and what each validator earns on 1000 tokens of stake.

They are those that yuma-simulation (github.com/bactensor/yuma-simulation) charts to compare mechanisms: who moves to a
new miner before the others, with them or after them. A test holds the inputs to its own, and the dividends to what it
computes in floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from davy.incentive.fixed_point import BondFormat
from davy.incentive.mechanism import Params
from davy.sims.tracing import Float, Trace, trace

EPOCHS: Final = 40
EMISSION: Final = 100.0
"""Tokens an epoch."""
DIVIDENDS: Final = 0.41
"""Part of the emission that goes to validators."""
STAKE: Final = 1_000_000.0
"""Tokens on the subnet."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Three validators that begin with all weight on miner 0.

    Attributes
    ----------
    validators
        What each is called.
    moves
        For each validator, the epochs at which it puts all of its weight on the other miner.
    stake, later
        Shares, and those from epoch 6 on where they change.
    forget
        Epoch and column of the bonds that are forgotten before it, as when a UID changes hands.
    rows
        Epoch → weights [3, 2] from then on, instead of moves.
    """

    title: str
    validators: tuple[str, str, str]
    moves: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] = ((), (), ())
    stake: tuple[float, float, float] = (0.8, 0.1, 0.1)
    later: tuple[float, float, float] | None = None
    forget: tuple[int, int] | None = None
    rows: Mapping[int, tuple[tuple[float, float], ...]] = field(default_factory=dict[int, Any])

    def weights(self) -> Float:
        """[epochs, 3, 2]."""
        if self.rows:
            from_epoch = {start: np.array(rows, dtype=np.float64) for start, rows in self.rows.items()}
            return np.stack([from_epoch[max(s for s in from_epoch if s <= epoch)] for epoch in range(EPOCHS)])
        epochs = np.arange(EPOCHS)
        at = np.stack(
            [np.sum([epochs >= m for m in moves] or [epochs < 0], axis=0) % 2 for moves in self.moves], axis=1
        )
        return np.stack([at == 0, at == 1], axis=2).astype(np.float64)

    def stakes(self) -> Float:
        """[epochs, 3]."""
        rows = np.repeat(np.array(self.stake)[None], EPOCHS, axis=0)
        if self.later is not None:
            rows[6:] = self.later
        return rows

    def trace(self, name: str = "yuma3", params: Params | None = None) -> Trace:
        """Under a mechanism; bonds are kept in u16 by default, as on subtensor."""
        forget = {self.forget[0]: self.forget[1]} if self.forget else None
        return trace(self.weights(), self.stakes(), name=name, params=params or U16_BONDS, forget=forget)


U16_BONDS: Final = Params(bond_format=BondFormat.U16, permit_zero_stake=True, permit_tie_to_newer=True)


def per_1000(t: Trace) -> Float:
    """Tokens a validator earns in an epoch on 1000 tokens of its stake, [epochs, validators]; 0 without stake."""
    stake = t.stake * STAKE / 1000
    earned = DIVIDENDS * EMISSION * t.dividends
    return np.divide(earned, stake, out=np.zeros_like(earned), where=stake > 1e-6)


CASES: Final[tuple[Case, ...]] = (
    Case(title="the big one moves first", validators=("big", "lazy", "lazier"), moves=((1,), (2,), (3,))),
    Case(title="the big one moves second", validators=("big", "eager", "lazy"), moves=((2,), (1,), (3,))),
    Case(title="the big one moves third", validators=("big", "eager", "second"), moves=((3,), (1,), (2,))),
    Case(title="all move at once", validators=("big", "small", "small 2"), moves=((1,), (1,), (1,))),
    Case(
        title="the big one moves second, then third",
        validators=("big", "eager, eager", "eager, lazy"),
        moves=((2, 23), (1, 21), (1, 22)),
        forget=(20, 1),
    ),
    Case(
        title="the big one moves second, then all at once",
        validators=("big", "eager", "lazy"),
        moves=((2, 21), (1, 21), (3, 21)),
        forget=(21, 0),
    ),
    Case(
        title="the big one moves late, then all but one do",
        validators=("big", "eager, lazy", "eager, eager"),
        moves=((2, 22), (1, 22), (1, 21)),
        forget=(21, 0),
    ),
    Case(
        title="the big one moves late, twice",
        validators=("big, lazy", "eager", "eager 2"),
        moves=((2, 22), (1, 21), (1, 21)),
        forget=(20, 1),
    ),
    Case(
        title="two small ones merge in epoch 6",
        validators=("big", "small, grows", "small, goes"),
        moves=((0,), (0,), (0,)),
        later=(0.8, 0.2, 0.0),
    ),
    Case(title="the big one moves nine epochs late", validators=("big", "eager", "lazy"), moves=((10,), (1,), (11,))),
    Case(
        title="two big ones differ, and a small one decides",
        validators=("big 1", "big 2", "small"),
        stake=(0.49, 0.49, 0.02),
        rows={
            0: ((0.3, 0.7), (0.6, 0.4), (0.61, 0.39)),
            20: ((0.3, 0.7), (0.6, 0.4), (0.3, 0.61)),
        },
    ),
)
