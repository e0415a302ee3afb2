"""What happens in a block besides its transactions: payouts and accrual before them, epochs after them.

A subnet that is halted at the beginning accrues nothing: its part is counted as not minted. One that is halted at the
end runs no epoch. `frozen` says for whom a block does not count.

Each part stands in a savepoint of its own. A part that raises, does not conserve, or writes what cannot be read back is
undone, counted in the state and named in the operator's log; the rest of the block goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from msgspec.structs import replace

from davy.killswitch.brake import BrakeState
from davy.ledger.rules.brake import brake_of, write_halts
from davy.ledger.rules.conservation import conserved
from davy.ledger.rules.emission import accrue, withhold
from davy.ledger.rules.epoch import run_epoch, skip_epoch
from davy.ledger.rules.frozen import freeze, halted_subnets
from davy.ledger.rules.halts import kin_asked
from davy.ledger.rules.producers import change_seats, convict_producer, note_absences
from davy.ledger.rules.records import CHAIN, HOTKEYS, NEURONS, RUNNING, SUBNETS, RunningRecord, neuron_key, subnet_key
from davy.ledger.rules.stake import pay_unbonded
from davy.ledger.rules.state import State
from davy.ledger.rules.subnets import MAX_EPOCH_CELLS, permits_held
from davy.ledger.rules.upgrades import ABSENCES_SINCE, ALL_WORK_COUNTS_SINCE, PRODUCERS_SINCE
from davy.protocol.limits import MAX_BLOCK_ORDERS
from davy.protocol.words import Moment

T = TypeVar("T")

WORK_A_BLOCK: Final = 1 << 18
"""Neurons that registrations in full subnets may look at in one block, and models that those who serve are asked of."""
KEY_WORK_A_BLOCK: Final = 1 << 17
"""The same for keys that take another's place: nobody who uses up the other keeps an owner from replacing its key."""
EPOCH_WORK: Final = 1 << 12
"""What an epoch counts even where nobody is registered."""
NEURON_WORK: Final = 16
"""For each neuron, beside the pairs that it is in; these, and the next ones, as long as so many pairs take."""
POSITION_WORK: Final = 8
"""For each stake that is held on a neuron."""
PAID_WORK: Final = 96
"""For each that may be paid, so for all where anything is pending."""
PAID_SUBNET_WORK: Final = 3
"""For each of those and each subnet of its hotkey."""
KIN_WORK: Final = 6
"""For each model that is asked about while an order names any."""
MAX_EPOCH_WORK: Final = EPOCH_WORK + 2 * MAX_EPOCH_CELLS
"""Epochs in one block stop short of it; the largest subnet there may be just fits."""


def isolated(s: State, name: str, part: Callable[[], None], faults: list[str]) -> bool:
    """Run a part of a block; undo it if anything goes wrong in it. Returns whether it stands."""
    mark = s.savepoint()
    try:
        part()
        conserved(s, mark)
        s.read_back(mark)
    except MemoryError:  # this machine's, not the block's: to go on would fork from the others
        raise
    except Exception as e:  # an epoch of one subnet must not stop a chain
        s.rollback(mark)
        chain = s.need(CHAIN, b"", "the chain has no id")
        s.put(CHAIN, b"", replace(chain, faults=chain.faults + 1))
        faults.append(f"{name}: {type(e).__name__}: {e}")
        return False
    return True


def told(s: State, name: str, part: Callable[[], T], otherwise: T, faults: list[str]) -> T:
    """What a part of a block that only looks says; `otherwise` if anything goes wrong in it, which is counted."""
    found: list[T] = []
    return found[0] if isolated(s, name, lambda: found.append(part()), faults) else otherwise


class Begun(NamedTuple):
    """What a block began with."""

    brake: BrakeState | None
    """None where it cannot be read."""
    halted: frozenset[int]
    """Subnets."""


def begin_block(
    s: State, at: Moment, faults: list[str], evidence: Sequence[bytes] = (), absent: Sequence[bytes] = ()
) -> Begun:
    """Convict who voted twice, note who is absent, pay what has unbonded, then mint or withhold each subnet's part."""
    s.work, s.key_work, s.order_room = WORK_A_BLOCK, KEY_WORK_A_BLOCK, MAX_BLOCK_ORDERS
    s.kin, s.spent, s.changed, s.full = {}, {}, set(), set()
    begun = Begun(told(s, "the brake", lambda: brake_of(s), None, faults), halted(s, at, faults))
    for address in evidence if s.edition >= PRODUCERS_SINCE else ():
        isolated(s, "a conviction", lambda a=address: convict_producer(s, at, a), faults)
    if s.edition >= ABSENCES_SINCE:
        isolated(s, "absences", lambda: note_absences(s, absent), faults)
    isolated(s, "payouts", lambda: pay_unbonded(s, at), faults)
    for netuid in s.need(CHAIN, b"", "the chain has no id").netuids:
        part = withhold if netuid in begun.halted else accrue
        isolated(s, f"accrual of subnet {netuid}", lambda n=netuid, p=part: _accrual(s, at, n, p), faults)
    return begun


