"""Single functions of subtensor's math.rs, each held against davy's rule of that name.

The files have numbers of any size and as many digits as a float. Rules whose bounds these would break get them as
integers of Python, in arrays of objects: the same code, without bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from davy.incentive.bonds import moving_average
from davy.incentive.conformance.report import Report, count, decimal, exact, member, number, scaled
from davy.incentive.consensus import interpolate, weighted_median
from davy.incentive.door import BadInput
from davy.incentive.fixed_point import ONE, sigmoid
from davy.incentive.permits import top_k
from davy.incentive.weights import max_limited, upscale_to_u16

TOLERANCE = 1e-6

_STAKE = 1 << 54
_FAR = 20
"""Where subtensor's `exp_safe` ends; σ is within 2.1e-9 of 0 or 1 there."""

Unbounded = np.ndarray[Any, np.dtype[Any]]


def _unbounded(values: list[float]) -> tuple[Unbounded, int]:
    integers, one = exact(values)
    return np.array(integers, dtype=object), one


def _tolerance(case: Any) -> float:
    tolerance = number("tol", member(case, "tol"))
    if tolerance < 0:
        raise BadInput(f"tol is {tolerance!r}; it must not be negative")
    return tolerance


def _stakes(values: list[float]) -> list[int]:
    """Stakes as integers that sum to 2^54 at most: exact where there is room, so that ties stay ties."""
    stakes = exact(values)[0]
    if min(stakes, default=0) < 0:
        raise BadInput("a stake is negative")
    total = sum(stakes)
    return stakes if total <= _STAKE else [stake * _STAKE // total for stake in stakes]


def _weighted_median(label: str, case: Any, report: Report) -> None:
    scores, one = exact(case["score"])
    if not scores:
        report.compare(label, "median", np.array(0, dtype=np.int64), 1, case["expected"])
        return
    stakes = np.array(_stakes(case["stake"]), dtype=np.int64)
    threshold = int((1 - decimal("majority", case["majority"])) * int(stakes.sum()))
    known = sorted(set(scores))  # a median asks for the order only: places among all scores keep within its bounds
    place = {score: number for number, score in enumerate(known)}
    places = np.array([place[score] for score in scores], dtype=np.int64)
    median = weighted_median(places[:, None], stakes, np.array(threshold, dtype=np.int64))
    found = known[int(median[0])] if stakes.any() else 0
    report.compare(label, "median", np.array(found, dtype=object), one, case["expected"])


def _upscale(label: str, case: Any, report: Report) -> None:
    report.compare(label, "vector", upscale_to_u16(_unbounded(case["vector"])[0]), 1, case["expected"])


def _max_limited(label: str, case: Any, report: Report) -> None:
    limited = max_limited(_unbounded(case["vector"])[0], count("max_limit", case["max_limit"]))
    report.compare(label, "limited", np.array(limited, dtype=np.int64), 1, case["expected"])


def _top_k(label: str, case: Any, report: Report) -> None:
    if (k := count("k", case["k"])) < 0:
        raise BadInput(f"k is {k}; it must not be negative")
    chosen = top_k(_unbounded(case["vector"])[0], k, tie_to_newer=True).astype(np.int64)
    report.compare(label, "chosen", chosen, 1, case["expected"])


def _sigmoid(label: str, case: Any, report: Report) -> None:
    """σ(ρ(x − κ)). The rule's κ is ½ and its x 0 to 1: another product ρ(x − κ) is said with a steepness of 100."""
    rho, kappa = decimal("rho", case["rho"]), decimal("kappa", case["kappa"])
    products = [max(-_FAR, min(_FAR, rho * (decimal("x", x) - kappa))) for x in case["x"]]
    usual = rho.denominator == 1 and 1 <= rho <= 100 and all(abs(product) * 2 <= rho for product in products)
    steepness = int(rho) if usual else 100
    at = scaled([float(product / steepness) + 0.5 for product in products], ONE)
    report.compare(label, "sigmoid", sigmoid(at, steepness), ONE, case["expected"])


def _finer(first: list[float], second: list[float], units: int) -> tuple[Unbounded, Unbounded, int]:
    """Two vectors over one denominator, `units` times as fine as they need: a rule then has nothing to round."""
    both, one = _unbounded([*first, *second])
    before, after = np.split(both * units, [len(first)])
    return before, after, one * units


def _moving_average(label: str, case: Any, report: Report) -> None:
    old, new, one = _finer(case["old"], case["new"], ONE)
    average = moving_average(old, new, np.broadcast_to(scaled(case["alpha"], ONE), old.shape), one)
    report.compare(label, "average", average, one, case["expected"], tolerance=_tolerance(case))


def _interpolate(label: str, case: Any, report: Report) -> None:
    ratio = decimal("ratio", case["ratio"])
    before, after, one = _finer(case["mat1"], case["mat2"], ratio.denominator)
    between = interpolate(before, after, ratio.numerator, ratio.denominator)
    report.compare(label, "between", between, one, case["expected"], tolerance=_tolerance(case))


FUNCTIONS: dict[str, Callable[[str, Any, Report], None]] = {
    "weighted_median": _weighted_median,
    "vec_max_upscale_to_u16": _upscale,
    "check_vec_max_limited": _max_limited,
    "is_topk": _top_k,
    "sigmoid_safe": _sigmoid,
    "mat_ema_alpha": _moving_average,
    "interpolate": _interpolate,
}


def check(functions: Any, report: Report) -> None:
    """Every case of every function that the file has."""
    for name, rule in FUNCTIONS.items():
        if name in functions and not functions[name]:
            raise BadInput(f"{name} has no cases to compare")
        for place, case in enumerate(functions.get(name, [])):
            rule(f"{name} {place}", case, report)
