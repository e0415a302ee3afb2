"""The published security figures come out of the live code."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from davy.incentive.fixed_point import ONE
from davy.sims.retention import Retention, retention, retention_map

PUBLISHED = json.loads((Path(__file__).parents[1] / "vectors" / "yuma" / "retention_published.json").read_text())
FIGURES = PUBLISHED["honest_utility_required"]
CASES = [
    *((f"sigma {k}", Retention(sigma=float(k)), v) for k, v in FIGURES["sigma"].items()),
    *(
        (f"beta {k}", Retention(bond_penalty=round(float(k) * 65_535)), v)
        for k, v in FIGURES["bonds_penalty_at_sigma0.4"].items()
    ),
    *((f"xi {k}", Retention(validator_share=float(k)), v) for k, v in FIGURES["validator_emission_ratio"].items()),
]


PAGE = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text(encoding="utf-8")
needed = lru_cache(retention)


@pytest.mark.parametrize(("name", "r", "published"), CASES, ids=[c[0] for c in CASES])
def test_what_honest_stake_needs_is_what_was_published(name: str, r: Retention, published: float) -> None:
    found = needed(r, step=10)
    assert found == pytest.approx(published, abs=0.03)
    said = name.replace("sigma", "σ").replace("beta", "σ .4, β").replace("xi", "σ .4, ξ")
    assert f"| {said} | {published:.2f} | {found:.2f} |\n" in PAGE


SMALL = Retention(uids=64, validators=16)


def test_more_of_the_honest_keeps_more_and_a_map_shows_it() -> None:
    utilities = range(0, 101, 10)
    kept = retention_map(SMALL, utilities, utilities) / ONE
    assert kept.shape == (11, 11)
    assert (np.diff(kept, axis=0) > -0.01).all()  # so that bisection finds what a scan would
    assert kept[-1].min() > 0.6
    assert kept[0].max() < 0.6
    least = next(
        w
        for w, row in zip(range(101), retention_map(SMALL, range(101), utilities), strict=True)
        if (row >= 0.599 * ONE).all()
    )
    assert retention(SMALL, step=10) == least / 100


def test_a_map_is_the_same_on_two_processes() -> None:
    utilities = range(0, 101, 25)
    one, two = (retention_map(SMALL, utilities, utilities, jobs=jobs) for jobs in (1, 2))
    assert np.array_equal(one, two)


def test_a_compiled_map_is_the_same_on_two_threads() -> None:
    utilities = range(0, 101, 25)
    r = Retention(uids=64, validators=16, mechanism="yuma3", bond_penalty=40_000)
    reference = retention_map(r, utilities, utilities)
    assert np.array_equal(reference, retention_map(r, utilities, utilities, jobs=2, compiled=True))
    assert retention(r, step=25) == retention(r, step=25, compiled=True)


def test_without_a_majority_nothing_protects() -> None:
    """κ = .6 needs more than .6 of the stake to hold a weight down."""
    assert np.isnan(retention(Retention(uids=64, validators=20, honest=0.55, kappa=39_321), step=10))
