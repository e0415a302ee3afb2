"""From scores to weights: skill, its standard error, and the u16 on the ledger. Pure functions over `Standing`.

    skill  = mean over challenges of (score − public baseline's)
    weight ∝ max(0, skill − 2·standard error), from 128 challenges on

The average is linear: no ranks, no winner takes all, no clipping, since a non-linear map of a proper score pays for
overconfidence. Whose a standing is, and over which challenges, is for who keeps it (`davy.validators.standing`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, TypeVar

from msgspec import Meta

from davy.protocol.encoding import Wire
from davy.protocol.errors import Misconfigured
from davy.protocol.words import INT63, U16

MINIMUM: Final = 128
"""Challenges before a weight is given."""
STANDARD_ERRORS: Final = 2
UNIT: Final = 10_000
"""Steps in one nat: sums are integers, so merging in any order gives the same standing."""
LARGEST: Final = 1_000.0
"""Nats; no difference of a bounded rule comes near."""

K = TypeVar("K")


class Standing(Wire):
    """Sums over challenges of d = score − baseline, in units of 1/`UNIT` nat; `squares` in units of 1/`UNIT`² nat²."""

    count: Annotated[int, Meta(ge=0, le=INT63)]
    total: Annotated[int, Meta(ge=-INT63, le=INT63)]
    squares: Annotated[int, Meta(ge=0, le=INT63)]

    @property
    def skill(self) -> float:
        """Mean d in nats; 0 before the first challenge."""
        return self.total / self.count / UNIT if self.count else 0.0

    @property
    def error(self) -> float:
        """Standard error of `skill` in nats: √((Σd² − (Σd)²/n) / (n−1) / n); infinite below two challenges."""
        n = self.count
        if n < 2:
            return math.inf
        return math.sqrt((n * self.squares - self.total**2) / (n - 1)) / n / UNIT


EMPTY: Final = Standing(0, 0, 0)


def observe(standing: Standing, differences: Iterable[float]) -> Standing:
    """Add one d a challenge.

    Raises
    ------
    Misconfigured
        A difference that is not finite, or beyond `LARGEST`.
    """
    count, total, squares = standing.count, standing.total, standing.squares
    for d in differences:
        if not abs(d) <= LARGEST:
            raise Misconfigured(f"a score differs from the baseline's by {d} nats; the task's rule must be bounded")
        step = round(d * UNIT)
        count, total, squares = count + 1, total + step, squares + step * step
    return Standing(count, total, squares)


def merge(standings: Iterable[Standing]) -> Standing:
    """Add standings over different challenges; associative and commutative."""
    count = total = squares = 0
    for s in standings:
        count, total, squares = count + s.count, total + s.total, squares + s.squares
    return Standing(count, total, squares)


def weight(standing: Standing, *, minimum: int = MINIMUM) -> float:
    """max(0, skill − 2·error) in nats; 0 below `minimum` challenges."""
    if standing.count < max(2, minimum):
        return 0.0
    return max(0.0, standing.skill - STANDARD_ERRORS * standing.error)


def hopeless(standing: Standing, *, minimum: int = MINIMUM) -> bool:
    """Whether a quarter of the `minimum` leaves no hope of a weight: skill + 2·error ≤ 0."""
    return standing.count >= max(2, minimum // 4) and standing.skill + STANDARD_ERRORS * standing.error <= 0


def weights_u16(weights: Mapping[K, float]) -> dict[K, int]:
    """Scale linearly so that the largest weight becomes 65535; who rounds to zero is left out.

    Nothing is left if no weight is positive.

    Raises
    ------
    Misconfigured
        A weight that is negative or not finite.
    """
    if not all(0.0 <= w < math.inf for w in weights.values()):
        raise Misconfigured("weights are finite and not negative; take them from `weight`")
    largest = max(weights.values(), default=0.0)
    if largest == 0.0:
        return {}
    scaled = {key: round(w / largest * U16) for key, w in weights.items()}
    return {key: value for key, value in scaled.items() if value}
