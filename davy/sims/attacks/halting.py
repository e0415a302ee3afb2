"""Keyholders who abuse the brake: halts of honest miners, halts that are not lifted, leases that are not given.

An epoch lasts `hours`. Whether the victims run at its end is the live verdict on real orders; what they lose is not
minted, by the live epoch, and goes to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from davy.protocol.errors import Malformed, Misconfigured
from davy.protocol.limits import DAY_MS, HALT_TERM_MS, LEASE_TERM_MS
from davy.protocol.order import OrderId
from davy.protocol.roster import check_thresholds
from davy.sims.attack import Attack
from davy.sims.brake import HOUR_MS, START, Brake
from davy.sims.market import Market, Seats, base_units, within

_RENEWED: Final = LEASE_TERM_MS - 10 * DAY_MS
"""After a LEASE, honest keyholders give the next one."""


@dataclass(frozen=True, kw_only=True)
class Halting(Attack):
    """Base of those that bribe keyholders against one registrant, whose models serve the first `victims` columns.

    Attributes
    ----------
    miners
        UIDs of the rivals who pay for it; what they hope for is the victims' part of the emission.
    victims
        Honest miners that are stopped together, by one order that names their registrant.
    keyholders, halt_threshold, lift_threshold
        Of the roster.
    corrupt
        Keyholders that were bribed, each for `bribe` tokens.
    systemic
        Whether the victims' models are: then a HALT ends by a LIFT only, and they run under a LEASE only.
    hours
        An epoch lasts so long.
    """

    validators: int = 0
    stake: float = 0.0
    miners: int = 8
    victims: int = 8
    keyholders: int = 5
    halt_threshold: int = 3
    lift_threshold: int = 4
    corrupt: int = 3
    bribe: float = 10.0
    systemic: bool = False
    hours: float = 24.0

    kind: str = field(default="halting", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            check_thresholds(self.halt_threshold, self.lift_threshold, self.keyholders)
        except Malformed as e:
            raise Misconfigured(str(e)) from None
        within("attack.halt_threshold", self.halt_threshold, 2, 255)
        within("attack.keyholders", self.keyholders, 2, 255)
        within("attack.corrupt", self.corrupt, 0, self.keyholders)
        within("attack.bribe", self.bribe, 0, 1e6)
        within("attack.victims", self.victims, 1, 4096)
        within("attack.hours", self.hours, 0.01, 24 * 365)

    @property
    def may_lift(self) -> bool:
        """Whether those who were not bribed are enough for the LIFT key."""
        return self.keyholders - self.corrupt >= self.lift_threshold

    def stops(self, epoch: int, seats: Seats, *, attacking: bool) -> tuple[int, ...]:
        known = _known(self, attacking)
        while len(known.ran) <= epoch:
            at = START + round((len(known.ran) + 1) * self.hours * HOUR_MS)
            known.act(at)
            known.ran.append(known.brake.runs(at))
        return () if known.ran[epoch] else tuple(range(min(self.victims, seats.columns - seats.attack_columns)))

    def begin(self, brake: Brake, *, attacking: bool) -> Days:
        """What keyholders do from the start on."""
        return Days(self, brake, attacking=attacking)

    def invests(self, m: Market) -> int:
        return self.corrupt * base_units(self.bribe)


class Days:
    """What the keyholders of one arm did so far. Here they give leases only, the first at the beginning."""

    def __init__(self, attack: Halting, brake: Brake, *, attacking: bool) -> None:
        self.attack, self.brake, self.attacking = attack, brake, attacking
        self.ran: list[bool] = []
        """Of each epoch, whether the victims ran at its end."""
        self.standing: list[OrderId] = []
        self.halted_at: int | None = None
        self.leased_at = START
        if attack.systemic:
            brake.lease(START)

    def act(self, at: int) -> None:
        """Give what orders this arm's keyholders give at this time."""
        speaks = not self.attacking or self.attack.may_lift
        if self.attack.systemic and speaks and self.halted_at is None and at >= self.leased_at + _RENEWED:
            self.brake.lease(at)
            self.leased_at = at

    def halt(self, at: int) -> None:
        self.standing.append(self.brake.halt(at))
        self.halted_at = at

    def lift(self, at: int) -> None:
        """End all that stands; a systemic model needs a new lease then."""
        self.brake.lift(at, self.standing)
        self.standing, self.halted_at = [], None
        if self.attack.systemic:
            self.brake.lease(at + 1)
            self.leased_at = at


