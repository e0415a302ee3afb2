"""Paying an epoch, to the last unit: the owner's cut to free balance, all else to stake.

Miners are paid to their owner's stake on the hotkey. Of a validator's dividends the take goes there too, the rest
to all who have stake on it, pro rata of the least they held. What nobody can be paid, and what an unrevealed commit
costs, is burned. What halted neurons would have had is not minted: so what was issued and what was not minted are the
schedule, whatever happens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from davy.incentive.children import family_dividends
from davy.incentive.emission import Emission, delegate
from davy.incentive.fixed_point import Bool, Int64
from davy.ledger.rules.accounts import burn, credit
from davy.ledger.rules.emission import unmint
from davy.ledger.rules.records import HOTKEYS, NEURONS, RUNNING, SUBNETS, NeuronRecord, neuron_key, subnet_key
from davy.ledger.rules.seats import Seats
from davy.ledger.rules.stake import change_position, counted_stake, running_epochs
from davy.ledger.rules.state import State
from davy.ledger.rules.upgrades import TAKES_HOLD_SINCE
from davy.protocol.words import U16


class Paid(NamedTuple):
    """Base units: to the owner, and by UID to miners and to validators (before delegators had their part)."""

    owner: int
    miners: Int64
    validators: Int64
    unminted: int
    """Of halted UIDs."""


def pay(s: State, netuid: int, seats: Seats, e: Emission, halted: Bool, *, withheld: bool) -> Paid:
    """Hand out an epoch's emission; afterwards it is in balances, stakes and what is burned, or is not minted.

    Parameters
    ----------
    halted
        By UID.
    withheld
        Halted UIDs had shares: then what the emission left over is theirs. Else there was nobody to pay.
    """
    n = len(seats.neurons)
    subnet = s.need(SUBNETS, subnet_key(netuid), "there is no subnet of this netuid")
    running = s.need(RUNNING, subnet_key(netuid), "a subnet without epochs")
    left = int(e.unminted)
    validators = np.zeros(n, dtype=np.int64)
    validators[seats.rows] = e.dividends
    burned = 0 if withheld else left
    burned += charge_unrevealed(s, netuid, seats, validators, subnet.hyperparameters.unrevealed_penalty)
    validators, fees, lost = between_families(s, seats, validators, halted)
    paid = Paid(int(e.owner), e.incentive.copy(), validators, (left if withheld else 0) + lost)
    for_mining, for_validating, for_children = paid.miners.tolist(), paid.validators.tolist(), fees.tolist()
    for uid in np.flatnonzero(paid.miners + paid.validators).tolist():
        neuron = seats.neurons[uid]
        counted = counted_stake(s, netuid, neuron, running) if for_validating[uid] else ()
        shares = dividend_shares(s, neuron, for_validating[uid], counted, for_children[uid])
        shares[neuron.coldkey] = shares.get(neuron.coldkey, 0) + for_mining[uid]
        epochs = None
        if len(shares) > 1:
            epochs = running_epochs(s, s.need(HOTKEYS, neuron.hotkey, "a neuron without a hotkey"))
        for coldkey in sorted(shares):
            if shares[coldkey]:
                change_position(s, neuron.hotkey, coldkey, shares[coldkey], epochs)
    credit(s, subnet.owner, paid.owner)
    burn(s, burned)
    unmint(s, paid.unminted)
    return paid


def charge_unrevealed(s: State, netuid: int, seats: Seats, dividends: Int64, penalty: int) -> int:
    """Take off what unrevealed commits cost, once each, and return it: it is burned."""
    burned = 0
    for uid in np.flatnonzero(dividends).tolist():
        neuron = seats.neurons[uid]
        if neuron.unrevealed:
            cost = unrevealed_cost(neuron, int(dividends[uid]), penalty)
            s.put(NEURONS, neuron_key(netuid, uid), replace(neuron, unrevealed=0))
            dividends[uid] -= cost
            burned += cost
    return burned


def between_families(s: State, seats: Seats, dividends: Int64, halted: Bool) -> tuple[Int64, Int64, int]:
    """What each UID has of the dividends once children paid their parents, what they kept, what halted parents miss.

    They keep no larger a part than the parent's own take. What is missed is not minted: neither the child nor anybody
    else gains by a halt.
    """
    none = np.zeros(len(dividends), dtype=np.int64)
    if seats.families is None:
        return dividends, none, 0
    missing = "a neuron without a hotkey"
    takes = np.array([s.need(HOTKEYS, n.hotkey, missing).take for n in seats.neurons], dtype=np.int64)
    if s.edition < TAKES_HOLD_SINCE:
        divided, kept = family_dividends(dividends, seats.own, takes, seats.families)[0], none
    else:
        divided, _ = family_dividends(dividends, seats.own, takes, seats.families, grants=takes)
        whole, _ = family_dividends(dividends, seats.own, none, seats.families)
        kept = np.maximum(whole - divided, 0)
    lost = int(divided[halted].sum())
    divided[halted] = 0
    return divided, kept, lost


def unrevealed_cost(neuron: NeuronRecord, dividends: int, penalty: int) -> int:
    """What a validator loses of its first dividends after a commit it did not reveal: `penalty` of 65535 of them."""
    return dividends * penalty // U16 if neuron.unrevealed else 0


def dividend_shares(
    s: State, neuron: NeuronRecord, dividends: int, counted: tuple[tuple[bytes, int], ...], kept: int = 0
) -> dict[bytes, int]:
    """Dividends by coldkey: the hotkey's take to its owner, the rest pro rata of `counted`, largest remainder first.

    What children kept is paid from the take: so its delegators lose no more than that, whomever it lends to.
    """
    if not dividends:
        return {}
    if all(coldkey == neuron.coldkey for coldkey, _ in counted):
        return {neuron.coldkey: dividends}
    take = s.need(HOTKEYS, neuron.hotkey, "a neuron without a hotkey").take
    own = (dividends + kept) * take // U16 - kept if kept else 0  # not below 0: no child kept more than this take
    amounts = np.array([amount for _, amount in counted], dtype=np.int64)
    taken, parts = delegate(dividends - own, 0 if kept else take, amounts)
    shares = {coldkey: part for (coldkey, _), part in zip(counted, parts.tolist(), strict=True)}
    shares[neuron.coldkey] = shares.get(neuron.coldkey, 0) + int(taken) + own
    return shares
