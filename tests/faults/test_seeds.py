"""Whom the faults of a run befall follows from its seed alone, however much load the machine bears meanwhile."""

from __future__ import annotations

from tests.faults.net import Draws


def test_victims_do_not_depend_on_the_load() -> None:
    quiet, busy = Draws.of(8), Draws.of(8)
    for _ in range(3):
        busy.load.random()
        busy.lies.random()
        assert quiet.victims.sample(range(1, 5), 2) == busy.victims.sample(range(1, 5), 2)


def test_seeds_differ() -> None:
    assert len({Draws.of(seed).victims.random() for seed in range(20)}) == 20
