"""Who answers alike is one cluster and is paid once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davy.tasks.answer import Answer, Position
from davy.tasks.originality import SHARED, Fingerprint, clusters, distance, shares


def answers(seed: int, noise: float = 0.0, number: int = SHARED) -> list[Answer | None]:
    rng, other = np.random.default_rng(seed), np.random.default_rng(99)
    found: list[Answer | None] = []
    for _ in range(number):
        logs = np.log(rng.dirichlet(np.ones(30)))[:20] + noise * other.normal(size=20)
        found.append(Answer((Position(0, np.arange(20), logs),)))
    return found


def test_copies_are_near_and_strangers_far() -> None:
    assert distance(answers(1), answers(1)) == 0.0
    assert 0.0 < (distance(answers(1), answers(1, noise=0.02)) or 0) < 0.05
    assert (distance(answers(1), answers(2)) or 0) > 0.5


def test_too_few_shared_challenges_say_nothing() -> None:
    assert distance(answers(1)[:-1], answers(1)[:-1]) is None
    assert distance([None, *answers(1)], [*answers(1), None]) is None
    assert clusters({"a": answers(1)[:-1], "b": answers(1)[:-1]}, 0.1) == [["a"], ["b"]]


def test_no_token_in_common_is_far() -> None:
    there: list[Answer | None] = [Answer((Position(50, np.arange(50, 60), np.full(10, -3.0)),))] * SHARED
    assert distance(answers(1), there) == np.inf


def test_clusters_join_through_a_common_neighbour() -> None:
    shifted = [Answer((a.positions[0]._replace(logprobs=a.positions[0].logprobs - 0.08),)) for a in answers(1) if a]
    further = [Answer((a.positions[0]._replace(logprobs=a.positions[0].logprobs - 0.16),)) for a in answers(1) if a]
    found = clusters({"a": answers(1), "x": answers(2), "c": further, "b": shifted}, 0.1)
    assert found == [["a", "c", "b"], ["x"]]


def test_a_cluster_earns_what_one_of_them_would() -> None:
    weights = {"a": 0.6, "b": 0.6, "c": 0.4}
    assert shares(weights, [["a", "b"], ["c"]]) == pytest.approx({"a": 0.3, "b": 0.3, "c": 0.4})
    assert shares(weights, [["a", "b"], ["c"]], [2.0, 5.0]) == pytest.approx({"a": 0.6, "b": 0.6, "c": 0.4})
    assert shares(weights, [["a", "b"], ["c"]], [0.1, 1.0]) == pytest.approx({"a": 0.3, "b": 0.3, "c": 0.4})


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32 - 1), missing=st.floats(0, 0.6), vocabulary=st.integers(1, 40))
def test_what_is_compared_at_once_is_the_distance(seed: int, missing: float, vocabulary: int) -> None:
    """Lists of any length, none included, tokens in any order, challenges that one or both left out."""
    rng = np.random.default_rng(seed)

    def said() -> list[Answer | None]:
        found: list[Answer | None] = []
        for _ in range(SHARED + 8):
            tokens = rng.permutation(vocabulary)[: rng.integers(1, vocabulary + 1)]
            position = Position(int(tokens[0]), tokens, -rng.exponential(size=len(tokens)))
            found.append(None if rng.random() < missing else Answer((position,)))
        return found

    a, b = said(), said()
    assert Fingerprint.of(a).distance(Fingerprint.of(b)) == distance(a, b)
    assert Fingerprint.of(a).near(Fingerprint.of(b), 1.0) is ((d := distance(a, b)) is not None and d < 1.0)
