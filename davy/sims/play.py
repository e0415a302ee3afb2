"""A chunk of runs through all epochs: the honest arm and the attacked one side by side, under the same draws.

Until the attackers begin the two are one, and played as one: the first axis of an array, 2 from then on, is 1.

An epoch: the world moves; validators measure and commit; commits that are due are revealed, or not; the mechanism of
`davy.incentive` turns stake and rows in force into shares, and `paying` these into base units.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from davy.incentive.accelerated import accelerated
from davy.incentive.fixed_point import U16, Bool, Int64, UInt16
from davy.incentive.masks import NO_COMMIT
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult
from davy.incentive.registry import mechanism
from davy.sims.attack import Attack, View, as_weights
from davy.sims.audits import Audits
from davy.sims.experiment import Scenario
from davy.sims.holding import Holding
from davy.sims.market import World
from davy.sims.measuring import ANY
from davy.sims.middle import middle
from davy.sims.noise import Draws, Purpose
from davy.sims.paying import SIDES, Paid, paying
from davy.sims.revealed import Revealed
from davy.sims.watch import Watch

Number = TypeVar("Number", bound=np.generic)

ARMS: Final = ("honest", "attack")
COLUMNS: Final = (
    "attack_validators", "attack_miners", "honest_validators", "honest_miners", "owner", "lost", "spent", "invested",
    "bought", "hurt", "noticed",
)  # fmt: skip
"""A run's numbers in an epoch, an arm each.

