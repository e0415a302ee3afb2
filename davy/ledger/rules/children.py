"""Child keys: a hotkey's owner lends its stake on a subnet to others that vote with it."""

from __future__ import annotations

from itertools import pairwise

from davy.ledger.rules.facts import neuron_of
from davy.ledger.rules.families import (
    children_of,
    in_force,
    lends,
    name_parents,
    parents_of,
)
from davy.ledger.rules.halts import require_not_barred, require_running, subnet_subject
from davy.ledger.rules.records import (
    CHILDREN,
    HOTKEYS,
    PARENTS,
    RUNNING,
    ChildrenRecord,
    Loan,
    ParentsRecord,
    subnet_key,
)
from davy.ledger.rules.state import State
from davy.ledger.rules.upgrades import CHILDREN_LEAVE_SINCE
from davy.protocol.consents import child_consent
from davy.protocol.errors import BadSignature, TxCode, TxFailed
from davy.protocol.limits import MAX_PARENTS
from davy.protocol.signing import Domain, verify
from davy.protocol.transaction import Child, SetChildren
from davy.protocol.words import U16, Moment


def set_children(s: State, at: Moment, sender: bytes, x: SetChildren) -> None:
    """Keep to whom a hotkey lends from the next epoch on; a second change in one epoch takes the first one's place.

    The child votes with what it is lent, and pays of its dividends what that earned, less its take
    (`davy.incentive.children`), which is no more than the lender's and paid from that. Both have a UID on the subnet;
    whoever loses it has no loans any more. A child's owner leaves by handing in the parent's children without its own.

    Raises
    ------
    TxFailed
        NOT_FOUND: no such subnet, or no UID there, of it or a child. NOT_OWNER. HALTED. BARRED: it or a child. EXISTS:
        it is so already. MALFORMED: children not by rising hotkey, or the hotkey itself. OUT_OF_RANGE: parts of more
        than the whole. MISMATCH: it is lent to itself, or a child lends. BAD_SIGNATURE: a child of another owner
        that it does not name already does not consent in this epoch. FULL: a child with MAX_PARENTS.
    """
    running = s.need(RUNNING, subnet_key(x.netuid), "there is no subnet of this netuid; ask /subnets")
    require_running(s, at, subnet_subject(s, x.netuid), "lending stake on this subnet")
    h = s.need(HOTKEYS, x.hotkey, "the ledger does not know this hotkey; register it first")
    before = children_of(s, x.netuid, x.hotkey)
    now = in_force(before, running.epoch)
    if h.owner != sender:
        left = _left(s, sender, x, before.coming)
        if s.edition < CHILDREN_LEAVE_SINCE or left == before.coming:
            raise TxFailed(TxCode.NOT_OWNER, "only a hotkey's owner lends its stake, and only a child's lets it leave")
        _keep(s, x, before, ChildrenRecord(now, running.epoch, left))
        return
    require_not_barred(s, x.hotkey)
    neuron_of(s, x.netuid, x.hotkey)
    loans = _loans(x)
    if loans == before.coming:
        raise TxFailed(TxCode.EXISTS, "it lends so already")
    if loans and parents_of(s, x.netuid, x.hotkey, running.epoch):
        raise TxFailed(TxCode.MISMATCH, "others lend this hotkey stake on this subnet, and nothing is lent on")
    known = {loan.hotkey for loan in before.coming}
    if s.edition < CHILDREN_LEAVE_SINCE:
        known |= {loan.hotkey for loan in now}
    for child in x.children:
        _may_be_lent(s, x, child, running.epoch, asked=child.hotkey not in known)
    _keep(s, x, before, ChildrenRecord(now, running.epoch, loans))


def _left(s: State, sender: bytes, x: SetChildren, coming: tuple[Loan, ...]) -> tuple[Loan, ...]:
    """What is lent on once hotkeys of the sender's that are not named any more have left.

    Nothing else that is handed in counts: a parent could keep a child by changing another loan in every block.
    """
    named = {loan.hotkey for loan in _loans(x)}
    owners = {loan.hotkey: s.need(HOTKEYS, loan.hotkey, "a loan to no hotkey").owner for loan in coming}
    return tuple(loan for loan in coming if loan.hotkey in named or owners[loan.hotkey] != sender)


def _keep(s: State, x: SetChildren, before: ChildrenRecord, after: ChildrenRecord) -> None:
    if after.lent or after.coming:
        s.put(CHILDREN, subnet_key(x.netuid) + x.hotkey, after)
    else:
        s.delete(CHILDREN, subnet_key(x.netuid) + x.hotkey)
    name_parents(s, x.netuid, x.hotkey, before, after)


def _loans(x: SetChildren) -> tuple[Loan, ...]:
    names = [child.hotkey for child in x.children]
    if x.hotkey in names or any(a >= b for a, b in pairwise(names)):
        raise TxFailed(TxCode.MALFORMED, "children are other hotkeys, named by rising key, each once; sort them")
    if sum(child.proportion for child in x.children) > U16:
        raise TxFailed(TxCode.OUT_OF_RANGE, f"the parts sum to more than {U16}, which is all its stake; lend less")
    return tuple(Loan(child.hotkey, child.proportion) for child in x.children)


def _may_be_lent(s: State, x: SetChildren, child: Child, epoch: int, *, asked: bool) -> None:
    neuron_of(s, x.netuid, child.hotkey)
    require_not_barred(s, child.hotkey)
    if lends(s, x.netuid, child.hotkey, epoch):
        raise TxFailed(TxCode.MISMATCH, "a child lends stake itself on this subnet, or did in this epoch")
    if not asked:
        return
    owners = {s.need(HOTKEYS, key, "a neuron without a hotkey").owner for key in (x.hotkey, child.hotkey)}
    if len(owners) > 1:
        try:
            said = child_consent(s.chain, x.netuid, x.hotkey, child.hotkey, epoch)
            verify(child.hotkey, Domain.CHILD, said, child.consent)
        except BadSignature as e:
            raise TxFailed(TxCode.BAD_SIGNATURE, f"a child's consent for epoch {epoch}: {e}") from None
    parents = parents_of(s, x.netuid, child.hotkey, epoch)
    if len({*parents} - {x.hotkey}) >= MAX_PARENTS:
        raise TxFailed(TxCode.FULL, f"{MAX_PARENTS} hotkeys lend to this child already; choose another")
    if s.get(PARENTS, subnet_key(x.netuid) + child.hotkey) is not None:  # those who left make room
        s.put(PARENTS, subnet_key(x.netuid) + child.hotkey, ParentsRecord(parents))
