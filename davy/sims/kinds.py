"""What a scenario and a study have in common, so that one `run`, one table and one command serve both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias, TypeVar

from davy.incentive.fixed_point import Int64
from davy.sims.design import Study
from davy.sims.experiment import Scenario
from davy.sims.metrics import METRICS, Float, metrics
from davy.sims.play import COLUMNS, play

Experiment: TypeAlias = Scenario | Study
Kind = TypeVar("Kind", bound=Experiment)

_CHUNK_ELEMENTS: Final = 1 << 18
"""Of an array of both arms, 2 MB: smaller chunks were slower, by what the interpreter does a step."""


def columns_of(s: Experiment) -> tuple[str, ...]:
    """Names of what is told an arm, run and step."""
    return s.columns if isinstance(s, Study) else COLUMNS


def defined(s: Experiment) -> Mapping[str, tuple[str, str]]:
    """The metrics' units and definitions, by name."""
    return s.metrics if isinstance(s, Study) else METRICS


def measured(s: Experiment, arrays: Mapping[str, Int64]) -> dict[str, Float]:
    """The metrics, [runs], from `honest.NAME` and `attack.NAME`, [runs, steps]."""
    return s.measure(arrays) if isinstance(s, Study) else metrics(s, arrays)


def steps_of(s: Experiment) -> int:
    """Epochs of a scenario, steps of a study."""
    return s.steps if isinstance(s, Study) else s.epochs


def at_once(s: Experiment) -> int:
    """Runs that are best played together: as many as a cache holds."""
    if isinstance(s, Study):
        return s.at_once
    return max(1, _CHUNK_ELEMENTS // (2 * s.market.validators * s.market.miners))


def play_apart(at: int, s: Experiment, runs: range, compiled: bool) -> tuple[int, range, Int64]:
    """Runs [2, runs, steps, columns], with what tells whose they are; a worker that calls it loads no table library."""
    return at, runs, s.play(runs) if isinstance(s, Study) else play(s, runs, compiled=compiled)
