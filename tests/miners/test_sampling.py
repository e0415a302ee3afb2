"""From a distribution to a token: the argmax at temperature 0, else a draw that seed and position decide alone."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.miners.sampling import draw, pick, ranking, uniform
from davy.network.openai import CompletionRequest
from davy.protocol.errors import BadAnswer

LOGITS = st.lists(st.floats(-30, 0), min_size=1, max_size=30)


def request(**fields: object) -> CompletionRequest:
    return CompletionRequest(**{"model": "m", "prompt": "p", "seed": 1, **fields})  # type: ignore[arg-type]


@given(LOGITS, st.integers(1, 40))
def test_ranking_is_a_full_sort_cut_off(values: list[float], k: int) -> None:
    full = sorted(range(len(values)), key=lambda i: (-values[i], i))
    assert ranking(np.array(values), k).tolist() == full[:k]


@given(LOGITS, st.integers(0, 20), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_what_is_reported(values: list[float], k: int, temperature: float) -> None:
    logprobs = np.array(values) - np.logaddexp.reduce(values)
    made = pick(logprobs, request(logprobs=k, temperature=temperature), 3)
    assert made.logprob == logprobs[made.token]
    assert (made.token, made.logprob) in made.top, "the chosen one is always listed"
    assert len(made.top) in (min(k, len(values)), min(k, len(values)) + 1)
    assert len({t for t, _ in made.top}) == len(made.top)
    if temperature == 0:
        assert made.token == int(np.argmax(logprobs)), "ties go to the lowest id"


def test_entries_that_are_not_finite_are_never_chosen_or_listed() -> None:
    logprobs = np.array([-math.inf, -1.0, math.nan, -2.0])
    for seed in range(50):
        made = pick(logprobs, request(logprobs=4, temperature=2.0, seed=seed), 0)
        assert made.token in (1, 3)
        assert {t for t, _ in made.top} == {1, 3}
    with pytest.raises(BadAnswer):
        pick(np.array([-math.inf, math.nan]), request(), 0)


def test_ids_name_the_tokens() -> None:
    made = pick(np.log([0.2, 0.7]), request(logprobs=2, temperature=0), 0, np.array([40, 30]))
    assert made.token == 30
    assert [t for t, _ in made.top] == [30, 40]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_have_the_distribution(temperature: float) -> None:
    p = np.array([0.5, 0.3, 0.15, 0.05])
    counts = np.zeros(4)
    for position in range(4_000):
        counts[pick(np.log(p), request(temperature=temperature, seed=9), position).token] += 1
    expected = p ** (1 / temperature) / np.sum(p ** (1 / temperature)) * 4_000
    assert np.sum((counts - expected) ** 2 / expected) < 16.3, "chi-squared with 3 degrees of freedom, p = .001"


@pytest.mark.parametrize(("top_p", "kept"), [(1e-9, 1), (0.5, 1), (0.51, 2), (0.79, 2), (0.81, 3), (1.0, 4)])
def test_top_p_keeps_the_fewest_that_reach_it(top_p: float, kept: int) -> None:
    ranked = np.log([0.5, 0.3, 0.15, 0.05])
    assert {draw(ranked, 1.0, top_p, u) for u in np.linspace(0, 1, 1_000, endpoint=False)} == set(range(kept))


def test_a_tiny_temperature_is_greedy() -> None:
    assert draw(np.log([0.5, 0.3]), 1e-300, 1.0, 0.999) == 0


def philox(key: tuple[int, int], counter: tuple[int, int, int, int]) -> int:
    """First word of Philox4x64-10 (Salmon et al., SC 2011), written down from the paper."""
    (a, b, c, d), (k, m), full = counter, key, 2**64 - 1
    for _ in range(10):
        x, y = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (y >> 64) ^ b ^ k, y & full, (x >> 64) ^ d ^ m, x & full
        k, m = (k + 0x9E3779B97F4A7C15) & full, (m + 0xBB67AE8584CAA73B) & full
    return a


@given(st.integers(0, 2**63 - 1), st.integers(0, 1023))
def test_the_numbers_are_philox_s(seed: int, position: int) -> None:
    assert uniform(seed, position) == (philox((seed, position), (1, 0, 0, 0)) >> 11) / 2**53
