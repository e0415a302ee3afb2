"""Single functions of subtensor's math.rs, each held against davy's rule of that name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from davy.incentive.bonds import moving_average
from davy.incentive.conformance.report import Report, decimal, exact, member, number, scaled
from davy.incentive.consensus import interpolate, weighted_median
from davy.incentive.door import BadInput
from davy.incentive.fixed_point import ONE, sigmoid
from davy.incentive.permits import top_k
from davy.incentive.weights import max_limited, upscale_to_u16

TOLERANCE = 1e-6


def _integers(values: list[float]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(exact(values)[0], dtype=np.int64)


def _tolerance(case: Any) -> float:
    tolerance = number("tol", member(case, "tol"))
    if tolerance < 0:
        raise BadInput(f"tol is {tolerance!r}; it must not be negative")
    return tolerance


def _weighted_median(label: str, case: Any, report: Report) -> None:
    scores, one = exact(case["score"])
    if not scores:
        report.compare(label, "median", np.array(0, dtype=np.int64), 1, case["expected"])
        return
    stakes = _integers(case["stake"])
    threshold = int((1 - decimal("majority", case["majority"])) * int(stakes.sum()))
    median = weighted_median(np.array(scores, dtype=np.int64)[:, None], stakes, np.array(threshold, dtype=np.int64))
    report.compare(label, "median", median[0], one, case["expected"])


def _upscale(label: str, case: Any, report: Report) -> None:
    upscaled = upscale_to_u16(_integers(case["vector"]))
    report.compare(label, "vector", upscaled, 1, case["expected"])


def _max_limited(label: str, case: Any, report: Report) -> None:
    limited = np.array(max_limited(_integers(case["vector"]), case["max_limit"]), dtype=np.int64)
    report.compare(label, "limited", limited, 1, case["expected"])


def _top_k(label: str, case: Any, report: Report) -> None:
    chosen = top_k(_integers(case["vector"]), case["k"], tie_to_newer=True).astype(np.int64)
    report.compare(label, "chosen", chosen, 1, case["expected"])


def _sigmoid(label: str, case: Any, report: Report) -> None:
    report.compare(label, "sigmoid", sigmoid(scaled(case["x"], ONE), case["rho"]), ONE, case["expected"])


def _moving_average(label: str, case: Any, report: Report) -> None:
    one = 10**7
    alpha = np.broadcast_to(scaled(case["alpha"], ONE), len(case["old"]))
    average = moving_average(scaled(case["old"], one), scaled(case["new"], one), alpha, one)
    report.compare(label, "average", average, one, case["expected"], tolerance=_tolerance(case))


def _interpolate(label: str, case: Any, report: Report) -> None:
    one = 10**7
    ratio = decimal("ratio", case["ratio"])
    between = interpolate(scaled(case["mat1"], one), scaled(case["mat2"], one), ratio.numerator, ratio.denominator)
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
