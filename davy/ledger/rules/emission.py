"""What is minted: a block's reward, each subnet's part of it, and the whole schedule as one function of the genesis."""

from __future__ import annotations

from msgspec.structs import replace

from davy.incentive.schedule import block_reward, subnet_reward
from davy.ledger.rules.records import RUNNING, SUBNETS, SUPPLY, SupplyRecord, subnet_key
from davy.ledger.rules.state import State
from davy.protocol.genesis import Genesis
from davy.protocol.limits import ChainParameters
from davy.protocol.words import MAX_SUPPLY, Moment


def reward_at(height: int, p: ChainParameters) -> int:
    """Base units of a block, by the chain's parameters."""
    return block_reward(height, initial=p.block_reward, interval=p.halving_interval)


def accrue(s: State, at: Moment, netuid: int) -> None:
    """Mint a block's part of a subnet into what its next epoch pays; never beyond MAX_SUPPLY."""
    key = subnet_key(netuid)
    supply = s.need(SUPPLY, b"", "the chain has no supply")
    minted = _part(s, at, netuid, supply)
    if minted:
        s.put(SUPPLY, b"", replace(supply, issued=supply.issued + minted))
        running = s.need(RUNNING, key, "a subnet without epochs")
        s.put(RUNNING, key, replace(running, pending=running.pending + minted))


def withhold(s: State, at: Moment, netuid: int) -> None:
    """Count a block's part of a halted subnet as not minted; nobody ever gets it."""
    supply = s.need(SUPPLY, b"", "the chain has no supply")
    s.put(SUPPLY, b"", replace(supply, unminted=supply.unminted + _part(s, at, netuid, supply)))


def unmint(s: State, amount: int) -> None:
    """Count what was minted for an epoch and would be a halted neuron's as not minted after all."""
    supply = s.need(SUPPLY, b"", "the chain has no supply")
    s.put(SUPPLY, b"", replace(supply, issued=supply.issued - amount, unminted=supply.unminted + amount))


def _part(s: State, at: Moment, netuid: int, supply: SupplyRecord) -> int:
    share = s.need(SUBNETS, subnet_key(netuid), "no such subnet").share
    left = MAX_SUPPLY - supply.issued - supply.unminted
    return min(subnet_reward(reward_at(at.height, s.parameters), share), left)


def scheduled_issuance(g: Genesis, height: int) -> int:
    """What must have been issued, or not minted, at a height while the genesis' shares stand.

    Compare with `Issuance.issued` + `Issuance.unminted`.

    Allocations + Σ over blocks Σ over subnets floor(reward · share / 10^6), at most MAX_SUPPLY. Burning changes
    nothing in it.
    """
    p = g.parameters
    issued, first = sum(a.amount for a in g.allocations), 1
    while first <= height and reward_at(first, p):
        last = min(height, (first - 1) // p.halving_interval * p.halving_interval + p.halving_interval)
        a_block = sum(subnet_reward(reward_at(first, p), x.share) for x in g.subnets)
        issued += (last - first + 1) * a_block
        first = last + 1
    return min(issued, MAX_SUPPLY)
