"""Yuma 3 in Python's unbounded integers, step by step in the declared formats: what no int64 may differ from."""

from davy.incentive.fixed_point import ONE, U16
from davy.incentive.mechanism import Params


def apportion(total: int, claims: list[int]) -> list[int]:
    whole = sum(claims)
    if not whole:
        return [0] * len(claims)
    parts = [total * claim // whole for claim in claims]
    by_remainder = sorted(range(len(claims)), key=lambda i: (-(total * claims[i] % whole), i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


def normalise(values: list[int]) -> list[int]:
    drop = max(0, sum(values).bit_length() - 33)
    return apportion(ONE, [value >> drop for value in values])


def share_of(x: int, total: int) -> int:
    return x * -(-(2**62) // total) >> 32 if total else 0


def median(column: list[int], stake: list[int], threshold: int) -> int:
    below = 0
    for w, s in sorted(zip(column, stake, strict=True)):
        below += s
        if below > threshold:
            return w
    return 0


def yuma3(
    weights: list[list[int]], stake: list[int], bonds: list[list[int]], p: Params
) -> tuple[list[list[int]], list[int], list[int], list[int]]:
    """(bonds, consensus, incentive, dividends) of an epoch on which no mask bites, stored in Q30."""
    miners = range(len(weights[0]))
    active = normalise(stake)
    w = [[share_of(x, sum(row)) for x in row] for row in weights]
    threshold = sum(stake) * (U16 - p.kappa) // U16
    c = [median([row[j] for row in w], stake, threshold) for j in miners]
    clipped = [[min(x, c[j]) for j, x in enumerate(row)] for row in w]
    rank = [sum(s * row[j] for s, row in zip(active, clipped, strict=True)) for j in miners]
    incentive = normalise(rank)
    alpha = ONE - (2 * p.moving_average * ONE + 1_000_000) // 2_000_000
    target = [
        [x + (y - x) * p.bond_penalty // U16 for x, y in zip(row, low, strict=True)]
        for row, low in zip(w, clipped, strict=True)
    ]
    held = [
        [min(ONE, ((ONE - alpha) * b + alpha * x) // ONE) for b, x in zip(old, row, strict=True)]
        for old, row in zip(bonds, target, strict=True)
    ]
    columns = [sum(row[j] for row in held) for j in miners]
    income = [sum(share_of(b, columns[j]) * incentive[j] for j, b in enumerate(row)) // ONE for row in held]
    return held, c, incentive, normalise([s * i for s, i in zip(active, income, strict=True)])
