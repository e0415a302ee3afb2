"""The clocks that a verdict is asked at, and which of them counts: always the one that stops more.

A HALT has ended when all clocks are past its end, so never on a node that has not seen the chain; what permits has
ended when any is. On the ledger both are block time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from davy.protocol.limits import FRESH_MS
from davy.protocol.words import UnixMillis


class Clocks(NamedTuple):
    """What a node knows of the time."""

    own: UnixMillis
    """Its own clock, a persisted maximum: a clock set back, or a restored backup, does not turn it back."""
    block: UnixMillis | None
    """Time of the newest block header it ever verified; None before the first."""
    heartbeat: UnixMillis | None = None
    """`issued` of the newest heartbeat it verified."""

    @property
    def ahead(self) -> UnixMillis:
        """The later clock: by it HALTs begin, and leases end."""
        return self.own if self.block is None else max(self.own, self.block)

    @property
    def behind(self) -> UnixMillis:
        """The earlier clock: by it HALTs end. 0 on a node that never saw the chain."""
        return 0 if self.block is None else min(self.own, self.block)

    @property
    def begun(self) -> UnixMillis:
        """The earlier clock that there is: by it leases begin."""
        return self.own if self.block is None else self.behind

    @property
    def seen(self) -> UnixMillis:
        """The newest sign of chain or keyholders; 0 before the first."""
        return max(self.block or 0, self.heartbeat or 0)

    @property
    def fresh_until(self) -> UnixMillis | None:
        """First moment of the own clock at which neither header nor heartbeat is fresh; None when that is now.

        Fresh is what lies within `FRESH_MS` of the own clock, before or after: by a clock that is far behind, every
        header would be fresh.
        """
        seen = [t for t in (self.block, self.heartbeat) if t is not None and abs(self.own - t) <= FRESH_MS]
        return max(seen) + FRESH_MS + 1 if seen else None


def clock_was_ahead(ahead: int) -> str:
    """Begin a sentence on a node whose own clock, a maximum, is so many milliseconds later than its machine's."""
    days, hours = divmod(ahead // 3_600_000, 24)
    return f"this node's clock was {days} days {hours} hours ahead once, and does not go back by itself"


def moment(t: UnixMillis) -> str:
    """A time as people write it, in UTC; as a number where no calendar reaches."""
    try:
        return datetime.fromtimestamp(t / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"{t} ms"
