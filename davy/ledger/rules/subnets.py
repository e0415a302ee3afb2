"""Subnets: their creation, when their epochs end, and what a registration costs."""

from __future__ import annotations

from typing import Final

from davy.incentive.registry import MECHANISMS
from davy.killswitch.scope import Subject
from davy.ledger.rules.accounts import burn, debit
from davy.ledger.rules.halts import require_running
from davy.ledger.rules.records import (
    CHAIN,
    OUTCOMES,
    RUNNING,
    SUBNETS,
    TAKEN,
    ChainRecord,
    RunningRecord,
    SubnetRecord,
    subnet_key,
)
from davy.ledger.rules.state import State
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.limits import MAX_SUBNETS, ChainParameters, Hyperparameters
from davy.protocol.transaction import CreateSubnet
from davy.protocol.words import Moment

MAX_EPOCH_CELLS: Final = 1 << 20
"""Pairs of a validator and a neuron that one epoch may have to weigh."""
CELLS_A_BLOCK: Final = 1 << 14
"""And that a subnet may ask for on average a block, so that a short tempo goes with a small subnet."""
SURGE: Final = 3
"""Registrations an epoch takes at most, in multiples of what its subnet wants; they double the price."""
TURNOVER: Final = 16
"""Of so many UIDs one may be taken from others in an epoch, and one in a smaller subnet; that doubles the price."""


def epoch_end(netuid: int, tempo: int, after: int) -> int:
    """The first height > `after` with height ≡ −(netuid + 1) (mod tempo): neighbours end in different blocks."""
    return after + 1 + (-(after + 1) - (netuid + 1)) % tempo


def well_formed(mechanism: str, h: Hyperparameters) -> None:
    """Check what the ranges of single hyperparameters cannot say.

    Raises
    ------
    TxFailed
        NOT_FOUND for an unknown mechanism. OUT_OF_RANGE: alpha_low > alpha_high, a κ of zero, a steepness that is
        not 1 to 100 thousands, a bonds_format other than 16 or 32, or more work than an epoch may be.
    """
    if mechanism not in MECHANISMS:
        raise TxFailed(
            TxCode.NOT_FOUND, f"there is no mechanism of this name; choose one of {', '.join(sorted(MECHANISMS))}"
        )
    cells = h.max_validators * h.max_uids
    faults = {
        "alpha_low is above alpha_high; exchange them": h.alpha_low > h.alpha_high,
        "kappa must be at least 1": h.kappa < 1,
        "alpha_steepness counts thousandths and must be a whole number from 1000 to 100000": h.alpha_steepness % 1000
        != 0
        or not 1_000 <= h.alpha_steepness <= 100_000,
        "bonds_format must be 16 or 32": h.bonds_format not in (16, 32),
        f"max_validators × max_uids is {cells}; it may be at most {MAX_EPOCH_CELLS}, and {CELLS_A_BLOCK} × tempo": cells
        > min(MAX_EPOCH_CELLS, CELLS_A_BLOCK * h.tempo),
    }
    for message, wrong in faults.items():
        if wrong:
            raise TxFailed(TxCode.OUT_OF_RANGE, message)


def permits_held(s: State, netuid: int) -> int:
    """How many permits the last epoch that did not fail gave: their rows count in the next one."""
    outcome = s.get(OUTCOMES, subnet_key(netuid))
    return 0 if outcome is None else outcome.permits.count(1)


def create_subnet(s: State, at: Moment, sender: bytes, x: CreateSubnet) -> None:
    """Burn `subnet_price` and open a subnet under the lowest netuid that is free; its emission share is zero.

    Raises
    ------
    TxFailed
        HALTED; FULL with MAX_SUBNETS; INSUFFICIENT; what `well_formed` refuses.
    """
    require_running(s, at, Subject(), "creating a subnet")
    chain = s.need(CHAIN, b"", "the chain has no id")
    if len(chain.netuids) >= MAX_SUBNETS:
        raise TxFailed(TxCode.FULL, f"there are {MAX_SUBNETS} subnets, and no more are taken")
    well_formed(x.mechanism, x.hyperparameters)
    price = s.parameters.subnet_price
    debit(s, sender, price)
    burn(s, price)
    taken = set(chain.netuids)
    netuid = next(n for n in range(MAX_SUBNETS + 1) if n not in taken)
    s.put(CHAIN, b"", ChainRecord(chain.chain, tuple(sorted((*chain.netuids, netuid))), chain.faults))
    key, h = subnet_key(netuid), x.hyperparameters
    s.put(SUBNETS, key, SubnetRecord(sender, x.task, x.mechanism, h, 0))
    ends = epoch_end(netuid, h.tempo, at.height)
    s.put(RUNNING, key, RunningRecord(0, at.height, ends, 0, 0, s.parameters.burn_low, 0, 0, 0, 0))


def taken(s: State, netuid: int, epoch: int) -> int:
    """How many UIDs newcomers took from others in an epoch; 0 where it was not counted."""
    record = s.get(TAKEN, subnet_key(netuid))
    return record.count if record is not None and record.epoch == epoch else 0


def turnover(max_uids: int) -> int:
    """How many UIDs newcomers may take from others in an epoch."""
    return max(1, max_uids // TURNOVER)


def registration_price(price: int, registrations: int, wanted: int, p: ChainParameters) -> int:
    """The next epoch's price: price · (registrations + wanted) / (2 · wanted), within burn_low and burn_high.

    No registration halves it, as many as wanted keep it, three times as many double it. A price of zero rises from
    one base unit.
    """
    counted = min(registrations, SURGE * wanted)
    return min(max(max(price, 1) * (counted + wanted) // (2 * wanted), p.burn_low), p.burn_high)
