"""Vector files of single functions with other numbers, in the format of math.json, computed in fractions.

Numbers have as many digits as a float and any size; of davy's rules nothing is used.
"""

from fractions import Fraction
from math import exp, floor
from typing import Any

from tests.incentive.epochs import Stream


def _fraction(value: float) -> Fraction:
    return Fraction(str(value))


def _number(rng: Stream) -> float:
    """A share of 16 digits, a share of one, a small one, a large one, or a whole number."""
    share = int(rng.words()) / 2**63
    choices = [share, round(share, 1), share * 1e-5, share * 1e3, float(rng.integers(0, 1000)), int(rng.integers(0, 9))]
    return choices[int(rng.integers(0, len(choices)))]


def _numbers(rng: Stream, count: int) -> list[float]:
    return [_number(rng) for _ in range(count)]


def _shares(rng: Stream, count: int) -> list[float]:
    return [int(word) / 2**63 for word in rng.words(count)]


def _median(stakes: list[float], scores: list[float], majority: float) -> float:
    votes = [_fraction(stake) for stake in stakes]
    for score in sorted(set(scores)):
        below = sum(vote for vote, other in zip(votes, scores, strict=True) if other <= score)
        if below > (1 - _fraction(majority)) * sum(votes):
            return score
    return 0.0


def _weighted_median(rng: Stream) -> dict[str, Any]:
    count = int(rng.integers(1, 150))
    stakes = [stake * int(kept) for stake, kept in zip(_numbers(rng, count), rng.chance(80, count), strict=True)]
    scores, majority = _numbers(rng, count), [0.51, 0.5, 0.9][int(rng.integers(0, 3))]
    return {"stake": stakes, "score": scores, "majority": majority, "expected": _median(stakes, scores, majority)}


def _upscale(rng: Stream) -> dict[str, Any]:
    vector = [*_numbers(rng, 8), 0.5]
    most = max(map(_fraction, vector))
    return {"vector": vector, "expected": [floor(_fraction(x) * 65_535 / most + Fraction(1, 2)) for x in vector]}


def _max_limited(rng: Stream) -> dict[str, Any]:
    vector, limit = rng.integers(0, 65_536, 4).tolist(), int(rng.integers(0, 65_536))
    return {"vector": vector, "max_limit": float(limit), "expected": max(vector) * 65_535 <= limit * sum(vector)}


def _top_k(rng: Stream) -> dict[str, Any]:
    vector, k = _numbers(rng, 20), int(rng.integers(0, 25))
    dropped = sorted(range(20), key=lambda place: vector[place])[: max(20 - k, 0)]
    return {"vector": vector, "k": float(k), "expected": [place not in dropped for place in range(20)]}


def _sigmoid(rng: Stream) -> dict[str, Any]:
    rho, kappa = (
        [1, 10, 20, 30.0, 40, 0.5, 12.5, 1000][int(rng.integers(0, 8))],
        [0.5, 0.4, 0, 1][int(rng.integers(0, 4))],
    )
    xs = [0, 1, -0.5, *_numbers(rng, 6)]
    products = [max(-20.0, min(20.0, rho * (x - kappa))) for x in xs]
    return {"rho": rho, "kappa": kappa, "x": xs, "expected": [1 / (1 + exp(-product)) for product in products]}


def _moving_average(rng: Stream) -> dict[str, Any]:
    old, new, alphas = _numbers(rng, 6), _shares(rng, 6), _shares(rng, 6)
    average = [min(1.0, (1 - a) * b + a * w) for a, b, w in zip(alphas, old, new, strict=True)]
    return {"cols": 3, "old": old, "new": new, "alpha": alphas, "expected": average, "tol": 1e-6}


def _interpolate(rng: Stream) -> dict[str, Any]:
    mat1, mat2 = _numbers(rng, 6), [1000 * number for number in _numbers(rng, 6)]
    ratio = [0, 1, 1e-9, 0.9999998808, *_shares(rng, 2)][int(rng.integers(0, 6))]
    between = [
        float(_fraction(x) + _fraction(ratio) * (_fraction(y) - _fraction(x))) for x, y in zip(mat1, mat2, strict=True)
    ]
    return {"mat1": mat1, "mat2": mat2, "ratio": ratio, "expected": between, "tol": 1e-9}


def functions(seed: int, cases: int) -> dict[str, Any]:
    """So many cases of each function, and what it should give."""
    rng = Stream(seed)
    kinds = {
        "weighted_median": _weighted_median,
        "vec_max_upscale_to_u16": _upscale,
        "check_vec_max_limited": _max_limited,
        "is_topk": _top_k,
        "sigmoid_safe": _sigmoid,
        "mat_ema_alpha": _moving_average,
        "interpolate": _interpolate,
    }
    return {"source": "fractions"} | {name: [kind(rng) for _ in range(cases)] for name, kind in kinds.items()}
