"""What happens in a block besides its transactions: payouts and accrual before them, epochs after them.

Each part stands in a savepoint of its own. A part that raises or does not conserve is undone, counted in the state and named in
the operator's log; the rest of the block goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from davy.ledger.rules.conservation import conserved
from davy.ledger.rules.emission import accrue
from davy.ledger.rules.records import CHAIN, SUBNETS, subnet_key
from davy.ledger.rules.stake import pay_unbonded
from davy.ledger.rules.state import State
from davy.protocol.words import Moment


def isolated(s: State, name: str, part: Callable[[], None], faults: list[str]) -> bool:
    """Run a part of a block; undo it if anything goes wrong in it. Returns whether it stands."""
    mark = s.savepoint()
    try:
        part()
        conserved(s, mark)
    except MemoryError:  # this machine's, not the block's: to go on would fork from the others
        raise
    except Exception as e:  # an epoch of one subnet must not stop a chain
        s.rollback(mark)
        chain = s.need(CHAIN, b"", "the chain has no id")
        s.put(CHAIN, b"", replace(chain, faults=chain.faults + 1))
        faults.append(f"{name}: {type(e).__name__}: {e}")
        return False
    return True


def begin_block(s: State, at: Moment, faults: list[str]) -> None:
    """Pay what has unbonded, then mint each subnet's part."""
    isolated(s, "payouts", lambda: pay_unbonded(s, at), faults)
    for netuid in s.need(CHAIN, b"", "the chain has no id").netuids:
        if s.need(SUBNETS, subnet_key(netuid), "no such subnet").share:
            isolated(s, f"accrual of subnet {netuid}", lambda n=netuid: accrue(s, at, n), faults)


def end_block(s: State, at: Moment, faults: list[str]) -> None:
    """Run the epochs that are due."""