@dataclass(frozen=True, kw_only=True)
class FalseHalts(Halting):
    """Keyholders were bribed to halt honest miners, and do so as long as they can.

    With the HALT key they stop an ordinary model again and again; the allowance gives them 21 of any 90 days, and then
    the model runs whatever they sign. A systemic one is stopped until the others lift it, for which they have to be
    enough for the LIFT key: with 3 of 5 bribed nobody can. What the victims lose is not minted, so the rivals who
    bribed gain nothing; all they buy is harm, and the griefing factor (ethresear.ch 2338) says how much for a token.
    No quantified source was found for abuse of a halt: the metric is davy's own.

    Attributes
    ----------
    deceived
        Keyholders that sign each false HALT in good faith, and its LIFT once they know.
    lift_after
        Hours until those who were not bribed know and lift a HALT, if they are enough.
    """

    deceived: int = 0
    lift_after: float = 24.0

    kind: str = field(default="false-halts", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.deceived", self.deceived, 0, self.keyholders - self.corrupt)
        within("attack.lift_after", self.lift_after, 0, 1e5)

    def begin(self, brake: Brake, *, attacking: bool) -> Days:
        return _Stopping(self, brake, attacking=attacking)


class _Stopping(Days):
    def __init__(self, attack: FalseHalts, brake: Brake, *, attacking: bool) -> None:
        super().__init__(attack, brake, attacking=attacking)
        self.lifted_after = round(attack.lift_after * HOUR_MS)
        self.signs = attack.corrupt + attack.deceived >= attack.halt_threshold

    def act(self, at: int) -> None:
        super().act(at)
        if not (self.attacking and self.signs):
            return
        if self.halted_at is not None and self.attack.may_lift and at >= self.halted_at + self.lifted_after:
            self.lift(at)
        elif self.halted_at is None or at >= self.halted_at + HALT_TERM_MS:
            self.halt(at - 1)


@dataclass(frozen=True, kw_only=True)
class RefusingToLift(Halting):
    """A halt was a mistake, and some keyholders refuse to sign its LIFT.

    All see after `lift_after` hours that the model is harmless. The LIFT key has the higher threshold, so few can
    refuse: n − t + 1 of n, two of five. An ordinary model's HALT ends by itself after a week and is not extended; a
    systemic model stays stopped for good. That is the price of "easy to stop, hard to restart": a veto that costs
    fewer bribes than a halt. Keyholder collusion is studied in ia.cr/2025/1582; on refusing no quantified source was
    found.

    Attributes
    ----------
    lift_after
        Hours from the HALT until the honest keyholders sign the LIFT.
    """

    corrupt: int = 2
    systemic: bool = True
    lift_after: float = 24.0

    kind: str = field(default="refusing-to-lift", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.lift_after", self.lift_after, 0, 1e5)

    def begin(self, brake: Brake, *, attacking: bool) -> Days:
        return _Refusing(self, brake, attacking=attacking)


class _Refusing(Days):
    def __init__(self, attack: RefusingToLift, brake: Brake, *, attacking: bool) -> None:
        super().__init__(attack, brake, attacking=attacking)
        self.lifted_after = round(attack.lift_after * HOUR_MS)

    def act(self, at: int) -> None:
        super().act(at)
        if not self.ran:
            self.halt(at - 1)
        elif (
            self.halted_at is not None
            and at >= self.halted_at + self.lifted_after
            and (self.attack.may_lift or not self.attacking)
        ):
            self.lift(at)


@dataclass(frozen=True, kw_only=True)
class SilenceUnderLeases(Halting):
    """Keyholders do nothing: no lease is given any more, and systemic models stop by themselves.

    A systemic model runs under a LEASE of 30 days, and three days of grace. Honest keyholders give the next one ten
    days before the end. With n − t + 1 of n silent the LIFT key gives none, and after at most 33 days every systemic
    model has stopped, without an order that anybody could be blamed for. A dead man's switch makes silence a halt;
    that is meant, and it makes silence worth a bribe. No quantified source was found.
    """

    corrupt: int = 2
    systemic: bool = True

    kind: str = field(default="silence-under-leases", init=False, repr=False)


@lru_cache(maxsize=64)
def _known(attack: Halting, attacking: bool) -> Days:
    """One history for all chunks of runs: nothing of it depends on chance."""
    brake = Brake(attack.keyholders, attack.halt_threshold, attack.lift_threshold, systemic=attack.systemic)
    return attack.begin(brake, attacking=attacking)
