"""The clocks that a verdict is asked at, and which of them counts: always the one that stops more.

A HALT has ended when all clocks are past its end, so never on a node that has not seen the chain; what permits has
ended when any is. On the ledger both are block time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

from davy.protocol.limits import DAY_MS, FRESH_MS
from davy.protocol.words import UnixMillis

_LAST_MOMENT_MS: Final = 253_402_300_799_999
"""The end of the year 9999: what calendars can say."""


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
    return f"this node's clock was {duration(ahead)} ahead once, and does not go back by itself"


def duration(ms: int) -> str:
    """A length of time as people read it, by its two largest units: none but 0 reads as nothing."""
    minutes, hours, days = ms // 60_000, ms // 3_600_000, ms // DAY_MS
    if days:
        return f"{days} days {hours % 24} hours"
    if hours:
        return f"{hours} hours {minutes % 60} minutes"
    return f"{minutes} minutes" if minutes else f"{-(-ms // 1000)} seconds"


def moment(t: UnixMillis) -> str:
    """A moment as people read it, in UTC, to the second; as a number where no calendar reaches.

    Whoever stole the HALT key can date a HALT so, and what no screen shows nobody lifts or carries on.
    """
    if t > _LAST_MOMENT_MS:
        return f"{t} ms after 1970, later than the year 9999"
    return f"{datetime.fromtimestamp(t // 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
