"""The seam of an attack: what it sees and what it may do. By default it does what the honest do.

An attack is a frozen dataclass with a story, and overrides as few of these methods as its story needs. All arrays have
the runs in front, and the attackers' rows and columns come last. Under `attacking` False the same seats are played
honestly: that is the arm an attack is measured against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np

from davy.incentive.fixed_point import U16, Bool, Int64, UInt16, row_normalise
from davy.incentive.mechanism import Params
from davy.incentive.weights import upscale_to_u16
from davy.protocol.errors import Misconfigured
from davy.sims.holding import Holding
from davy.sims.market import Market, Seats, base_units, within
from davy.sims.middle import Middle
from davy.sims.noise import UNIT, UNIT_BITS, Draws, in_units


@dataclass
class View:
    """What attackers know when they set the weights of an epoch.

    Attributes
    ----------
    epoch
        Epochs since the attackers began.
    own : [runs, a, M]
        What their validators measure, if they do.
    stake : [runs, V]
        Base units.
    revealed
        What `public` reads, as it was revealed.
    before : [runs, a, M]
        What the attackers put forward in the epoch before.
    draws
        The attack's own chance.
    middle
        How a median is worked out.
    """

    epoch: int
    seats: Seats
    market: Market
    params: Params
    own: Int64
    stake: Int64
    revealed: Callable[[int], UInt16]
    before: Int64
    draws: Draws
    middle: Middle

    def public(self, lag: int = 0) -> Int64:
        """Rows [runs, h, M] of the honest in force `lag` epochs ago: 0 at this epoch's end.

        The oldest where there are none so old. Under commit–reveal they were committed `concealment` epochs before;
        with open weights `public(0)` is what the honest have just set. `Attack.looks_back` says how many are kept.
        """
        return self.revealed(lag).astype(np.int64)

    def consensus(self, lag: int = 0) -> Int64:
        """Stake-weighted median of the public rows `lag` epochs ago, [runs, M] in weights of 14 bits."""
        rows, stake = self.revealed(lag), self.stake[:, self.seats.honest_rows]
        return scaled(self.middle(rows, stake, self.params.kappa))

    def average(self, lag: int = 0) -> Int64:
        """Stake-weighted mean of the public rows `lag` epochs ago, [runs, M] in weights of 14 bits."""
        rows, stake = self.public(lag), self.stake[:, self.seats.honest_rows]
        share = stake // np.maximum(stake.sum(axis=1, keepdims=True) >> 20, 1)
        return scaled((share[:, None, :] @ row_normalise(rows))[:, 0, :] >> 20)

    def each(self, row: Int64) -> Int64:
        """One row [runs, M] for every attacker: [runs, a, M]."""
        return np.repeat(row[:, None, :], self.seats.attack_rows, axis=1)


class Shown(NamedTuple):
    """Quality [runs, M], 1 is `UNIT`: as validators measure it, and as users get it."""

    measured: Int64
    used: Int64


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Nobody attacks.

    Attributes
    ----------
    validators, miners
        UIDs of the attackers.
    stake
        Their share of all stake.
    quality
        Of their miners, what users get of them and what it costs, unless the story says otherwise.
    """

    validators: int = 4
    stake: float = 0.25
    miners: int = 0
    quality: float = 0.6

    kind: str = field(default="honest", init=False, repr=False)

    def __post_init__(self) -> None:
        within("attack.validators", self.validators, 0, 4096)
        within("attack.miners", self.miners, 0, 4096)
        within("attack.stake", self.stake, 0, 0.99)
        within("attack.quality", self.quality, 0, 1)

    @property
    def looks_back(self) -> int:
        """Epochs of public rows that the attack reads, the newest of them included; at least 1."""
        return 1

    def rows(self, v: View) -> Int64:
        """Weights [runs, a, M] of the attackers' validators, each 0 to 65535."""
        return v.own

    def stakes(self, due: Int64, v: View, paid: Int64, kept: dict[int, Holding]) -> Int64 | None:
        """What the attackers' stake counts in the epoch that ends, [runs, a] in base units; None: what they began with.

        Asked before the mechanism, with their rows in force [runs, a, M] and, of the epoch before, dividends a unit of
        stake in Q30, `paid` [runs, a]. `kept` is theirs to keep, a run a place.
        """
        return None

    def reveals(self, due: Int64, v: View) -> Bool:
        """Which attackers reveal the row that is due, [runs, a], of `due` [runs, a, M]; asked under commits only.

        The others have revealed theirs: `v.public(0)`.
        """
        return np.ones(due.shape[:2], dtype=np.bool_)

    def shown(self, quality: Int64, seats: Seats, *, attacking: bool) -> Shown:
        """What all miners, [runs, M], show and give; `quality` is the world's, drawn for the attackers' columns too."""
        mine = quality.copy()
        mine[:, seats.their_columns] = in_units(self.quality)
        return Shown(mine, mine)

    def judged(self, scores: Int64, quality: Int64, seats: Seats) -> Int64:
        """What validators make of their scores, [runs, V, M], where they look for what this attack does.

        `quality` [runs, M] is what they measured with errors.
        """
        return scores

    def alarms(self, draws: Draws, seats: Seats) -> Int64:
        """Evidence against each of the attackers' miners, [runs, V, a], that validators found in an epoch."""
        return np.zeros((1, 1, 1), dtype=np.int64)

    def convicted(self, scores: Int64, alarms: Int64, seats: Seats) -> Int64:
        """Scores [runs, V, M] after what was found so far, `alarms` [runs, V, a]."""
        return scores

    def caught(self, alarms: Int64) -> Int64:
        """How many of the attackers' miners most validators know by now, [runs], or one number for all."""
        return np.zeros(1, dtype=np.int64)

    def stops(self, epoch: int, seats: Seats, *, attacking: bool) -> tuple[int, ...]:
        """Columns under a halt at the end of an epoch, counted from the attack's start; they earn nothing in it."""
        return ()

    def spends(self, m: Market, *, attacking: bool) -> int:
        """Base units that the attackers spend in an epoch."""
        working = self.validators * base_units(m.validating)
        return working + self.miners * (base_units(m.serving) * in_units(self.quality) >> UNIT_BITS)

    def invests(self, m: Market) -> int:
        """Base units that the attack burns for registrations as it begins, beyond those of the honest arm."""
        return 0

    def seated(self, validators: int, stake: float, miners: int) -> Self:
        """The same by these validators and miners of a running network; where `miners` is 0, its own ones join it."""
        return replace(self, validators=validators, stake=stake, miners=miners or self.miners)

    @property
    def story(self) -> str:
        """The attack in a paragraph, with its literature."""
        return " ".join((self.__doc__ or "").split("\n\n    Attributes")[0].split())


def scaled(shares: Int64) -> Int64:
    """Rows of shares in Q30 as weights whose largest is `UNIT`; a row of zeros stays one."""
    largest = np.maximum(shares.max(axis=-1, keepdims=True), 1)
    return shares * UNIT // largest


def as_weights(scores: Int64) -> Int64:
    """Scores, 1 is `UNIT`, as a ledger takes them: a u16.

    Raises
    ------
    Misconfigured
        One is below 0.
    """
    if (least := int(scores.min(initial=0))) < 0:
        raise Misconfigured(f"an attack gives a weight of {least}; the least is 0")
    return np.minimum(scores, U16)


def split(own: Int64, columns: slice, part: float, inside: Int64) -> Int64:
    """Rows [runs, a, M] that give `part` of their sum to `columns`, as `inside` [..., columns]; the rest as `own`."""
    theirs = np.zeros_like(own)
    theirs[..., columns] = inside
    rest = own.copy()
    rest[..., columns] = 0
    share = in_units(part)
    return upscale_to_u16(row_normalise(theirs) * share + row_normalise(rest) * (UNIT - share))
