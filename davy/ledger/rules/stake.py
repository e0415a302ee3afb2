"""Stake: what coldkeys hold on hotkeys, the least of it held over an epoch, and its way back to free balance.

What votes and earns in an epoch of a subnet is the least that was held from the end of the epoch before to its own
end, position by position, so what was borrowed for a block, or moved in the middle, counts nothing. A position
keeps that minimum (`Low`) for each subnet of its hotkey from its first change in the running epoch; without a
change it is what is held.
"""

from __future__ import annotations

from bisect import insort
from typing import Final

from msgspec.structs import replace

from davy.ledger.rules.accounts import account, burn, credit, debit, positive
from davy.ledger.rules.records import (
    ACCOUNTS,
    CONVICTIONS,
    HOTKEYS,
    QUEUE,
    ROTATIONS,
    RUNNING,
    STAKES,
    UNBONDINGS,
    AccountRecord,
    HotkeyRecord,
    Low,
    NeuronRecord,
    Pledge,
    QueueRecord,
    RunningRecord,
    StakeRecord,
    UnbondingRecord,
    subnet_key,
)
from davy.ledger.rules.state import Held, State
from davy.ledger.rules.upgrades import PLACES_COST_SINCE
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.limits import MAX_BLOCK_TXS
from davy.protocol.transaction import AddStake, RemoveStake
from davy.protocol.words import Moment, tokens

MAX_DELEGATORS: Final = 128
"""Coldkeys with stake on one hotkey, its owner apart: what an epoch has to pay is bounded."""
MAX_PAYOUTS_A_BLOCK: Final = MAX_BLOCK_TXS
"""Unbondings that become free in one block. A transaction begins one at most, so nobody can hold up another's."""

_NO_STAKE: Final = StakeRecord(0, (), ())


def least_held(position: StakeRecord, netuid: int, epoch: int) -> int:
    """The least a position held in the running epoch of a subnet so far."""
    for low in position.lows:
        if low.netuid == netuid and low.epoch == epoch:
            return low.least
    return position.amount


def counted_stake(s: State, netuid: int, neuron: NeuronRecord, running: RunningRecord) -> tuple[tuple[bytes, int], ...]:
    """What each coldkey's position on a neuron counts in the epoch that ends, by coldkey.

    Empty for a neuron registered after the epoch began: nothing on it was held over the whole of it.
    """
    if neuron.registered_at > running.began:
        return ()
    hotkey = s.need(HOTKEYS, neuron.hotkey, "the neuron's hotkey is unknown")
    counted: list[tuple[bytes, int]] = []
    for coldkey in hotkey.delegators:
        position = s.get(STAKES, neuron.hotkey + coldkey)
        if position is not None:
            counted.append((coldkey, least_held(position, netuid, running.epoch)))
    return tuple(counted)


def counted_total(s: State, netuid: int, neuron: NeuronRecord, running: RunningRecord) -> int:
    """The sum of `counted_stake`; from the second time on without a look at positions that did not change since."""
    if neuron.registered_at > running.began:
        return 0
    delegators = s.need(HOTKEYS, neuron.hotkey, "the neuron's hotkey is unknown").delegators
    if len(delegators) < 2:  # one position is looked at as fast as what is kept
        position = s.get(STAKES, neuron.hotkey + delegators[0]) if delegators else None
        return 0 if position is None else least_held(position, netuid, running.epoch)
    if neuron.hotkey not in s.held:
        s.keep_held(neuron.hotkey, None)
        return sum([amount for _, amount in counted_stake(s, netuid, neuron, running)])
    held = s.held[neuron.hotkey]
    if held is None:
        held = _held(s, neuron.hotkey)
        s.keep_held(neuron.hotkey, held)
    return held.amount - held.short.get((netuid, running.epoch), 0)


def _held(s: State, hotkey: bytes) -> Held:
    amount, short = 0, dict[tuple[int, int], int]()
    for coldkey in s.need(HOTKEYS, hotkey, "the neuron's hotkey is unknown").delegators:
        position = s.get(STAKES, hotkey + coldkey) or _NO_STAKE
        amount += position.amount
        for low in position.lows:
            if low.least != position.amount:
                at = low.netuid, low.epoch
                short[at] = short.get(at, 0) + position.amount - low.least
    return Held(amount, short)


def stake_of(s: State, hotkey: bytes, coldkey: bytes) -> int:
    """What a coldkey holds on a hotkey now."""
    return (s.get(STAKES, hotkey + coldkey) or _NO_STAKE).amount


