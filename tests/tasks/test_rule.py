"""Honest reports earn most: the expected score is maximised over reports, for random truths, and compared."""

from itertools import pairwise

import numpy as np
import pytest

from davy.tasks import rule

V = 7


def expected(listed: np.ndarray, q: np.ndarray, truth: np.ndarray, base: np.ndarray) -> float:
    full = rule.spread(listed, q, base)
    return sum(p * rule.score(full, y, base) for y, p in enumerate(truth))


def best_report(listed: np.ndarray, truth: np.ndarray, base: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Climb from a random report: q = softmax(z) over the listed and one entry for the remainder."""
    z = rng.normal(size=len(listed) + 1)

    def value(z: np.ndarray) -> float:
        e = np.exp(z - z.max())
        return expected(listed, (e / e.sum())[:-1], truth, base)

    step, now = 1.0, value(z)
    while step > 1e-6:
        for i in range(len(z)):
            for move in (step, -step):
                tried = z.copy()
                tried[i] += move
                if (found := value(tried)) > now:
                    z, now = tried, found
                    break
            else:
                continue
            break
        else:
            step /= 2
    e = np.exp(z - z.max())
    return (e / e.sum())[:-1]


def world(seed: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng, rng.dirichlet(np.full(V, 0.6)), rng.dirichlet(np.full(V, 1.0)) * 0.99 + 0.01 / V


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("length", [1, 3, V - 1])
def test_the_best_report_of_a_list_gives_each_listed_token_its_true_probability(seed: int, length: int) -> None:
    rng, truth, base = world(seed)
    listed = np.argsort(-truth)[:length]
    found = best_report(listed, truth, base, rng)
    assert np.abs(found - truth[listed]).max() < 2e-3
    assert expected(listed, truth[listed], truth, base) >= expected(listed, found, truth, base) - 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_honest_beats_over_and_underconfident(seed: int) -> None:
    _, truth, base = world(seed)
    everything = np.arange(V)
    honest = expected(everything, truth, truth, base)
    for power in (0.5, 0.8, 0.95, 1.05, 1.3, 2.0):
        bent = truth**power / (truth**power).sum()
        assert expected(everything, bent, truth, base) < honest


@pytest.mark.parametrize("seed", range(6))
def test_a_longer_honest_list_never_earns_less(seed: int) -> None:
    _, truth, base = world(seed)
    order = np.argsort(-truth)
    values = [expected(order[:k], truth[order[:k]], truth, base) for k in range(1, V + 1)]
    assert all(b >= a - 1e-12 for a, b in pairwise(values))


def test_the_plain_logarithm_of_the_smoothed_report_would_pay_overconfidence() -> None:
    """Why the rule has a second term: without it, (p − εb)/(1 − ε) beats the honest p."""
    _, truth, base = world(0)
    e = 0.05

    def plain(q: np.ndarray) -> float:
        return float(truth @ np.log((1 - e) * q + e * base))

    bent = np.maximum(truth - e * base, 0) / np.maximum(truth - e * base, 0).sum()
    assert plain(bent) > plain(truth)
    assert sum(p * rule.score(bent, y, base, e) for y, p in enumerate(truth)) < sum(
        p * rule.score(truth, y, base, e) for y, p in enumerate(truth)
    )


def test_reporting_the_base_scores_the_base() -> None:
    _, _, base = world(3)
    full = rule.spread(np.array([2]), base[[2]], base)
    assert np.allclose(full, base)


def test_a_wrong_certainty_loses_at_most_the_bound() -> None:
    _, _, base = world(1)
    full = rule.spread(np.array([0]), np.array([1.0]), base)
    lost = rule.score(base, 4, base) - rule.score(full, 4, base)
    assert 6.0 < lost <= np.log(1 / rule.EPSILON) + 1e-9


def test_a_sum_above_one_earns_nothing() -> None:
    _, truth, base = world(2)
    full = rule.spread(np.arange(V), truth * 1.001, base)
    assert full.sum() == pytest.approx(1.0)
    assert np.allclose(full, truth)
