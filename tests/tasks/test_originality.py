"""Who answers alike is one cluster and is paid once."""

import numpy as np
import pytest

from davy.tasks.answer import Answer, Position
from davy.tasks.originality import SHARED, clusters, distance, shares


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
