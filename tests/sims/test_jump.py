"""Liquid alpha against a copier: the published penalty in kind, and where it turns into help."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from davy.protocol.errors import Misconfigured
from davy.sims.jump import Jump, penalty, relative_dividend

FIRST_FOUR = slice(0, 4)
STARTS = (0.05, 0.1, 0.25, 0.4)
PAGE = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("size", "published"), [(0.5, 0.33), (0.1, 0.06)])
def test_liquid_alpha_takes_what_was_published_of_a_copier_s_dividend(size: float, published: float) -> None:
    taken = penalty(Jump(size=size))
    assert taken[FIRST_FOUR].mean() == pytest.approx(published, abs=0.01)


def test_it_helps_the_copier_from_the_round_in_which_it_copies() -> None:
    taken = penalty(Jump(late=8))
    assert (taken[:8] > 0.15).all()
    assert (taken[8:] < 0).all()
    assert taken[9] < -0.3
    assert (penalty(Jump(late=3))[3:] < 0).all()


@pytest.mark.parametrize(("late", "fixed", "liquid"), [(1, 0.79, 0.59), (3, 2.23, 1.63), (8, 5.37, 4.13)])
def test_over_all_rounds_a_copier_loses_less_under_liquid_alpha(late: int, fixed: float, liquid: float) -> None:
    """Where we go beyond the paper: in rounds of honest pay, what it gives back outweighs what it took."""
    j = Jump(late=late, rounds=60)
    assert (1 - relative_dividend(j)).sum() == pytest.approx(fixed, abs=0.01)
    assert (1 - relative_dividend(j.liquid())).sum() == pytest.approx(liquid, abs=0.01)


@pytest.mark.parametrize("mechanism", ["yuma2", "yuma3"])
def test_the_longer_concealed_the_less_a_copier_gets(mechanism: str) -> None:
    paid = [relative_dividend(Jump(late=late, mechanism=mechanism)).mean() for late in (0, 1, 2, 4, 8)]
    assert paid[0] == pytest.approx(1, abs=1e-6)
    assert all(np.diff(paid) < 0)


def test_narrow_bounds_take_next_to_nothing() -> None:
    j = Jump()
    narrow = replace(j, params=replace(j.params, alpha_low=6_554, alpha_high=19_661))
    assert np.abs(penalty(narrow)).max() < 0.01


def test_a_jump_beyond_all_of_it_is_refused() -> None:
    with pytest.raises(Misconfigured, match="size"):
        Jump(size=0.8)


def test_the_page_has_these_figures() -> None:
    for size, published in ((0.1, "0.06"), (0.5, "0.33")):
        assert f"| by {size} | {penalty(Jump(size=size))[FIRST_FOUR].mean():.3f} | {published} |\n" in PAGE
    j = Jump(rounds=60)
    for each in (j, j.liquid()):
        assert f"{(1 - relative_dividend(each)).sum():.2f}" in PAGE


def test_the_page_says_how_much_hangs_on_the_start_and_the_rounds_that_were_chosen() -> None:
    for size, said in ((0.5, "14% to 36% at .5"), (0.1, "4% to 7% at .1")):
        taken = [penalty(Jump(size=size, start=start))[:rounds].mean() for start in STARTS for rounds in (1, 2, 4, 8)]
        assert f"{min(taken):.0%} to {max(taken):.0%} at {size:.1f}".replace("0.", ".") == said
        assert said in PAGE
