"""Vector files of other parameters, in the format of tests/vectors/yuma, computed in float64 and plain loops.

Nothing of davy's rules is used, and the steps are those of subtensor's run_epoch.rs as its documentation has them.
"""

from fractions import Fraction
from math import exp, floor
from typing import Any

from tests.incentive.epochs import Stream

Row = list[float]
U16 = 65_535


def unit_sum(values: Row) -> Row:
    total = sum(values)
    return [value / total for value in values] if total > 0 else [0.0] * len(values)


def transposed(matrix: list[Row]) -> list[Row]:
    return [list(column) for column in zip(*matrix, strict=True)]


def median(column: Row, stakes: Row, kappa: float) -> float:
    votes = [Fraction(str(stake)) for stake in stakes]
    for w in sorted(set(column)):
        below = sum((vote for vote, v in zip(votes, column, strict=True) if v <= w), Fraction(0))
        if below > (1 - Fraction(round(kappa * U16), U16)) * sum(votes):
            return w
    return 0.0


def stored(share: float) -> float:
    return floor(share * U16 + 1e-9) / U16


def alpha(w: float, b: float, c: float, p: dict[str, Any]) -> float:
    ahead = min(1.0, max(0.0, (w - c) if w >= b else (b - w)))
    sigma = 1 / (1 + exp(-p["sigmoid_steepness"] * (ahead - 0.5)))
    return p["alpha_low"] + sigma * (p["alpha_high"] - p["alpha_low"])


def epoch(weights: list[Row], stakes: Row, bonds: list[Row], p: dict[str, Any]) -> tuple[dict[str, Any], list[Row]]:
    """What one epoch gives under the names of the format, and the bonds as stored."""
    servers = range(len(weights[0]))
    share = unit_sum(stakes)
    w = [unit_sum(row) for row in weights]
    consensus = [median([row[j] for row in w], stakes, p["kappa"]) for j in servers]
    clipped = [[min(row[j], consensus[j]) for j in servers] for row in w]
    incentive = unit_sum([sum(s * row[j] for s, row in zip(share, clipped, strict=True)) for j in servers])
    beta = p["bonds_penalty"]
    bought = [[(1 - beta) * a + beta * b for a, b in zip(*rows, strict=True)] for rows in zip(w, clipped, strict=True)]
    keep = p["bonds_moving_avg"]
    if p["yuma3"]:
        held: list[Row] = []
        for old, target in zip(bonds, bought, strict=True):
            liquid = p["liquid_alpha"] and any(consensus)
            rates = [alpha(t, b, c, p) if liquid else 1 - keep for t, b, c in zip(target, old, consensus, strict=True)]
            held.append([min(1.0, b + a * (t - b)) for a, b, t in zip(rates, old, target, strict=True)])
        shares = transposed([unit_sum(column) for column in transposed(held)])
        dividends = [
            s * sum(b * i for b, i in zip(row, incentive, strict=True)) for s, row in zip(share, shares, strict=True)
        ]
        after = held
    else:
        before = [unit_sum(column) for column in transposed(bonds)]
        delta = [unit_sum([s * t for s, t in zip(share, column, strict=True)]) for column in transposed(bought)]
        moved = [
            unit_sum([keep * b + (1 - keep) * d for b, d in zip(*c, strict=True)])
            for c in zip(before, delta, strict=True)
        ]
        dividends = [sum(b * i for b, i in zip(row, incentive, strict=True)) for row in transposed(moved)]
        after = transposed([[b / (max(column) or 1) for b in column] for column in moved])
    kept = [[stored(b) for b in row] for row in after]
    outputs = {
        "validator_reward_normalized": unit_sum(dividends),
        "server_incentive": incentive,
        "consensus": consensus,
        "bonds": kept,
        "validator_trust": [sum(row) for row in clipped],
    }
    return outputs, kept


def expected(cases: dict[str, Any], name: str, p: dict[str, Any]) -> dict[str, Any]:
    """The expected outputs of cases for parameters."""
    found: dict[str, dict[str, list[Any]]] = {}
    for label, case in cases.items():
        bonds = [[0.0] * len(case["servers"]) for _ in case["validators"]]
        fields: dict[str, list[Any]] = {}
        for number, (weights, stakes) in enumerate(zip(case["weights"], case["stakes"], strict=True)):
            if case.get("reset_bonds") and number == case["reset_bonds_epoch"]:
                gone = case["reset_bonds_index"]
                bonds = [[0.0 if j == gone else bond for j, bond in enumerate(row)] for row in bonds]
            outputs, bonds = epoch(weights, stakes, bonds, p)
            for field, values in outputs.items():
                fields.setdefault(field, []).append(values)
        found[label] = fields
    return {"variant": name, "params": p, "cases": found}


def mixed(rng: Stream) -> dict[str, Any]:
    """A case in which every parameter shows: graded weights that differ and change, uneven stakes, a reset."""
    epochs, rows, columns = 12, 4, 3
    weights = [rng.integers(1, 1_000, (rows, columns)).tolist() for _ in range(3)]
    return {
        "validators": [f"validator {i}" for i in range(rows)],
        "servers": [f"server {j}" for j in range(columns)],
        "weights": [[unit_sum(row) for row in weights[number // 4]] for number in range(epochs)],
        "stakes": [[0.4, 0.3, 0.2, 0.1]] * epochs,
        "reset_bonds": True,
        "reset_bonds_index": 1,
        "reset_bonds_epoch": 6,
    }
