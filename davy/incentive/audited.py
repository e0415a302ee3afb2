"""Yuma 3 for who looked: stake is paid by the audited news it told, and does not vote where it misled.

Audits say where some miners truly stand among the others, after the rows are in, and nobody knows beforehand which.
`news` counts what each row told of that beyond the public consensus of the epoch before, less what it told falsely, and
how often it was wrong. With the gain of a reference row, which a quarter of the voting stake equals or surpasses, and
with limits for the part of its reports that was wrong, this opens two gates a row:

    pay = (gain / reference − low) / (high − low)        vote = (lost − wrong) / (lost − limit)

each within [floor, 1]. Stake that told nothing new is not paid and still votes: a copy is no news, and no lie. Both
gates are then 1 − c·(1 − gate), c = min(1, reference / enough): where audits found little news this is nearly Yuma 3,
and without evidence, or where no miner ever changes, Yuma 3 to the bit. Permits and the fallback are by stake alone.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from davy.incentive import masks, yuma3
from davy.incentive.agreement import agree
from davy.incentive.chunks import in_chunks
from davy.incentive.door import BadInput
from davy.incentive.fixed_point import ONE, ONE_BITS, U16, Int64, from_u16, normalise
from davy.incentive.holding import held
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params
from davy.incentive.news import GAIN_BITS, MOST_GAIN, Found, admit, audits, found
from davy.incentive.permits import permits
from davy.incentive.settlement import settle

_RATIO_BITS: Final = 20
_QUARTER: Final = 4
"""The reference: as low a share as keeps it with who works while up to three quarters do not."""


def reference(gain: Int64, stake: Int64) -> Int64:
    """The largest gain that rows with a quarter of the stake reach, [...]; 0 where it is below, or nobody has stake.

    `gain` and `stake` [..., V]; four times the stake stays below 2^57.
    """
    order = np.argsort(-gain, axis=-1, kind="stable")
    with_them = np.cumsum(np.take_along_axis(stake, order, axis=-1), axis=-1)
    reached = _QUARTER * with_them >= np.maximum(with_them[..., -1:], 1)
    first = reached.argmax(axis=-1)[..., None]
    found = np.take_along_axis(np.take_along_axis(gain, order, axis=-1), first, axis=-1)[..., 0]
    return np.where(with_them[..., -1] > 0, np.maximum(found, 0), 0)


class Gates(NamedTuple):
    """What part of a row's stake votes, and what part is paid: [..., V] in Q30."""

    vote: Int64
    pay: Int64


def gates(f: Found, stake: Int64, p: Params) -> Gates:
    """The gates of each row; ONE where the reference is 0.

    Bounds: gains stay within ±2^40 and are cut to ±the reference, so a ratio's product lies within 2^60; what opens is
    below 2^21 · 2^30, what is certain at most 2^32 · 2^30 for 4096 audits that are enough.

    Raises
    ------
    BadInput
        Gains beyond their format.
    """
    if int(np.abs(f.gain).max()) > MOST_GAIN:
        raise BadInput(f"a gain is beyond ±{MOST_GAIN}")
    gain, stake = np.broadcast_arrays(f.gain, stake)
    most = reference(gain, stake)[..., None]
    ratio = (np.clip(gain, 0, most) << _RATIO_BITS) // np.maximum(most, 1)
    rate = (f.wrong << _RATIO_BITS) // np.maximum(f.said, 1)
    enough = p.audit_enough << GAIN_BITS
    certain = np.minimum(most, enough) * ONE // enough

    def gate(above: Int64, width: int) -> Int64:
        opened = np.clip(above * ONE // max(width, 1), from_u16(p.audit_floor), ONE)
        return ONE - (certain * (ONE - opened) >> ONE_BITS)

    low, high, wrong, lost = (
        (x << _RATIO_BITS) // U16 for x in (p.audit_low, p.audit_high, p.audit_wrong, p.audit_lost)
    )
    return Gates(vote=gate(lost - rate, lost - wrong), pay=gate(ratio - low, high - low))


def gated(stake: Int64, gate: Int64) -> Int64:
    """floor(stake · gate / ONE), [..., V]: in two digits, for the product may need 85 bits. Stake is below 2^55."""
    return (stake >> ONE_BITS) * gate + ((stake & (ONE - 1)) * gate >> ONE_BITS)


def audited(s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
    """Yuma 3 of the stake that may vote, whose dividends go by the stake that is paid."""
    e = x.evidence
    if e is None or e.reports.shape[-3] < 2:
        return yuma3.yuma3(s, x, p)
    admit(e)
    stake = masks.above_threshold(x.stake, p.stake_threshold)
    voting = masks.active_stake(stake, masks.inactive(x.last_update, p.activity_cutoff, x.now), x.permits)
    g = gates(found(audits(e, voting), p.audit_tolerance, p.audit_penalty), voting, p)
    heard = copy(x)  # what was checked as a whole only shrinks
    object.__setattr__(heard, "stake", gated(stake, g.vote))
    handed_out = permits(
        stake, p.max_validators, permit_zero_stake=p.permit_zero_stake, tie_to_newer=p.permit_tie_to_newer
    )
    a = replace(agree(heard, replace(p, stake_threshold=0)), permits=handed_out, stake=stake)
    state, dividends = held(s, x, p, a, normalise(gated(voting, g.pay)))
    return state, settle(a, dividends, x)


class Audited:
    """Its state is Yuma 3's."""

    def initial(self, shape: tuple[int, ...]) -> BondState:
        """No bonds, of inputs with weights of this shape."""
        return BondState(np.zeros(shape, dtype=np.int64))

    def epoch(self, s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
        """`audited`, a batch in chunks.

        Raises
        ------
        BadInput
            Evidence is not of places, or has two tasks on a column in an epoch.
        """
        return in_chunks(audited, s, x, p)
