"""Child keys: stake that a hotkey lends to others to vote with, and the dividends that come back for it.

A parent p names children c and for each a proportion of its stake, P_pc. What it lends counts as the child's, in votes
as in permits; dividends of the child are its own and its parents' by what each contributed, and the child keeps its
take of what is a parent's. A key is a parent or a child on a subnet, not both, so nothing is lent on.

Sources: subtensor's staking/set_children.rs, staking/stake_utils.rs (`get_inherited_for_hotkey_on_subnet`) and
coinbase/run_coinbase.rs (`get_parent_child_dividends_distribution`). There proportions are 64 bits wide, sums are
rounded down parent by parent, and the child keeps what that loses; here nothing is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from davy.incentive.door import BadInput, flags, integers, whole
from davy.incentive.emission import cut
from davy.incentive.fixed_point import MAX_AMOUNT, MAX_N, MAX_TOTAL_STAKE, U16, Bool, Int64, apportion

MAX_LOANS = 5 * MAX_N
"""Five children a parent, as in subtensor's `ensure_childkey_count`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Families:
    """Who lends to whom among `n` keys (0 to n − 1): L loans, in no particular order.

    Attributes
    ----------
    n : keys, 1 to 4096
    parents, children : int64 [L]
        A pair stands once, and no key is on both sides.
    proportions : int64 [L], u16 from 1
        Of the parent's stake; those of one parent sum to 65535 at most.
    related : bool [L]
        Parent and child have one owner: then the child takes nothing.

    Raises
    ------
    BadInput
        A field of the wrong type, shape or range, a pair that stands twice, a key on both sides, or a parent that lends
        more than it has.
    """

    n: int
    parents: Int64
    children: Int64
    proportions: Int64
    related: Bool

    def __post_init__(self) -> None:
        n = whole("n", self.n, 1, MAX_N)
        if not np.size(self.parents):
            raise BadInput("parents is empty; without loans there is nothing to do here")
        parents, children = integers("parents", self.parents, 0, n - 1), integers("children", self.children, 0, n - 1)
        proportions = integers("proportions", self.proportions, 1, U16)
        related = flags("related", self.related)
        for name, array in (("children", children), ("proportions", proportions), ("related", related)):
            if parents.ndim != 1 or array.shape != parents.shape:
                raise BadInput(f"{name} has shape {array.shape}, parents {parents.shape}; they must be one vector each")
        if len(parents) > MAX_LOANS:
            raise BadInput(f"{len(parents)} loans are more than {MAX_LOANS}")
        if np.intersect1d(parents, children).size:
            raise BadInput("a key is parent and child at once; on one subnet it may be one of them")
        if len(np.unique(parents * MAX_N + children)) < len(parents):
            raise BadInput("a parent names the same child twice; name it once")
        if int(_sums(proportions, parents, n).max()) > U16:
            raise BadInput(f"a parent lends more than its stake: its proportions sum to more than {U16}")


def _sums(values: Int64, keys: Int64, n: int) -> Int64:
    """Values [..., L] summed by key, [..., n]."""
    summed = np.zeros((n, *values.shape[:-1]), dtype=np.int64)
    np.add.at(summed, keys, np.moveaxis(values, -1, 0))
    return np.moveaxis(summed, 0, -1)


def _stakes(stake: Int64, f: Families) -> Int64:
    checked = integers("stake", stake, 0, MAX_TOTAL_STAKE)
    if checked.shape[-1:] != (f.n,):
        raise BadInput(f"stake has shape {checked.shape}; it must be [..., {f.n}]")
    if int((checked >> 12).sum(axis=-1).max()) > MAX_TOTAL_STAKE >> 12:
        raise BadInput(f"stake sums to more than {MAX_TOTAL_STAKE} base units, which is all there can be")
    return checked


def lent(stake: Int64, f: Families) -> Int64:
    """K_pc = floor(s_p · P_pc / 65535), [..., L] base units, of what the keys hold themselves, s [..., n]."""
    held = _stakes(stake, f)[..., f.parents]
    quotient, rest = np.divmod(held, U16)  # s·P needs 71 bits; quotient·P < 2^55, rest·P < 2^32
    return quotient * f.proportions + rest * f.proportions // U16


def voting_stake(stake: Int64, f: Families) -> Int64:
    """s_h − Σ_c K_hc + Σ_p K_ph, [..., n] base units: what counts for each key on the subnet. The sum is that of s.

    Raises
    ------
    BadInput
        Stakes of the wrong type, shape or range.
    """
    moved = lent(stake, f)
    return stake - _sums(moved, f.parents, f.n) + _sums(moved, f.children, f.n)


def family_dividends(
    dividends: Int64, stake: Int64, takes: Int64, f: Families, *, burn: int = 0, grants: Int64 | None = None
) -> tuple[Int64, Int64]:
    """What each key has of the dividends after the children paid their parents, [..., n], and what is burned, [...].

    A child's dividends D_c are split by s_c and K_pc to the last unit (largest remainder; ties first to the child, then
    in the order of the loans). Of a part X of a parent with another owner the child keeps floor(X · take_c / 65535) and
    floor(X · burn / 65535) is burned; together at most X. Where neither has stake, all of D_c is the child's.

    Parameters
    ----------
    dividends : int64 [..., n], 0 to 2^60
    stake : int64 [..., n], what the keys hold themselves
    takes : int64 [n], u16
    burn : u16, subtensor's `CKBurn`, 0 there too
    grants : int64 [n], u16, the most that a child keeps of each parent's part; without it nothing bounds its take

    Raises
    ------
    BadInput
        A number of the wrong type, shape or range.
    """
    paid = integers("dividends", dividends, 0, MAX_AMOUNT).copy()
    rates = integers("takes", takes, 0, U16 - whole("burn", burn, 0, U16))
    bounds = np.full(f.n, U16) if grants is None else integers("grants", grants, 0, U16)
    moved = lent(stake, f)
    if paid.shape != stake.shape or rates.shape != (f.n,) or bounds.shape != (f.n,):
        raise BadInput(f"dividends have shape {paid.shape}, stake {stake.shape}, takes {rates.shape}, of {f.n} keys")
    burned = np.zeros(paid.shape[:-1], dtype=np.int64)
    for child in np.unique(f.children).tolist():
        loans = np.flatnonzero(f.children == child)
        claims = np.concatenate((stake[..., child, None], moved[..., loans]), axis=-1)
        parts = apportion(paid[..., child], claims)[..., 1:]
        strangers = np.where(f.related[loans], 0, parts)
        of_burn = cut(strangers, burn)
        reach_parents = parts - cut(strangers, np.minimum(rates[child], bounds[f.parents[loans]])) - of_burn
        paid[..., child] -= (reach_parents + of_burn).sum(axis=-1)
        burned += of_burn.sum(axis=-1)
        paid += _sums(reach_parents, f.parents[loans], f.n)
    return paid, burned
