"""An epoch of a subnet: what its mechanism is asked, and the records that come of it.

The order: commits that fell due expire; the mechanism turns stake, weights and bonds into shares; `payment` pays
them; bonds, results and the epoch's record are written; the price moves and the next epoch begins. All within one
savepoint.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec.structs import replace

from davy.incentive import bonds
from davy.incentive.agreement import trust
from davy.incentive.emission import emit
from davy.incentive.fixed_point import BondFormat, Int64
from davy.incentive.masks import NO_COMMIT
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params
from davy.incentive.registry import mechanism
from davy.ledger.rules import packed
from davy.ledger.rules.accounts import burn
from davy.ledger.rules.halts import earning
from davy.ledger.rules.hyperparameters import take_effect
from davy.ledger.rules.models import has_left
from davy.ledger.rules.payment import Paid, pay
from davy.ledger.rules.records import (
    BONDS,
    OUTCOMES,
    PAID,
    RUNNING,
    SUBNETS,
    WEIGHTS,
    BondsRecord,
    OutcomeRecord,
    PaidRecord,
    RunningRecord,
    epoch_key,
    neuron_key,
    subnet_key,
)
from davy.ledger.rules.seats import Seats, take_seats
from davy.ledger.rules.state import State
from davy.ledger.rules.subnets import SURGE, epoch_end, registration_price, taken, turnover
from davy.ledger.rules.upgrades import PLACES_COST_SINCE
from davy.ledger.rules.weights import expire
from davy.protocol.limits import Hyperparameters
from davy.protocol.words import Moment

KEPT_EPOCHS: Final = 64
"""Records of epochs that stay in the state, a subnet."""
KEPT_EPOCH_BYTES: Final = 1 << 25
"""Of these records together; the newest stays whatever its size."""

_UNKNOWN: Final = "there is no subnet of this netuid"


def run_epoch(s: State, at: Moment, netuid: int) -> None:
    """End the running epoch of a subnet: pay what is pending, and begin the next one."""
    key = subnet_key(netuid)
    subnet, running = s.need(SUBNETS, key, _UNKNOWN), s.need(RUNNING, key, _UNKNOWN)
    h, n = subnet.hyperparameters, running.neurons
    s.put(RUNNING, key, replace(running, pending=0))
    open_commits = [expire(s, netuid, uid, running.epoch) for uid in range(n)]
    if n:
        seats = take_seats(s, netuid, h, running)
        x = epoch_inputs(s, at, netuid, seats, open_commits, running)
        p = epoch_params(h)
        bonds_now, result = mechanism(subnet.mechanism).epoch(standing_bonds(s, netuid, p, seats), x, p)
        withheld = any((result.incentive_withheld, result.dividends_withheld, result.fallback_withheld))
        emission = emit(running.pending, result, s.parameters.owner_cut)
        paid = pay(s, netuid, seats, emission, x.halted, withheld=withheld)
        stored = packed.pack_bonds(bonds_now.bonds)
        s.put(BONDS, key, BondsRecord(at.height, int(p.bond_format), packed.pack_uids(seats.rows), n, stored))
        write_outcome(s, at, netuid, seats, x, result, paid)
        write_record(s, at, netuid, running, seats, x, paid)
    else:
        burn(s, running.pending)  # else whoever registers first would find a pot
    begin_next(s, at, netuid, running)


def epoch_inputs(
    s: State, at: Moment, netuid: int, seats: Seats, open_commits: list[int | None], running: RunningRecord
) -> EpochInputs:
    """What the mechanism is asked: rows are `seats.rows`, columns all UIDs.

    A weight counts only where its subject is the neuron's now, and none for a model that has left the register. A row's
    last update is the block it was revealed or set in; of a neuron that never had one, its registration; later by the
    blocks in which the subnet was frozen since, so that these do not make it inactive. (That makes no column outdated
    that was not: a weight for who registered after it was given counts zero by its subject.) Of the owner's neurons
    the first may weigh itself.
    """
    subjects = packed.pack_subjects([neuron.subject for neuron in seats.neurons])
    updates: list[int] = []
    commits: list[int] = []
    rows: list[int] = seats.rows.tolist()
    given = [s.get(WEIGHTS, neuron_key(netuid, uid)) for uid in rows]
    weights = packed.row_values([b"" if row is None else row.row for row in given], subjects)
    for uid, row in zip(rows, given, strict=True):
        neuron = seats.neurons[uid]
        last, frozen = (neuron.registered_at, neuron.frozen) if row is None else (row.height, row.frozen)
        updates.append(last + running.frozen - frozen)
        made = open_commits[uid]
        commits.append(NO_COMMIT if made is None else made)
    weights[:, has_left(s, at, seats.neurons)] = 0
    stored = s.get(BONDS, subnet_key(netuid))
    owner = s.need(SUBNETS, subnet_key(netuid), _UNKNOWN).owner
    owned = [i for i, uid in enumerate(rows) if seats.neurons[uid].coldkey == owner]
    return EpochInputs(
        weights=weights,
        stake=seats.stake[seats.rows],
        permits=seats.permits[seats.rows],
        last_update=np.array(updates, dtype=np.int64),
        registered_at=np.array([neuron.registered_at for neuron in seats.neurons], dtype=np.int64),
        earliest_commit=np.array(commits, dtype=np.int64),
        self_column=seats.rows,
        halted=~np.array(earning(s, at, netuid, seats.neurons), dtype=np.bool_),
        now=np.array(at.height, dtype=np.int64),
        previous_epoch=np.array(running.began if stored is None else stored.height, dtype=np.int64),
        owner_row=np.array(owned[0] if owned else -1, dtype=np.int64),
    )


def epoch_params(h: Hyperparameters) -> Params:
    """A subnet's hyperparameters in the mechanism's words; `subnets.well_formed` keeps them within its ranges."""
    return Params(
        kappa=h.kappa,
        bond_penalty=h.bonds_penalty,
        moving_average=h.bonds_moving_average,
        liquid_alpha=h.liquid_alpha == 1,
        alpha_low=h.alpha_low,
        alpha_high=h.alpha_high,
        alpha_steepness=h.alpha_steepness // 1_000,
        activity_cutoff=h.activity_cutoff,
        max_validators=h.max_validators,
        stake_threshold=h.stake_threshold,
        bond_format=BondFormat.U16 if h.bonds_format == 16 else BondFormat.U32,
    )


def standing_bonds(s: State, netuid: int, p: Params, seats: Seats) -> BondState:
    """The stored bonds of the rows and columns of now; the mechanism forgets those of UIDs that changed hands."""
    held = np.zeros((len(seats.rows), len(seats.neurons)), dtype=np.int64)
    stored = s.get(BONDS, subnet_key(netuid))
    if stored is None:
        return BondState(held)
    kept = packed.bonds(stored.bonds, stored.columns)
    form = BondFormat(stored.format)
    if form is not p.bond_format:
        kept = bonds.store(bonds.read(kept, form), p.bond_format)
    place = {uid: i for i, uid in enumerate(packed.uids(stored.rows))}
    for i, uid in enumerate(seats.rows.tolist()):
        if uid in place:
            held[i, : stored.columns] = kept[place[uid]]
    return BondState(held)


def write_outcome(
    s: State, at: Moment, netuid: int, seats: Seats, x: EpochInputs, result: EpochResult, paid: Paid
) -> None:
    """Write what the epoch found for each UID; `earned` goes on while the same neuron holds the UID."""
    n, key = len(seats.neurons), subnet_key(netuid)

    def by_uid(rows: Int64) -> Int64:
        whole = np.zeros(n, dtype=np.int64)
        whole[seats.rows] = rows
        return whole

    emission = paid.miners + paid.validators
    earned = emission.copy()
    if (before := s.get(OUTCOMES, key)) is not None:
        earned += np.where(x.registered_at <= before.height, packed.amounts(before.earned, n), 0)
    s.put(
        OUTCOMES,
        key,
        OutcomeRecord(
            height=at.height,
            stake=packed.pack_amounts(seats.stake),
            permits=packed.pack_flags(by_uid(result.permits.astype(np.int64)) == 1),
            consensus=packed.pack_shares(result.consensus),
            incentive=packed.pack_shares(result.incentive),
            dividends=packed.pack_shares(by_uid(result.dividends)),
            trust=packed.pack_shares(trust(x, result)),
            validator_trust=packed.pack_shares(by_uid(result.validator_trust)),
            emission=packed.pack_amounts(emission),
            earned=packed.pack_amounts(earned),
            halted=packed.pack_flags(x.halted),
        ),
    )


def write_record(
    s: State, at: Moment, netuid: int, running: RunningRecord, seats: Seats, x: EpochInputs, paid: Paid
) -> None:
    """Write what was paid and the rows that voted, and drop the record of KEPT_EPOCHS epochs ago, or `drop_oldest`."""
    voted = np.flatnonzero(x.permits & (x.stake > 0) & x.weights.any(axis=1))
    record = PaidRecord(
        height=at.height,
        minted=running.pending - paid.unminted,
        owner=paid.owner,
        miners=packed.pack_amounts(paid.miners),
        validators=packed.pack_amounts(paid.validators),
        voters=tuple(seats.rows[voted].tolist()),
        weights=packed.pack_pairs(x.weights[voted]),
    )
    s.put(PAID, epoch_key(netuid, running.epoch), record)
    if s.edition >= PLACES_COST_SINCE:
        drop_oldest(s, netuid, running.epoch)
    elif running.epoch >= KEPT_EPOCHS:
        s.delete(PAID, epoch_key(netuid, running.epoch - KEPT_EPOCHS))


def drop_oldest(s: State, netuid: int, newest: int) -> None:
    """Keep the records of the last KEPT_EPOCHS epochs, and of these no more than KEPT_EPOCH_BYTES hold."""
    found = (
        (epoch, s.get(PAID, epoch_key(netuid, epoch))) for epoch in range(newest, max(newest - KEPT_EPOCHS, -1), -1)
    )
    records = [(epoch, record) for epoch, record in found if record is not None]
    if sum(len(r.miners) * (2 + len(r.voters)) for _, r in records) > KEPT_EPOCH_BYTES:  # they may be: it is looked at
        size = 0
        for epoch, r in records:
            size += len(r.miners) + len(r.validators) + sum(map(len, r.weights))
            if size > KEPT_EPOCH_BYTES and epoch < newest:
                s.delete(PAID, epoch_key(netuid, epoch))
    if newest >= KEPT_EPOCHS:
        s.delete(PAID, epoch_key(netuid, newest - KEPT_EPOCHS))


def begin_next(s: State, at: Moment, netuid: int, running: RunningRecord) -> None:
    """Count the epoch, move the registration price, let a change take effect, and say when the next epoch ends.

    UIDs taken from others raise the price as registrations do, by the part of the most there may be.

    After a change of tempo it lasts a whole tempo or longer, or who has to reveal in it might have no block to do so.
    """
    h = s.need(SUBNETS, subnet_key(netuid), _UNKNOWN).hyperparameters
    now = s.need(RUNNING, subnet_key(netuid), _UNKNOWN)
    price = max(
        registration_price(running.price, running.registrations, h.registrations_an_epoch, s.parameters),
        registration_price(running.price, SURGE * taken(s, netuid, running.epoch), turnover(h.max_uids), s.parameters),
    )
    tempo = take_effect(s, netuid).tempo
    ends = epoch_end(netuid, tempo, at.height if tempo == h.tempo else at.height + tempo - 1)
    begun = replace(now, epoch=running.epoch + 1, began=at.height, ends=ends, price=price, registrations=0, paused=0)
    s.put(RUNNING, subnet_key(netuid), begun)


def skip_epoch(s: State, at: Moment, netuid: int) -> None:
    """After an epoch that an internal error undid: what is pending stays pending, and the next one begins."""
    running = s.need(RUNNING, subnet_key(netuid), _UNKNOWN)
    begin_next(s, at, netuid, running)
    begun = s.need(RUNNING, subnet_key(netuid), _UNKNOWN)
    s.put(RUNNING, subnet_key(netuid), replace(begun, skipped=begun.skipped + 1))
