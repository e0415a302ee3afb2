"""What a task is, and how one is found: by its entry point in the group `davy.tasks`.

A stranger's package adds one with a class of the five methods below, built from a `Setting`, and in pyproject.toml::

    [project.entry-points."davy.tasks"]
    sums = "my_package:Sums"

docs/scoring.md shows a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from davy.network.openai import CompletionRequest, CompletionResponse
from davy.protocol.errors import BadAnswer, Misconfigured
from davy.tasks.shape import Shapes

__all__ = [
    "ANY_MODEL",
    "BadAnswer",
    "Corpus",
    "FloatArray",
    "Generator",
    "Setting",
    "Task",
    "differences",
    "open_task",
    "task_names",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]
Generator: TypeAlias = np.random.Generator
Challenge = TypeVar("Challenge")
Answer = TypeVar("Answer")

GROUP: Final = "davy.tasks"
ANY_MODEL: Final = "any"
"""A request's `model` as a task writes it; the validator puts each miner's own model id there."""

_OWN: Final = {"text": "davy.tasks.text:Text", "text-open": "davy.tasks.text_open:TextOpen"}


class Corpus(Protocol):
    """Where challenges take their text from: private, or not yet known to anybody (davy.tasks.corpus)."""

    def text(self, rng: Generator, characters: int) -> str:
        """Return a text of at least `characters`, another one at each call.

        Raises
        ------
        Misconfigured
            There is not enough text.
        """
        ...


class Task(Protocol[Challenge, Answer]):
    """What a subnet asks and how an answer is scored. Miners see nothing but `request`."""

    def challenge(self, rng: Generator, corpus: Corpus) -> Challenge:
        """Draw a challenge. Its truth stays with the validator; so does `rng` (`davy.tasks.corpus.private_rng`)."""
        ...

    def request(self, c: Challenge) -> CompletionRequest:
        """Return all that a miner sees, the same for every miner but for `model` (`ANY_MODEL`)."""
        ...

    def parse(self, c: Challenge, r: CompletionResponse) -> Answer:
        """Read an answer strictly.

        Raises
        ------
        BadAnswer
            One sentence that says what is wrong with it; it then scores as an absent one.
        """
        ...

    def score(self, c: Challenge, answers: Sequence[Answer | None]) -> FloatArray:
        """Return each answer's score by a proper rule, higher is better.

        None stands for an answer that failed, was late or never came.
        """
        ...

    def baseline(self, c: Challenge) -> float:
        """Return the score of what anybody can answer from public data: skill is counted above it."""
        ...


def differences(task: Task[Challenge, Answer], c: Challenge, answers: Sequence[Answer | None]) -> FloatArray:
    """Score − baseline of each answer: what `davy.tasks.skill` averages.

    Raises
    ------
    Misconfigured
        The task gave a score that is no finite number, or not one an answer.
    """
    found = np.asarray(task.score(c, answers), dtype=np.float64) - task.baseline(c)
    if found.shape != (len(answers),) or not np.isfinite(found).all():
        raise Misconfigured(f"{type(task).__name__} must return one finite score an answer; correct its `score`")
    return found


@dataclass(frozen=True)
class Setting:
    """What an operator hands a task when it is opened.

    Parameters
    ----------
    models
        Folder of the public text (training.txt.xz, heldout.txt) and of models, one folder each.
    pinned
        Name of the model whose tokenizer.json is the subnet's.
    cache
        Where tokens of the public text are kept from one start to the next; None counts them anew.
    shapes
        The requests whose looks challenges borrow; a validator that relays users' requests lets them be observed.
    """

    models: Path = Path(str(files("davy") / "models"))
    pinned: str = "stdlib-a"
    cache: Path | None = None
    shapes: Shapes = field(default_factory=Shapes)

    @property
    def tokenizer(self) -> Path:
        return self.models / self.pinned / "tokenizer.json"


Opener: TypeAlias = Callable[[Setting], Task[Any, Any]]


def task_names() -> list[str]:
    """List the tasks that are installed: davy's own and those of other packages."""
    return sorted({*_OWN, *entry_points(group=GROUP).names})


def open_task(name: str, setting: Setting) -> Task[Any, Any]:
    """Build a task by its name; a foreign package cannot take the name of one of davy's own.

    Raises
    ------
    Misconfigured
        No package brings the task, several do, or it cannot be built here.
    """
    if name in _OWN:
        module, _, attribute = _OWN[name].partition(":")
        return getattr(import_module(module), attribute)(setting)
    found = list(entry_points(group=GROUP, name=name))
    if len(found) != 1:
        what = "no installed package brings" if not found else "more than one installed package brings"
        raise Misconfigured(f"{what} a task '{name}'; installed tasks are: {', '.join(task_names())}")
    return _load(found[0])(setting)


def _load(entry: EntryPoint) -> Opener:
    try:
        return entry.load()
    except (ImportError, AttributeError) as e:
        raise Misconfigured(f"the task '{entry.name}' cannot be loaded from {entry.value}: {e}") from e