def running_epochs(s: State, h: HotkeyRecord) -> list[tuple[int, int]]:
    """The subnets of a hotkey, each with its running epoch."""
    return [(n, s.need(RUNNING, subnet_key(n), "a subnet without epochs").epoch) for n in h.netuids]


def change_position(
    s: State, hotkey: bytes, coldkey: bytes, change: int, epochs: list[tuple[int, int]] | None = None
) -> None:
    """Add to a position, or take from it (`change` < 0), and keep the least it held in each running epoch.

    Parameters
    ----------
    epochs
        `running_epochs` of the hotkey, where many of its positions change at once.
    """
    h = s.need(HOTKEYS, hotkey, "the ledger does not know this hotkey; register it first")
    position = hotkey + coldkey
    before = s.get(STAKES, position) or _NO_STAKE
    amount = before.amount + change
    if amount < 0:
        raise TxFailed(
            TxCode.INSUFFICIENT,
            f"{tokens(-change)} tokens are to leave and {tokens(before.amount)} are staked; take less",
        )
    if amount == 0:
        s.delete(STAKES, position)
        s.put(HOTKEYS, hotkey, replace(h, delegators=tuple(c for c in h.delegators if c != coldkey)))
        return
    known = {low.netuid: low for low in before.lows}  # by netuid: looked for one by one they took a second an epoch
    lows: list[Low] = []
    for n, epoch in running_epochs(s, h) if epochs is None else epochs:
        low = known.get(n)
        if low is None or low.epoch != epoch:
            low = Low(n, epoch, min(amount, before.amount))
        lows.append(low if low.least <= amount else Low(n, epoch, amount))
    s.put(STAKES, position, StakeRecord(amount, tuple(lows), before.pledges))
    if before.amount == 0:
        delegators = list(h.delegators)
        insort(delegators, coldkey)
        s.put(HOTKEYS, hotkey, replace(h, delegators=tuple(delegators)))


def add_stake(s: State, at: Moment, sender: bytes, x: AddStake) -> None:
    """Free balance becomes stake on a known hotkey. It votes and earns from the first epoch that it is held all over.

    On a hotkey with MAX_DELEGATORS a larger position sends the smallest one (of equal ones the lowest coldkey) into
    unbonding, so nobody can shut a validator by filling it with dust.

    Raises
    ------
    TxFailed
        OUT_OF_RANGE below minimum_stake; NOT_FOUND for a hotkey that never registered; BARRED for one that was
        convicted; INSUFFICIENT; FULL where no position is left that is small enough (`join`).
    """
    positive(x.amount)
    if x.amount < s.parameters.minimum_stake:
        raise TxFailed(
            TxCode.OUT_OF_RANGE, f"at least {tokens(s.parameters.minimum_stake)} tokens are staked at once; stake more"
        )
    debit(s, sender, x.amount)
    join(s, at, x.hotkey, sender, x.amount)


def require_current(s: State, hotkey: bytes) -> None:
    """Refuse a hotkey that was replaced.

    Raises
    ------
    TxFailed
        BARRED.
    """
    rotation = s.get(ROTATIONS, hotkey)
    if rotation is not None and rotation.after:
        raise TxFailed(TxCode.BARRED, f"this hotkey was replaced by {rotation.after.hex()}; use that one")


def join(s: State, at: Moment, hotkey: bytes, coldkey: bytes, amount: int) -> None:
    """Add to a position; on a hotkey with MAX_DELEGATORS a new one takes the place of the smallest.

    It is twice as large at least, and stays for as long as the other one unbonds. Else one amount would send a
    delegator of each full hotkey into unbonding, one after the other.

    Raises
    ------
    TxFailed
        BARRED: convicted, or replaced; NOT_FOUND; FULL.
    """
    h = s.need(HOTKEYS, hotkey, "the ledger does not know this hotkey; register it first")
    if s.get(CONVICTIONS, hotkey) is not None:
        raise TxFailed(TxCode.BARRED, "this hotkey is barred and earns nothing; stake on another")
    require_current(s, hotkey)
    others = [c for c in h.delegators if c != h.owner]
    if coldkey in h.delegators or coldkey == h.owner or len(others) < MAX_DELEGATORS:
        change_position(s, hotkey, coldkey, amount)
        return
    priced = s.edition >= PLACES_COST_SINCE
    least, smallest = min((stake_of(s, hotkey, c), c) for c in others)
    enough = 2 * least if priced else least + 1
    if amount < enough:
        raise TxFailed(
            TxCode.FULL, f"the hotkey has {MAX_DELEGATORS} delegators; stake {tokens(enough)} tokens to take a place"
        )
    unbond(s, at, hotkey, smallest, least)
    change_position(s, hotkey, coldkey, amount)
    if priced:
        position = s.need(STAKES, hotkey + coldkey, "a newcomer without a position")
        stays = Pledge(hotkey, amount, at.height + s.parameters.unbonding)
        s.put(STAKES, hotkey + coldkey, replace(position, pledges=(stays,)))