Base units: paid to four sides and to the owner; not paid to anybody (burned or not minted); spent and invested by the
attackers; `hurt`, what those of the others lost who got less than in the honest arm. `bought`: the mean quality that
incentive went to, 1 is 16384. `noticed`: rows so far, in the attacked arm the attackers' (and their miners that most
validators know), in the honest one anybody's.
"""
_PAID: Final = [COLUMNS.index(side) for side in SIDES]
_SPENT, _INVESTED, _NOTICED = (COLUMNS.index(name) for name in ("spent", "invested", "noticed"))


class Commit(NamedTuple):
    """Rows [arms, runs, V, M] put forward at a block."""

    rows: UInt16
    at: int


class Play:
    """The state of a chunk between epochs."""

    def __init__(self, s: Scenario, runs: range, *, compiled: bool = False) -> None:
        m, seats, self.s, self.runs = s.market, s.seats, s, len(runs)
        self.seats = seats
        self.world = World(m, seats, s.attack.stake, s.seed, runs, compiled=compiled)
        self.draws = Draws(s.seed, runs, Purpose.ATTACK, compiled=compiled)
        self.stake = self.world.stake[None]
        shape = (1, self.runs, seats.rows, seats.columns)
        self.mechanism = accelerated(s.mechanism) if compiled else mechanism(s.mechanism)
        self.state = self.mechanism.initial(shape)
        self.force = np.zeros(shape, dtype=np.uint16)
        self.updated = np.zeros(shape[:-1], dtype=np.int64)
        self.permits = np.ones(shape[:-1], dtype=np.bool_)
        self.open: deque[Commit] = deque()
        self.public = Revealed(s.attack.looks_back)
        self.before = np.zeros((self.runs, seats.attack_rows, seats.columns), dtype=np.int64)
        self.alarms = np.zeros((1, 1, 1), dtype=np.int64)
        self.paid = np.zeros((self.runs, seats.rows), dtype=np.int64)
        self.kept: dict[int, Holding] = {}
        self.middle = middle(compiled=compiled)
        self.watch = Watch(compiled=compiled)
        self.noticed = np.zeros((2, self.runs, seats.rows), dtype=np.bool_)
        self.paying = paying(m, seats, compiled=compiled)
        self.exposed = False
        """Whether a halt of the attackers' doing stands, or stood, on the ledger."""
        self.audits = Audits(s, runs)
        attack = type(s.attack)
        self.looked_for = attack.judged is not Attack.judged or attack.convicted is not Attack.convicted
        """Whether validators look for what this attack does: else a score is what was measured."""
        self.moves_stake = attack.stakes is not Attack.stakes
        self.spends = [s.attack.spends(m, attacking=attacking) for attacking in (False, True)]

    def part(self) -> None:
        """From now on the arms may differ: what is so far is so in both."""
        self.state = BondState(twice(self.state.bonds))
        self.stake, self.permits = twice(self.stake), twice(self.permits)
        self.force, self.updated = twice(self.force), twice(self.updated)
        self.open = deque(Commit(twice(commit.rows), commit.at) for commit in self.open)

    def epoch(self, t: int) -> Int64 | None:
        """Play epoch t, from 0; `COLUMNS` [2, runs, columns] of it, from the attack's start on."""
        s, seats, tempo = self.s, self.seats, self.s.market.tempo
        self.world.advance()
        attacking = t >= s.begins
        if t == min(s.begins, s.start - 1):
            self.part()
        arms = (False, attacking)[: len(self.stake)]
        shown = [s.attack.shown(self.world.quality, seats, attacking=arm) for arm in arms]
        quality = np.stack([q.measured for q in shown])
        rows = self.measured(quality, attacking=attacking)
        self.audits.find(quality, self.alarms, attacking=attacking)
        due = self.commit_honest(rows, t)
        missed = self.reveal(due, rows, t)
        self.place_stake(rows, t)
        now = (t + 2) * tempo
        x = EpochInputs(
            weights=self.force,
            stake=self.stake,
            permits=self.permits,
            last_update=self.updated,
            registered_at=np.zeros(seats.columns, dtype=np.int64),
            earliest_commit=np.full(seats.rows, self.open[0].at if self.open else NO_COMMIT, dtype=np.int64),
            self_column=np.full(seats.rows, -1, dtype=np.int64),
            halted=self.halted(t - s.start),
            now=np.asarray(now, dtype=np.int64),
            previous_epoch=np.asarray(now - tempo, dtype=np.int64),
            owner_row=np.asarray(-1, dtype=np.int64),
            evidence=self.audits.evidence(None if due is None else due.rows, missed),
        )
        self.state, result = self.mechanism.epoch(self.state, x, s.params)
        self.permits = result.permits
        self.paid = (result.dividends[-1] << 30) // np.maximum(self.stake[-1] >> 10, 1)
        if s.watch and t >= s.start - 1:
            self.noticed = self.watch.see(self.force)
        if t < s.start:
            return None
        used = np.stack([q.used for q in shown])
        return self.told(self.paying.paid(result, used, missed), result, used, t - s.start)

    def halted(self, since: int) -> Bool:
        """Columns under a halt, [2, runs, M], or [M] where nobody is."""
        s, shape = self.s, (2, self.runs, self.seats.columns)
        stopped = [s.attack.stops(since, self.seats, attacking=a) if since >= 0 else () for a in (False, True)]
        self.exposed = self.exposed or stopped[0] != stopped[1]
        if not any(stopped):
            return np.zeros(shape[-1], dtype=np.bool_)
        halted = np.zeros(shape, dtype=np.bool_)
        for arm, columns in enumerate(stopped):
            halted[arm, :, list(columns)] = True
        return halted

    def measured(self, quality: Int64, *, attacking: bool) -> UInt16:
        """Weights [arms, runs, V, M] of validators that work, from the quality they see."""
        attack, seats = self.s.attack, self.seats
        looked_for = attacking and self.looked_for
        scores = self.world.scores(quality, ANY if looked_for else U16)
        if attacking:
            self.alarms = self.alarms + attack.alarms(self.draws, seats)
        if looked_for:
            wide = scores.astype(np.int64, copy=False)
            wide[1] = attack.convicted(attack.judged(wide[1], quality[1], seats), self.alarms, seats)
            scores = np.minimum(wide, U16)
        return scores.astype(np.uint16, copy=False)

    def commit_honest(self, rows: UInt16, t: int) -> Commit | None:
        """Commit this epoch's rows, and what is due now; what attackers commit is written into them by `reveal`."""
        self.open.append(Commit(rows, (t + 1) * self.s.market.tempo + 1))
        return self.open.popleft() if len(self.open) > self.s.market.concealment else None

    def reveal(self, due: Commit | None, rows: UInt16, t: int) -> Bool:
        """Rows that are due come into force; returns whose did not, [arms, runs, V]."""
        s, seats = self.s, self.seats
        missed = np.zeros(self.updated.shape, dtype=np.bool_)
        if due is None:
            return missed
        theirs, honest = seats.their_rows, seats.honest_rows
        self.public.add(due.rows[-1, :, honest])
        v = self.view(rows, t)
        if t >= s.begins and seats.attack_rows:
            rows[1, :, theirs] = as_weights(s.attack.rows(v))
            if s.market.concealment and t >= s.start:
                missed[1, :, theirs] = ~s.attack.reveals(due.rows[1, :, theirs].astype(np.int64), v)
        self.before = rows[-1, :, theirs].astype(np.int64)
        self.force = np.where(missed[..., None], self.force, due.rows) if missed.any() else due.rows
        self.updated = np.where(missed, self.updated, (t + 1) * s.market.tempo + 2)
        return missed

    def place_stake(self, rows: UInt16, t: int) -> None:
        """The attackers' stake may move as the attack counts; what counts of it they say."""
        theirs = self.seats.their_rows
        if t < self.s.start or not self.seats.attack_rows or not self.moves_stake:
            return
        due = self.force[1, :, theirs].astype(np.int64)
        counted = self.s.attack.stakes(due, self.view(rows, t), self.paid[:, theirs], self.kept)
        if counted is not None:
            self.stake[1, :, theirs] = counted

    def view(self, rows: UInt16, t: int) -> View:
        s = self.s
        return View(
            epoch=t - s.begins,
            seats=self.seats,
            market=s.market,
            params=s.params,
            own=rows[-1, :, self.seats.their_rows].astype(np.int64),
            stake=self.world.stake,
            revealed=self.public.ago,
            before=self.before,
            draws=self.draws,
            middle=self.middle,
        )

    def told(self, paid: Paid, result: EpochResult, used: Int64, since: int) -> Int64:
        """`COLUMNS` of the epoch `since` the attack's start."""
        s, told = self.s, np.empty((2, self.runs, len(COLUMNS)), dtype=np.int64)
        told[..., _PAID] = paid.sides
        told[..., _SPENT] = np.array(self.spends)[:, None]
        told[..., _INVESTED] = np.array([0, s.attack.invests(s.market) if since == 0 else 0])[:, None]
        told[0, :, _NOTICED] = self.noticed[0].sum(axis=-1)
        told[1, :, _NOTICED] = self.noticed[1, :, self.seats.their_rows].sum(axis=-1)
        told[1, :, _NOTICED] += s.attack.caught(self.alarms) + self.exposed
        return told


def twice(array: NDArray[Number]) -> NDArray[Number]:
    """Of one arm, for both."""
    return np.concatenate([array, array])


def play(s: Scenario, runs: range, *, compiled: bool = False) -> Int64:
    """Runs of a scenario, [2, runs, epochs, columns]: arms as `ARMS`, numbers as `COLUMNS`, from the attack's start."""
    p = Play(s, runs, compiled=compiled)
    told = [p.epoch(t) for t in range(s.start + s.epochs)]
    return np.stack([each for each in told if each is not None], axis=2)
