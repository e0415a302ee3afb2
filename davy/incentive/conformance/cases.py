"""Cases of many epochs: inputs in one file, the expected outputs of a variant of the mechanism in others."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from davy.incentive.conformance.report import Nested, Report, count, member, proportion, shares
from davy.incentive.door import BadInput
from davy.incentive.fixed_point import ONE, PPM, U16, BondFormat, Int64
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params
from davy.incentive.registry import mechanism

TOLERANCE = 1e-4

_STAKE_ONE = 10**15
_WEIGHT_ONE = 1 << 31
_FORMATS = re.compile(r"\b[uifq]\d+\b|65535|float|double|decimal", re.ASCII)
"""Names of number formats in a description of how bonds are stored."""


def switch(stated: Any, name: str, *, default: bool) -> bool:
    """A member that is true or false: a word or a number in its place is refused."""
    value = stated.get(name, default)
    if not isinstance(value, bool):
        raise BadInput(f"{name} is {value!r}; it must be true or false")
    return value


def _liquid(stated: Any) -> dict[str, Any]:
    """Bounds and steepness of liquid alpha, which a file need not state where it is off."""
    if not switch(stated, "liquid_alpha", default=False):
        return {}
    steepness = member(stated, "alpha_sigmoid_steepness", "sigmoid_steepness")
    return {
        "liquid_alpha": True,
        "alpha_low": proportion(stated, U16, "alpha_low"),
        "alpha_high": proportion(stated, U16, "alpha_high"),
        "alpha_steepness": count("the steepness of liquid alpha", steepness),
    }


def _require_u16(storage: object) -> None:
    """Refuse a description of how bonds are stored that says anything but u16, such as "u32, not u16"."""
    named = set(_FORMATS.findall(storage.lower())) if isinstance(storage, str) else set[str]()
    if not named or named - {"u16", "65535"}:
        raise BadInput(f"bonds are stored as {storage!r}; only u16 is known")


def parameters(stated: Any, rows: int) -> Params:
    """Hyperparameters as a vector file states them. Bonds are stored in u16, and every row may hold a permit."""
    _require_u16(stated.get("bond_storage", "u16"))
    counted = "kappa_u16" in stated  # there 1 is one of 65535, not all of them
    options: dict[str, Any] = {
        "kappa": count("kappa_u16", stated["kappa_u16"]) if counted else proportion(stated, U16, "kappa"),
        "bond_penalty": proportion(stated, U16, "bonds_penalty"),
        "moving_average": proportion(stated, PPM, "bonds_moving_average", "bonds_moving_avg"),
        "max_validators": count("max_allowed_validators", stated.get("max_allowed_validators", rows)),
    }
    return Params(
        **options | _liquid(stated),
        permit_zero_stake=True,
        permit_tie_to_newer=True,
        bond_format=BondFormat.U16,
    )


def variant(stated: Any) -> str:
    """The name in the registry of the mechanism that a vector file's parameters are of."""
    member(stated, "yuma3")
    return "yuma3" if switch(stated, "yuma3", default=True) else "yuma2"


def inputs(weights: Nested, stakes: Nested) -> EpochInputs:
    """Weights and stakes of any scale as integers, finer than u16: the references normalised them and rounded none."""
    return EpochInputs.unmasked(shares(weights, _WEIGHT_ONE), shares(stakes, _STAKE_ONE))


def forgetting(x: EpochInputs, column: int) -> EpochInputs:
    """These inputs, with a column whose bonds are forgotten: it registered at the block of the epoch before."""
    if not 0 <= column < x.registered_at.shape[-1]:
        raise BadInput(f"bonds of column {column} are to be reset; there are {x.registered_at.shape[-1]}")
    registered_at = x.registered_at.copy()
    registered_at[column] = x.previous_epoch
    return replace(x, registered_at=registered_at)


def _reset(case: Any, epochs: int) -> tuple[int, int] | None:
    """The epoch before which a case resets bonds, and the column whose bonds they are."""
    if not switch(case, "reset_bonds", default=False):
        return None
    epoch = count("reset_bonds_epoch", member(case, "reset_bonds_epoch"))
    if not 0 <= epoch < epochs:
        raise BadInput(f"bonds are to be reset at epoch {epoch}; there are {epochs}")
    return epoch, count("reset_bonds_index", member(case, "reset_bonds_index"))


def measured(result: EpochResult, state: BondState) -> dict[str, tuple[Int64, int]]:
    """What an epoch gave, under the names of the expected outputs, each with the integer that stands for 1."""
    return {
        "validator_reward_normalized": (result.dividends, ONE),
        "server_incentive": (result.incentive, ONE),
        "consensus": (result.consensus, ONE),
        "bonds": (state.bonds, U16),
        "validator_trust": (result.validator_trust, ONE),
    }


def check(cases: Any, expected: Any, report: Report) -> None:
    """Run every expected case from no bonds, and compare each field after each epoch."""
    chosen = mechanism(variant(expected["params"]))
    for name, fields in member(expected, "cases").items():
        case = member(cases, name)
        label = f"{member(expected, 'variant')}, {name}"
        weights, stakes = member(case, "weights"), member(case, "stakes")
        if not fields or any(len(values) != len(weights) for values in fields.values()):
            raise BadInput(f"{name} has {len(weights)} epochs of weights; every expected field needs as many")
        reset = _reset(case, len(weights))
        state = None
        for epoch, (row_weights, row_stakes) in enumerate(zip(weights, stakes, strict=True)):
            x = inputs(row_weights, row_stakes)
            if reset and epoch == reset[0]:
                x = forgetting(x, reset[1])
            state = state or chosen.initial(x.weights.shape)
            state, result = chosen.epoch(state, x, parameters(expected["params"], x.weights.shape[-2]))
            outputs = measured(result, state)
            for field, values in fields.items():
                if field not in outputs:
                    raise BadInput(f"{field!r} is expected; only {', '.join(outputs)} are known")
                report.compare(label, field, *outputs[field], values[epoch])