def _accrual(s: State, at: Moment, netuid: int, part: Callable[[State, Moment, int], None]) -> None:
    if s.need(SUBNETS, subnet_key(netuid), "no such subnet").share:
        part(s, at, netuid)


def end_block(s: State, at: Moment, begun: Begun, faults: list[str]) -> None:
    """Freeze what is halted, whose epochs then are not due, and run those that are, the longest overdue first.

    What exceeds the block's work runs in the next one; the first runs in any case, so none waits for ever. Where nobody
    can say which epochs end, none does; one whose work nobody can say is skipped like one that fails, and holds up no
    other.
    """
    isolated(s, "records of halts", lambda: write_halts(s, begun.brake), faults)
    isolated(s, "seats of producers", lambda: change_seats(s, at), faults)
    still = halted(s, at, faults)
    overdue = still.intersection(ending(s, at.height, faults))
    for netuid in sorted((begun.halted & still) | overdue):
        isolated(s, f"freezing subnet {netuid}", lambda n=netuid: freeze(s, n), faults)
    cells = 0
    for place, netuid in enumerate(ending(s, at.height, faults)):
        work = told(s, f"work of an epoch of subnet {netuid}", lambda n=netuid: epoch_work(s, n), None, faults)
        cells += EPOCH_WORK if work is None else work
        if cells > MAX_EPOCH_WORK and (place or s.edition < ALL_WORK_COUNTS_SINCE):
            return
        if work is None or not isolated(s, f"epoch of subnet {netuid}", lambda n=netuid: run_epoch(s, at, n), faults):
            isolated(s, f"skipping an epoch of subnet {netuid}", lambda n=netuid: skip_epoch(s, at, n), faults)


def halted(s: State, at: Moment, faults: list[str]) -> frozenset[int]:
    """Subnets that are halted; all of them where the brake cannot say, or an order that trips it would stop a chain."""
    everything = frozenset(s.need(CHAIN, b"", "the chain has no id").netuids)
    return told(s, "the brake's verdict on subnets", lambda: halted_subnets(s, at), everything, faults)


def ending(s: State, height: int, faults: list[str]) -> list[int]:
    """`due`, or none."""
    return told(s, "which epochs end", lambda: due(s, height), [], faults)


def due(s: State, height: int) -> list[int]:
    """Subnets whose running epoch ends at this height or should have ended before, in the order to run them."""
    ends = [
        (s.need(RUNNING, subnet_key(n), "a subnet without epochs").ends, n)
        for n in s.need(CHAIN, b"", "the chain has no id").netuids
    ]
    return [netuid for end, netuid in sorted(ends) if end <= height]


def epoch_work(s: State, netuid: int) -> int:
    """Units an epoch counts: its pairs of rows and columns, what it looks up, and a fixed part."""
    running = s.need(RUNNING, subnet_key(netuid), "a subnet without epochs")
    n = running.neurons
    gets = s.need(SUBNETS, subnet_key(netuid), "no such subnet").hyperparameters.max_validators
    held = permits_held(s, netuid)  # it may come from a time of more validators
    pairs = EPOCH_WORK + n * min(n, gets + max(gets, held))
    return pairs if s.edition < ALL_WORK_COUNTS_SINCE else pairs + _looked_up(s, netuid, running)


def _looked_up(s: State, netuid: int, running: RunningRecord) -> int:
    """Units for neurons, positions and kin, as if none were known yet: a node that restarts knows none."""
    units = running.neurons * NEURON_WORK
    asked = brake_of(s).naming.names_models
    kin: set[tuple[bytes, bytes]] = set()
    for uid in range(running.neurons):
        neuron = s.need(NEURONS, neuron_key(netuid, uid), "a UID without a neuron")
        hotkey = s.need(HOTKEYS, neuron.hotkey, "a neuron without a hotkey")
        if hotkey.delegators:
            paid = PAID_WORK + PAID_SUBNET_WORK * len(hotkey.netuids) if running.pending else 0
            units += len(hotkey.delegators) * (POSITION_WORK + paid)
        if asked and neuron.model:
            kin.add((neuron.coldkey, neuron.model[0].model_id))
    return units + KIN_WORK * sum(kin_asked(s, coldkey, model) for coldkey, model in kin)
