"""Who sits at an epoch: neurons, what their stake counts, and the rows that can vote."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from davy.incentive.children import Families, voting_stake
from davy.incentive.fixed_point import Int64
from davy.incentive.masks import above_threshold
from davy.incentive.permits import permits
from davy.ledger.rules import packed
from davy.ledger.rules.families import families_of
from davy.ledger.rules.records import NEURONS, OUTCOMES, NeuronRecord, RunningRecord, neuron_key, subnet_key
from davy.ledger.rules.stake import counted_total
from davy.ledger.rules.state import State
from davy.protocol.limits import Hyperparameters


class Seats(NamedTuple):
    """A subnet's neurons at an epoch. `rows` are the UIDs that may vote: who held a permit, and who gets one now."""

    neurons: list[NeuronRecord]
    own: Int64
    """What is held on each hotkey: what its positions count."""
    families: Families | None
    stake: Int64
    """What votes: with what others lend, without what is lent."""
    permits: NDArray[np.bool_]
    """Of the epoch before."""
    rows: Int64


def take_seats(s: State, netuid: int, h: Hyperparameters, running: RunningRecord) -> Seats:
    """Gather a subnet's neurons, the stake that counts, and the rows that matter: who has a permit or gets one."""
    n = running.neurons
    neurons = [s.need(NEURONS, neuron_key(netuid, uid), "a UID without a neuron") for uid in range(n)]
    own = np.array([counted_total(s, netuid, neuron, running) for neuron in neurons], dtype=np.int64)
    families = families_of(s, netuid, neurons, running.epoch)
    stake = own if families is None else voting_stake(own, families)
    held = np.zeros(n, dtype=np.bool_)
    if (outcome := s.get(OUTCOMES, subnet_key(netuid))) is not None:
        same = np.array([neuron.registered_at <= outcome.height for neuron in neurons])
        held = packed.flags(outcome.permits, n) & same
    counts = above_threshold(stake, h.stake_threshold)
    gets = permits(counts, h.max_validators, permit_zero_stake=False, tie_to_newer=False)
    rows = np.flatnonzero(held | gets)
    return Seats(neurons, own, families, stake, held, rows if len(rows) else np.zeros(1, dtype=np.int64))
