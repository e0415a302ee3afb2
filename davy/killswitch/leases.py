"""A systemic model runs only while a LEASE of the LIFT key has not lapsed.

A HALT that covers the model voids all LEASEs before it, and still does when it has been lifted: restart needs LIFT and
a new LEASE.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from davy.killswitch.clocks import Clocks
from davy.protocol.limits import LEASE_GRACE_MS, SIGNER_SKEW_MS
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


def leased_until(
    leases: Iterable[LeaseInForce], model: ModelId, voided: UnixMillis | None, at: Clocks
) -> UnixMillis | None:
    """When the last LEASE of a model lapses; it has lapsed when any clock is past that. None without a LEASE.

    Parameters
    ----------
    voided
        LEASEs issued up to then are void; None when none is.
    """
    ends = [
        x.lapses
        for x in leases
        if model in x.models and x.issued - SIGNER_SKEW_MS <= at.begun and (voided is None or x.issued > voided)
    ]
    return max(ends, default=None)
