"""The scoring rule of distributions: a logarithmic score that is bounded and still strictly proper.

A report lists some outcomes y ∈ L with probabilities q_y, Σq ≤ 1. What is left, 1 − Σq, is spread over the unlisted
outcomes in proportion to a public base distribution b. Report and truth are smoothed alike, with s(p) = (1 − ε)p + εb:

    score(q, y) = Σ_z s(δ_y)_z · log s(q)_z = (1 − ε) log s(q)_y + ε Σ_z b_z log s(q)_z

If y ~ p, the expected score is Σ_z s(p)_z log s(q)_z, which by Gibbs' inequality is largest at s(q) = s(p), so at q =
p and nowhere else. Without the second term (the plain score log s(q)_y) the best report would be (p − εb)/(1 − ε): a
little overconfident. Of a list of only some outcomes, the best gives each listed one its true probability, whatever
the list. No entry has a floor of its own (floors let a report promise more than 1 in all); the score is bounded by
log ε + the score of the base.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from davy.tasks.task import FloatArray

EPSILON: Final = 1e-3
"""ε: a report that gave the truth no probability at all loses at most log(1/ε) = 6.9 nats to the base."""

IntArray = npt.NDArray[np.int64]


def spread(listed: IntArray, q: FloatArray, base: FloatArray) -> FloatArray:
    """Complete a report to a distribution over all outcomes: the remainder in proportion to `base` over the unlisted.

    Parameters
    ----------
    listed
        Distinct outcomes, indices into `base`.
    q
        Their probabilities, not negative. A sum above 1 (rounding) is scaled down to 1.
    base
        Positive, sums to 1.
    """
    total = float(q.sum())
    q = q / max(total, 1.0)
    full = base.copy()
    full[listed] = 0.0
    rest = float(full.sum())
    full *= max(0.0, 1.0 - total) / rest if rest > 0.0 else 0.0
    full[listed] = q
    return full


def score(full: FloatArray, truth: int, base: FloatArray, epsilon: float = EPSILON) -> float:
    """Score of a complete report in nats: (1 − ε) log s(q)_y + ε Σ_z b_z log s(q)_z."""
    log_s = np.log((1.0 - epsilon) * full + epsilon * base)
    return float((1.0 - epsilon) * log_s[truth] + epsilon * (base @ log_s))
