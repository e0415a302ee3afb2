"""A node with one thing switched off: what the claims of the demo and of the tests must not survive.

Functions of `Means` change what a validator's examiner works with; those of `NodeBrake` a node's part in the brake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from davy.killswitch.guard import SOURCES, Guard
from davy.killswitch.scope import Subject
from davy.network.node_brake import NodeBrake
from davy.network.openai import CompletionRequest, CompletionResponse
from davy.protocol.chain import Neuron
from davy.tasks.task import Corpus, FloatArray, Generator, Task
from davy.validators.arrived import Arrived
from davy.validators.challenger import Challenger
from davy.validators.examiner import Means
from davy.validators.identity import IdentityEvidence
from davy.validators.organic import OrganicEvidence


def constant_scorer(means: Means) -> Means:
    """Whatever was answered is worth the same."""
    return means._replace(task=_Constant(means.task))


def receipts_unchecked(means: Means) -> Means:
    """An answer counts though nobody signed for it."""
    if isinstance(means.challenger, Challenger):
        means.challenger.__class__ = _Unchecked
    return means


def no_persistence(means: Means) -> Means:
    """What was measured is forgotten with the process."""
    return means._replace(store=_Forgetful())


def no_identity(means: Means) -> Means:
    """Nobody runs a model again, on challenges or on users' prompts, to see whether it is the registered one."""
    rerun = (IdentityEvidence, OrganicEvidence)
    return means._replace(evidence=[e for e in means.evidence if not isinstance(e, rerun)])


def no_organic(means: Means) -> Means:
    """What users got is not looked at."""
    return means._replace(evidence=[e for e in means.evidence if not isinstance(e, OrganicEvidence)])


def no_guard(brake: NodeBrake) -> NodeBrake:
    """Orders are taken in, attested and passed on; nothing stops. A rogue miner is one with this."""
    brake.guard.__class__ = _Permissive
    return brake


def no_boot_pull(brake: NodeBrake) -> NodeBrake:
    """What lies on the disk is taken for all there is."""
    for source in range(SOURCES):
        brake.guard.pulled(bytes([source]) * 32)
    return brake


class _Permissive(Guard):
    def permit(self, subject: Subject) -> None:
        """Whatever it is."""


class _Constant:
    def __init__(self, task: Task[Any, Any]) -> None:
        self._task = task

    def challenge(self, rng: Generator, corpus: Corpus) -> Any:
        return self._task.challenge(rng, corpus)

    def request(self, c: Any) -> CompletionRequest:
        return self._task.request(c)

    def parse(self, c: Any, r: CompletionResponse) -> Any:
        return self._task.parse(c, r)

    def score(self, c: Any, answers: Sequence[Any]) -> FloatArray:
        return np.full(len(answers), self.baseline(c) + 1.0)

    def baseline(self, c: Any) -> float:
        return self._task.baseline(c)


class _Unchecked(Challenger):
    def receipt_fault(self, miner: Neuron, arrived: Arrived) -> str:
        return ""


class _Forgetful:
    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}

    async def put(self, key: bytes, value: bytes) -> None:
        self._values[key] = value

    async def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)
