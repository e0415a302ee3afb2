"""Scenarios of subtensor's tests: u16 weights of a few epochs, and the bonds and dividends they lead to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from davy.incentive.conformance.cases import forgetting, inputs, parameters, variant
from davy.incentive.conformance.report import Report, member
from davy.incentive.door import BadInput
from davy.incentive.fixed_point import ONE, U16
from davy.incentive.registry import mechanism

TOLERANCE = 1e-3


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
        rows, columns = member(scenario, "n_validators"), member(scenario, "n_servers")
        stakes = member(scenario, "stakes")[:rows]
        p = parameters({**stated, "liquid_alpha": member(scenario, "liquid_alpha")}, rows)
        none = inputs(np.zeros((rows, columns)).tolist(), stakes)
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
