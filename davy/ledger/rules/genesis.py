"""The state before the first block, from the genesis alone."""

from __future__ import annotations

from davy.ledger.rules.brake import first_brake
from davy.ledger.rules.conservation import places
from davy.ledger.rules.records import (
    ACCOUNTS,
    ANSWER_QUEUE,
    BRAKE,
    CHAIN,
    DRILL_LIST,
    ISSUANCE,
    PARAMETERS,
    QUEUE,
    ROSTERS,
    RUNNING,
    SUBNETS,
    SUPPLY,
    AccountRecord,
    ChainRecord,
    DrillsRecord,
    QueueRecord,
    RunningRecord,
    SubnetRecord,
    SupplyRecord,
    subnet_key,
)
from davy.ledger.rules.state import State
from davy.ledger.rules.subnets import epoch_end, well_formed
from davy.protocol.chain import Issuance
from davy.protocol.errors import Malformed, TxFailed
from davy.protocol.genesis import Genesis, GenesisSubnet, chain_id
from davy.protocol.limits import EMISSION_PARTS
from davy.protocol.roster import check_roster
from davy.protocol.words import MAX_SUPPLY


def genesis_state(g: Genesis) -> State:
    """Return the state at height 0; its journal is empty.

    Raises
    ------
    Malformed
        Allocations beyond the supply, a subnet or an owner twice, shares of more than everything, hyperparameters that
        `subnets.well_formed` refuses, a price range upside down, or keyholders that `check_roster` refuses or that are
        not of group epoch 0.
    """
    issued = sum(a.amount for a in g.allocations)
    netuids = tuple(sorted(x.netuid for x in g.subnets))
    _require(issued <= MAX_SUPPLY, f"the allocations sum to {issued}, more than the supply of {MAX_SUPPLY}")
    _require(len({a.owner for a in g.allocations}) == len(g.allocations), "an owner has two allocations; add them up")
    _require(len(set(netuids)) == len(netuids), "two subnets have the same netuid; give each its own")
    _require(sum(x.share for x in g.subnets) <= EMISSION_PARTS, f"the shares sum to more than {EMISSION_PARTS}")
    _require(g.parameters.burn_low <= g.parameters.burn_high, "burn_low is above burn_high; exchange them")
    for r in g.keyholders:
        _require(r.epoch == 0, f"the first keyholders are of group epoch 0, not {r.epoch}; number them so")
        check_roster(r)
    s = State({})
    s.put(CHAIN, b"", ChainRecord(chain_id(g), netuids, 0))
    s.put(PARAMETERS, b"", g.parameters)
    s.put(SUPPLY, b"", SupplyRecord(issued, 0, 0))
    s.put(QUEUE, b"", QueueRecord(0, 0))
    s.put(ANSWER_QUEUE, b"", QueueRecord(0, 0))
    s.put(DRILL_LIST, b"", DrillsRecord(()))
    s.put(BRAKE, b"", first_brake())
    for r in g.keyholders:
        s.put(ROSTERS, bytes([r.epoch]), r)
    for a in g.allocations:
        s.put(ACCOUNTS, a.owner, AccountRecord(0, a.amount, 0))
    for x in g.subnets:
        _put_subnet(s, x)
    s.put(ISSUANCE, b"", Issuance(**places(s.records.values())))
    return s


def _put_subnet(s: State, x: GenesisSubnet) -> None:
    try:
        well_formed(x.mechanism, x.hyperparameters)
    except TxFailed as e:
        raise Malformed(f"subnet {x.netuid}: {e}") from None
    key, h = subnet_key(x.netuid), x.hyperparameters
    s.put(SUBNETS, key, SubnetRecord(x.owner, x.task, x.mechanism, h, x.share))
    s.put(RUNNING, key, RunningRecord(0, 0, epoch_end(x.netuid, h.tempo, 0), 0, 0, s.parameters.burn_low, 0, 0, 0, 0))


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise Malformed(message)