def remove_stake(s: State, at: Moment, sender: bytes, x: RemoveStake) -> None:
    """Stake leaves at once, is in no vote and no dividend any more, and is free after `unbonding` blocks.

    Raises
    ------
    TxFailed
        OUT_OF_RANGE for less than minimum_stake, or where less would stay (take all); INSUFFICIENT; NOT_FOUND;
        WRONG_TIME: what was moved here has to stay (`leave`).
    """
    leave(s, at, x.hotkey, sender, x.amount)
    least = s.parameters.minimum_stake
    if s.edition >= PLACES_COST_SINCE and x.amount < min(least, stake_of(s, x.hotkey, sender)):
        raise TxFailed(
            TxCode.OUT_OF_RANGE, f"at least {tokens(least)} tokens are removed at once, or all there is; remove more"
        )
    unbond(s, at, x.hotkey, sender, x.amount)


def leave(s: State, at: Moment, hotkey: bytes, coldkey: bytes, amount: int) -> None:
    """Check that a part of a position may leave it now.

    Raises
    ------
    TxFailed
        OUT_OF_RANGE; WRONG_TIME.
    """
    positive(amount)
    position = s.get(STAKES, hotkey + coldkey) or _NO_STAKE
    stays = position.amount - amount
    if 0 < stays < s.parameters.minimum_stake:
        raise TxFailed(TxCode.OUT_OF_RANGE, f"{tokens(stays)} tokens would stay, less than may be staked; take all")
    standing = [p for p in position.pledges if p.due > at.height]
    pledged = sum(p.amount for p in standing)
    if 0 <= stays < pledged:
        raise TxFailed(
            TxCode.WRONG_TIME,
            f"{tokens(pledged)} tokens answer for hotkeys that they were moved from, or took a delegator's place;"
            f" take them after height {max(p.due for p in standing)}",
        )


def unbond(s: State, at: Moment, hotkey: bytes, coldkey: bytes, amount: int) -> None:
    """Take stake off a position and put it in the line of unbondings."""
    change_position(s, hotkey, coldkey, -amount)
    a = account(s, coldkey)
    s.put(ACCOUNTS, coldkey, AccountRecord(a.nonce, a.free, a.unbonding + amount))
    line = s.need(QUEUE, b"", "the chain has no line of unbondings")
    due = at.height + s.parameters.unbonding
    s.put(UNBONDINGS, line.next.to_bytes(8, "big"), UnbondingRecord(coldkey, hotkey, amount, due))
    s.put(QUEUE, b"", QueueRecord(line.first, line.next + 1))


def pay_unbonded(s: State, at: Moment) -> None:
    """What is due becomes free balance, in the order it left, MAX_PAYOUTS_A_BLOCK at most.

    What the owner of a convicted hotkey took off it is burned instead.
    """
    line = s.need(QUEUE, b"", "the chain has no line of unbondings")
    first = line.first
    while first < line.next and first - line.first < MAX_PAYOUTS_A_BLOCK:
        key = first.to_bytes(8, "big")
        u = s.need(UNBONDINGS, key, "a gap in the line of unbondings")
        if u.due > at.height:
            break
        s.delete(UNBONDINGS, key)
        a = account(s, u.coldkey)
        s.put(ACCOUNTS, u.coldkey, AccountRecord(a.nonce, a.free, a.unbonding - u.amount))
        slashed = s.get(CONVICTIONS, u.hotkey) is not None and u.coldkey == s.need(HOTKEYS, u.hotkey, "gone").owner
        burn(s, u.amount) if slashed else credit(s, u.coldkey, u.amount)
        first += 1
    if first != line.first:
        s.put(QUEUE, b"", QueueRecord(first, line.next))
