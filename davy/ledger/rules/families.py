"""Who lends whom stake on a subnet, epoch by epoch: what `davy.incentive.children` is asked with.

What is set in an epoch holds from the next one on, like all else that could be turned round when the weights are known.
A key lends or is lent to on a subnet, not both; so nothing is lent on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from msgspec.structs import replace

from davy.incentive.children import Families
from davy.ledger.rules.halts import barred
from davy.ledger.rules.records import CHILDREN, PARENTS, ChildrenRecord, Loan, NeuronRecord, ParentsRecord, subnet_key
from davy.ledger.rules.state import State

NOTHING: Final = ChildrenRecord((), 0, ())


def children_of(s: State, netuid: int, hotkey: bytes) -> ChildrenRecord:
    """A hotkey's loans on a subnet, whenever they hold; none where it never lent."""
    return s.get(CHILDREN, subnet_key(netuid) + hotkey) or NOTHING


def in_force(record: ChildrenRecord, epoch: int) -> tuple[Loan, ...]:
    """What a hotkey lends in an epoch that is not before the last one in which it was changed."""
    return record.coming if record.set_in < epoch else record.lent


def lends(s: State, netuid: int, hotkey: bytes, epoch: int) -> tuple[Loan, ...]:
    """What a hotkey lends now or after this epoch."""
    record = children_of(s, netuid, hotkey)
    return (*in_force(record, epoch), *record.coming)


def parents_of(s: State, netuid: int, hotkey: bytes, epoch: int) -> tuple[bytes, ...]:
    """Who lends to a hotkey now or after this epoch, sorted."""
    named = s.get(PARENTS, subnet_key(netuid) + hotkey)
    known = () if named is None else named.parents
    return tuple(p for p in known if any(loan.hotkey == hotkey for loan in lends(s, netuid, p, epoch)))


def families_of(s: State, netuid: int, neurons: Sequence[NeuronRecord], epoch: int) -> Families | None:
    """All loans that hold in an epoch, by UID; None without any. A convicted key neither lends nor is lent to."""
    key = subnet_key(netuid)
    known = [s.get(CHILDREN, key + neuron.hotkey) for neuron in neurons]
    lenders = [(uid, neurons[uid], record) for uid, record in enumerate(known) if record is not None]
    place = {neuron.hotkey: uid for uid, neuron in enumerate(neurons)} if lenders else {}
    loans: list[tuple[int, int, int, bool]] = []
    for uid, neuron, record in lenders:
        for loan in in_force(record, epoch):
            child = place.get(loan.hotkey)
            if child is not None and not barred(s, neuron.hotkey) and not barred(s, loan.hotkey):
                loans.append((uid, child, loan.proportion, neurons[child].coldkey == neuron.coldkey))
    if not loans:
        return None
    parents, children, proportions, related = zip(*loans, strict=True)
    return Families(
        n=len(neurons),
        parents=np.array(parents, dtype=np.int64),
        children=np.array(children, dtype=np.int64),
        proportions=np.array(proportions, dtype=np.int64),
        related=np.array(related, dtype=np.bool_),
    )


def name_parents(s: State, netuid: int, parent: bytes, before: ChildrenRecord, after: ChildrenRecord) -> None:
    """Bring the records by child up to a change of a parent's."""
    old, new = _named(before), _named(after)
    for child in sorted(old - new):
        _keep_parents(s, netuid, child, lambda known: known - {parent})
    for child in sorted(new):
        _keep_parents(s, netuid, child, lambda known: known | {parent})


def forget_family(s: State, netuid: int, hotkey: bytes) -> None:
    """A hotkey that loses its UID lends nothing and is lent nothing any more."""
    key = subnet_key(netuid)
    record = children_of(s, netuid, hotkey)
    name_parents(s, netuid, hotkey, record, NOTHING)
    s.delete(CHILDREN, key + hotkey)
    named = s.get(PARENTS, key + hotkey)
    for parent in () if named is None else named.parents:
        _change_loans(s, netuid, parent, lambda loan: None if loan.hotkey == hotkey else loan)
    s.delete(PARENTS, key + hotkey)


def rename_family(s: State, netuid: int, hotkey: bytes, successor: bytes) -> None:
    """Put a hotkey in the place of another one, as parent and as child."""
    key = subnet_key(netuid)
    record, named = s.get(CHILDREN, key + hotkey), s.get(PARENTS, key + hotkey)
    if record is not None:
        name_parents(s, netuid, hotkey, record, NOTHING)
        name_parents(s, netuid, successor, NOTHING, record)
        s.delete(CHILDREN, key + hotkey)
        s.put(CHILDREN, key + successor, record)
    if named is not None:
        for parent in named.parents:
            _change_loans(s, netuid, parent, lambda x: replace(x, hotkey=successor) if x.hotkey == hotkey else x)
        s.delete(PARENTS, key + hotkey)
        s.put(PARENTS, key + successor, named)


def _named(record: ChildrenRecord) -> set[bytes]:
    return {loan.hotkey for loan in (*record.lent, *record.coming)}


def _keep_parents(s: State, netuid: int, child: bytes, change: Callable[[set[bytes]], set[bytes]]) -> None:
    key = subnet_key(netuid) + child
    named = s.get(PARENTS, key)
    parents = change(set() if named is None else set(named.parents))
    if parents:
        s.put(PARENTS, key, ParentsRecord(tuple(sorted(parents))))
    else:
        s.delete(PARENTS, key)


def _change_loans(s: State, netuid: int, parent: bytes, change: Callable[[Loan], Loan | None]) -> None:
    key = subnet_key(netuid) + parent
    record = s.get(CHILDREN, key)
    if record is None:
        return
    lent, coming = (
        tuple(sorted((new for loan in loans if (new := change(loan)) is not None), key=lambda loan: loan.hotkey))
        for loans in (record.lent, record.coming)
    )
    if lent or coming:
        s.put(CHILDREN, key, ChildrenRecord(lent, record.set_in, coming))
    else:
        s.delete(CHILDREN, key)
