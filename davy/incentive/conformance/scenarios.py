"""Scenarios of subtensor's tests: u16 weights of a few epochs, and the bonds and dividends they lead to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from davy.incentive.conformance.cases import forgetting, inputs, parameters, variant
from davy.incentive.conformance.report import Report, count, member
from davy.incentive.door import BadInput, whole
from davy.incentive.fixed_point import MAX_N, ONE, U16
from davy.incentive.registry import mechanism

TOLERANCE = 1e-3


def _size(scenario: Any, name: str) -> int:
    return whole(name, count(name, member(scenario, name)), 1, MAX_N)


def _require_compared(scenario: Any) -> None:
    """Refuse a scenario of which something that it states would be left out without a word."""
    if not isinstance(name := member(scenario, "test"), str):
        raise BadInput(f"test is {name!r}; it must be a scenario's name")
    epochs, checked = len(member(scenario, "weights_u16_per_epoch")), member(scenario, "checked_epochs")
    if not checked or len(set(checked)) != len(checked) or not set(checked) <= set(range(epochs)):
        raise BadInput(f"checked_epochs is {checked!r}; it must name some of the {epochs} epochs of weights, each once")
    for target in ("target_bonds_per_epoch", "target_dividends_per_epoch"):
        if len(member(scenario, target)) != len(checked):
            raise BadInput(f"{target} has {len(scenario[target])} epochs; {len(checked)} are checked")
    if unknown := set(scenario.get("bonds_reset_at", {})) - {str(epoch) for epoch in range(epochs)}:
        raise BadInput(f"bonds are to be reset at epochs {sorted(unknown)}; there are {epochs}")


def _reset_columns(scenario: Any, epoch: int) -> list[int]:
    """Columns whose bonds are reset before this epoch; the file names them by UID."""
    reset_at: dict[str, int | list[int]] = scenario.get("bonds_reset_at", {})
    servers: list[int] = member(scenario, "server_uids")
    uids = reset_at.get(str(epoch), [])
    named = [uids] if isinstance(uids, int) else uids
    if unknown := set(named) - set(servers):
        raise BadInput(f"bonds of UIDs {sorted(unknown)} are to be reset; the servers are {servers}")
    return [servers.index(uid) for uid in named]


def check(scenarios: Any, report: Report) -> None:
    """Run each scenario after one epoch without weights, as the tests do, and compare the epochs that they check."""
    stated = scenarios["params"]
    chosen = mechanism(variant(stated))
    for scenario in member(scenarios, "scenarios"):
        _require_compared(scenario)
        rows, columns = _size(scenario, "n_validators"), _size(scenario, "n_servers")
        stakes = member(scenario, "stakes")[:rows]
        p = parameters({**stated, "liquid_alpha": member(scenario, "liquid_alpha")}, rows)
        none = inputs([[0.0] * columns] * rows, stakes)
        state, result = chosen.epoch(chosen.initial((rows, columns)), none, p)
        checked = member(scenario, "checked_epochs")
        for epoch, weights in enumerate(member(scenario, "weights_u16_per_epoch")):
            x = replace(inputs(weights, stakes), permits=result.permits)
            for column in _reset_columns(scenario, epoch):
                x = forgetting(x, column)
            state, result = chosen.epoch(state, x, p)
            if epoch not in checked:
                continue
            bonds = member(scenario, "target_bonds_per_epoch")[checked.index(epoch)]
            dividends = member(scenario, "target_dividends_per_epoch")[checked.index(epoch)]
            name = member(scenario, "test")
            # One test writes its bond rows by UID from an offset, with a column in front that is none of the servers.
            report.compare(name, "bonds", state.bonds, U16, [row[-columns:] for row in bonds])
            report.compare(name, "dividends", result.dividends, ONE, dividends[:rows])
