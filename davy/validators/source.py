"""The seam between what a validator believes and what it commits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from davy.protocol.chain import Head, Metagraph, Neuron
from davy.protocol.transaction import Weight, weight_subject
from davy.protocol.words import Uid


class WeightSource(Protocol):
    """Where a validator's weights come from: its own examination, or a strategy under study (davy.sims)."""

    async def run(self) -> None:
        """Do what has to be done all the time; returns only when cancelled."""
        ...

    def see(self, head: Head) -> None:
        """Learn of a new block."""
        ...

    async def weights(self, m: Metagraph) -> tuple[Weight, ...]:
        """Return the row for the running epoch; empty while there is no opinion."""
        ...


def bound(m: Metagraph, values: Mapping[Uid, int]) -> tuple[Weight, ...]:
    """Bind u16 values to the registrations and models that `m` shows, ordered by UID; zeros are left out."""
    by_uid = {n.uid: n for n in m.neurons}
    return tuple(Weight(uid, subject_of(by_uid[uid]), values[uid]) for uid in sorted(values) if values[uid])


def subject_of(n: Neuron) -> bytes:
    """What a weight on this neuron is bound to now."""
    return weight_subject(n.hotkey, n.registered_at, n.model[0].model_id if n.model else b"")
