"""A systemic model runs only while a LEASE of the LIFT key has not lapsed.

A HALT that covers the model voids all LEASEs before it, and still does when it has been lifted: restart needs LIFT and
a new LEASE.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from davy.killswitch.clocks import Clocks
from davy.protocol.limits import DAY_MS, LEASE_GRACE_MS, LEASE_WARNINGS_MS, SIGNER_SKEW_MS
from davy.protocol.words import ModelId, UnixMillis


class LeaseInForce(NamedTuple):
    """A LEASE that counts, and when what its roster permitted ends."""

    models: tuple[ModelId, ...]
    issued: UnixMillis
    end: UnixMillis
    until: UnixMillis

    @property
    def lapses(self) -> UnixMillis:
        """Its end and the grace after it, or with its roster, if that is sooner."""
        return min(self.end + LEASE_GRACE_MS, self.until)

    @property
    def ends(self) -> UnixMillis:
        """When the grace begins, or with its roster, if that is sooner."""
        return min(self.end, self.until)


def last_lease(
    leases: Iterable[LeaseInForce], model: ModelId, voided: UnixMillis | None, at: Clocks
) -> LeaseInForce | None:
    """Of the LEASEs of a model the last to lapse; it has lapsed when any clock is past that. None without a LEASE.

    Parameters
    ----------
    voided
        LEASEs issued up to then are void; None when none is.
    """
    counting = [
        x
        for x in leases
        if model in x.models and x.issued - SIGNER_SKEW_MS <= at.begun and (voided is None or x.issued > voided)
    ]
    return max(counting, key=lambda x: (x.lapses, x.ends), default=None)


def days_warned(lease: LeaseInForce, at: Clocks) -> int | None:
    """Of `LEASE_WARNINGS_MS` the nearest that has come, in days; 0 in the grace, None before the first warning."""
    left = lease.ends - at.ahead
    if left <= 0:
        return 0
    return min((ahead // DAY_MS for ahead in LEASE_WARNINGS_MS if left <= ahead), default=None)
