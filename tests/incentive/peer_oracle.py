"""What rows reported, once more: from the formulas, in exact fractions and plain loops, without a line of the rules."""

from collections.abc import Sequence
from fractions import Fraction

from davy.incentive.evidence import Evidence
from davy.incentive.mechanism import Params

Task = tuple[list[int], int, int]
"""What the rows said, the audit's label, and the prior."""


def share(u16: int) -> Fraction:
    return Fraction(u16, 65535)


def middle(said: Sequence[int], stake: Sequence[int]) -> int:
    """The smallest report that half of the reporting stake does not exceed; −1 where none reports."""
    reporting = [(r, s) for r, s in zip(said, stake, strict=True) if r >= 0]
    total = sum(s for _, s in reporting)
    for r in sorted({r for r, _ in reporting}):
        if total and 2 * sum(s for q, s in reporting if q <= r) >= total:
            return r
    return -1


def counted(e: Evidence, stake: Sequence[int]) -> list[Task]:
    """Audited tasks whose column had a prior in the epoch before."""
    tasks: list[Task] = []
    epochs, rows, count = e.reports.shape
    for epoch in range(1, epochs):
        before = {int(c): t for t, c in enumerate(e.columns[epoch - 1]) if c >= 0}
        for t in range(count):
            label, column = int(e.labels[epoch, t]), int(e.columns[epoch, t])
            if label < 0 or column not in before:
                continue
            prior = middle([int(e.reports[epoch - 1, i, before[column]]) for i in range(rows)], stake)
            if prior >= 0:
                tasks.append(([int(e.reports[epoch, i, t]) for i in range(rows)], label, prior))
    return tasks


def direction(place: int, prior: int, tolerance: int) -> str:
    if place < 0:
        return "silent"
    return "same" if abs(place - prior) < tolerance else "up" if place > prior else "down"


def gain(tasks: list[Task], row: int, p: Params) -> Fraction:
    """Covariance within quarters of the prior, in audits, less what false news costs."""
    total = Fraction(0)
    told = [
        (prior // 25, direction(said[row], prior, p.audit_tolerance), direction(label, prior, p.audit_tolerance))
        for said, label, prior in tasks
    ]
    for quarter in range(4):
        here = [(r, z) for k, r, z in told if k == quarter]
        n = len(here)
        if n < 2:
            continue
        joint, product = Fraction(0), Fraction(0)
        for a in ("up", "same", "down"):
            joint += Fraction(sum(r == z == a for r, z in here), n)
            product += Fraction(sum(r == a for r, _ in here), n) * Fraction(sum(z == a for _, z in here), n)
        total += n * (joint - product) * Fraction(n, n - 1)
    false = sum(r in ("up", "down") and r != z for _, r, z in told)
    return total - false * share(p.audit_penalty)


def wrong(tasks: list[Task], row: int, p: Params) -> tuple[int, int]:
    """Audits on which the row said anything, and on which it was wrong."""
    pairs = [(said[row], label) for said, label, _ in tasks if said[row] >= 0]
    return len(pairs), sum(abs(r - z) >= p.audit_tolerance for r, z in pairs)


def gates(e: Evidence, stake: Sequence[int], p: Params) -> list[tuple[Fraction, Fraction]]:
    """Vote and pay of each row."""
    tasks, rows = counted(e, stake), range(e.reports.shape[1])
    gains = [gain(tasks, i, p) for i in rows]
    reference = Fraction(0)
    for g in sorted(gains, reverse=True):
        if sum(stake) and 4 * sum(s for s, h in zip(stake, gains, strict=True) if h >= g) >= sum(stake):
            reference = max(g, reference)
            break
    if not reference:
        return [(Fraction(1), Fraction(1))] * len(gains)
    certain = min(Fraction(1), reference / p.audit_enough)

    def closing(opened: Fraction) -> Fraction:
        return 1 - certain * (1 - min(Fraction(1), max(share(p.audit_floor), opened)))

    found: list[tuple[Fraction, Fraction]] = []
    for i in rows:
        said, bad = wrong(tasks, i, p)
        rate = Fraction(bad, said) if said else Fraction(0)
        vote = (share(p.audit_lost) - rate) / (share(p.audit_lost) - share(p.audit_wrong))
        pay = (gains[i] / reference - share(p.audit_low)) / (share(p.audit_high) - share(p.audit_low))
        found.append((closing(vote), closing(pay)))
    return found


def agreements(e: Evidence, weight: Sequence[Fraction]) -> list[Fraction]:
    """Σ_j w_j·s_ij of each row, over the tasks on which anybody reported; answers are quarters."""
    epochs, rows, count = e.reports.shape
    said = [
        [
            int(e.reports[k, i, t]) // 25 if e.reports[k, i, t] >= 0 else None
            for k in range(epochs)
            for t in range(count)
        ]
        for i in range(rows)
    ]
    n = max(1, sum(any(said[i][t] is not None for i in range(rows)) for t in range(epochs * count)))

    def s(i: int, j: int, a: int, b: int) -> Fraction:
        joint = Fraction(sum(x == a and y == b for x, y in zip(said[i], said[j], strict=True)), n)
        return joint - Fraction(said[i].count(a), n) * Fraction(said[j].count(b), n)

    beyond = {
        (i, a, b): sum((weight[j] * s(i, j, a, b) for j in range(rows) if j != i), Fraction(0))
        for i in range(rows)
        for a in range(4)
        for b in range(4)
    }
    delta = {(a, b): sum(weight[i] * beyond[i, a, b] for i in range(rows)) for a in range(4) for b in range(4)}
    return [
        sum((v for (i, a, b), v in beyond.items() if i == row and delta[a, b] > 0), Fraction(0)) for row in range(rows)
    ]
