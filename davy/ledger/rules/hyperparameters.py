"""A subnet's hyperparameters: changed by its owner, a bounded way at a time, from the end of the running epoch on.

Nothing an owner sets takes a UID from anybody, or the permit or the vote from more than half of the validators at once:
max_uids stays at or above the neurons there are; max_validators falls to half at most; a raised stake_threshold
leaves half of the permits; an epoch leaves time to renew a row before the activity cutoff; and an epoch's own commits
are due as they were when they were made.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec.structs import replace

from davy.ledger.rules.halts import require_running, subnet_subject
from davy.ledger.rules.packed import amounts, flags
from davy.ledger.rules.records import (
    COMING,
    NEURONS,
    OUTCOMES,
    RUNNING,
    SUBNETS,
    ComingRecord,
    neuron_key,
    subnet_key,
)
from davy.ledger.rules.state import State
from davy.ledger.rules.subnets import permits_held, well_formed
from davy.ledger.rules.upgrades import ALL_WORK_COUNTS_SINCE, SKIPPED_COUNT_SINCE
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.limits import Hyperparameters, describe
from davy.protocol.transaction import SetHyperparameters
from davy.protocol.words import Moment, tokens

RENEWAL: Final = 3
"""Tempos that an activity cutoff leaves at least: a row is renewed once an epoch, and one epoch may last almost two."""
_RANGES: Final = tuple(describe(Hyperparameters))
_UNKNOWN: Final = "there is no subnet of this netuid; ask /subnets"


def set_hyperparameters(s: State, at: Moment, sender: bytes, x: SetHyperparameters) -> None:
    """Keep what is to hold once the running epoch has ended; a second change in one epoch takes the first one's place.

    How far a change may go is counted from what is in force, so it goes there once an epoch. What is in force already
    withdraws a change.

    Raises
    ------
    TxFailed
        NOT_FOUND; NOT_OWNER; HALTED: everything, or the subnet. EXISTS: it is in force, and no change is waiting.
        OUT_OF_RANGE: what `within_reach`, `leaves_validators` and `subnets.well_formed` refuse, the last also with
        as many permits as there may be from before; fewer max_uids than the subnet has neurons. TOO_EXPENSIVE: the
        second time in a block.
    """
    key = subnet_key(x.netuid)
    subnet, running = s.need(SUBNETS, key, _UNKNOWN), s.need(RUNNING, key, _UNKNOWN)
    now, then = subnet.hyperparameters, x.hyperparameters
    if subnet.owner != sender:
        raise TxFailed(TxCode.NOT_OWNER, "only a subnet's owner sets its hyperparameters")
    require_running(s, at, subnet_subject(s, x.netuid), "changing this subnet")
    if then == now:
        if s.get(COMING, key) is None:
            raise TxFailed(TxCode.EXISTS, "these hyperparameters are in force already; change at least one")
        s.delete(COMING, key)
        return
    within_reach(now, then)
    well_formed(subnet.mechanism, then)
    rows = max(now.max_validators, then.max_validators)
    if s.edition >= SKIPPED_COUNT_SINCE:  # else no epoch of any subnet would ever fit into a block again
        rows = max(rows, permits_held(s, x.netuid))
    well_formed(subnet.mechanism, replace(then, max_validators=rows))
    if then.max_uids < running.neurons:
        raise TxFailed(
            TxCode.OUT_OF_RANGE, f"the subnet has {running.neurons} neurons, and none is sent away; keep max_uids there"
        )
    if s.edition < ALL_WORK_COUNTS_SINCE:
        s.spend(running.neurons)
    elif x.netuid in s.changed:
        raise TxFailed(TxCode.TOO_EXPENSIVE, "a subnet's hyperparameters are set once in a block; hand it in again")
    s.changed.add(x.netuid)
    leaves_validators(s, x.netuid, now, then)
    s.put(COMING, key, ComingRecord(then))


def within_reach(now: Hyperparameters, then: Hyperparameters) -> None:
    """Check that each hyperparameter moves no further than one change moves it (`Range.reach`).

    Raises
    ------
    TxFailed
        OUT_OF_RANGE; also where a subnet is to become ordinary: what a class is lowered by is the LIFT key's.
    """
    for row in _RANGES:
        before, after = getattr(now, row.name), getattr(then, row.name)
        low, high = row.reach(before)
        if row.name == "systemic":
            low = before
        if not low <= after <= high:
            raise TxFailed(
                TxCode.OUT_OF_RANGE,
                f"one change brings {row.name} from {before} to between {low} and {high}, not to {after};"
                " go on from there in the next epoch",
            )


def leaves_validators(s: State, netuid: int, now: Hyperparameters, then: Hyperparameters) -> None:
    """Check that half of those who have a permit have the stake for it afterwards, and all the time to use it.

    Stake is what was counted at the last epoch.

    Raises
    ------
    TxFailed
        OUT_OF_RANGE: a higher stake_threshold that fewer than half of them reach; a lower activity_cutoff, or a longer
        tempo, by which the cutoff is less than RENEWAL tempos.
    """
    shorter = then.activity_cutoff < now.activity_cutoff or then.tempo > now.tempo
    if shorter and then.activity_cutoff < RENEWAL * then.tempo:
        raise TxFailed(
            TxCode.OUT_OF_RANGE,
            f"activity_cutoff {then.activity_cutoff} is less than {RENEWAL} tempos of {then.tempo}: honest validators"
            " would be inactive; raise it, or lower the tempo",
        )
    outcome = s.get(OUTCOMES, subnet_key(netuid))
    if outcome is None or then.stake_threshold <= now.stake_threshold:
        return
    n = s.need(RUNNING, subnet_key(netuid), _UNKNOWN).neurons
    seated = [s.need(NEURONS, neuron_key(netuid, uid), "a UID without a neuron").registered_at for uid in range(n)]
    held = flags(outcome.permits, n) & (np.array(seated, dtype=np.int64) <= outcome.height)
    stakes = amounts(outcome.stake, n)[held]
    if 2 * int((stakes >= then.stake_threshold).sum()) < len(stakes):
        raise TxFailed(
            TxCode.OUT_OF_RANGE,
            f"fewer than half of {len(stakes)} validators hold {tokens(then.stake_threshold)} tokens;"
            " lower stake_threshold",
        )


def take_effect(s: State, netuid: int) -> Hyperparameters:
    """At an epoch's end: what was changed in it is in force from now on. Returns what is."""
    key = subnet_key(netuid)
    subnet, coming = s.need(SUBNETS, key, _UNKNOWN), s.get(COMING, key)
    if coming is None:
        return subnet.hyperparameters
    s.put(SUBNETS, key, replace(subnet, hyperparameters=coming.hyperparameters))
    s.delete(COMING, key)
    return coming.hyperparameters
