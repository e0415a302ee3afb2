"""The claim of identity: a miner runs the model whose files it registered. Checked by running those files again.

Only models whose files lie in the validator's library can be checked. A miner of such a model earns nothing until
enough of its answers were found to be the files'; a miner of any other model is paid for its skill, and its identity is
not known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from davy.protocol.chain import ModelRecord, Neuron
from davy.protocol.limits import MAX_UIDS
from davy.protocol.words import Height, Hotkey, ModelId
from davy.tasks.answer import Answer
from davy.tasks.identity import ALARMS, EXAMINED, Calibration, Verdict, alarms, gap, verdict
from davy.tasks.task import FloatArray
from davy.tasks.text import TextChallenge
from davy.validators.evidence import Exchange, Finding

K = TypeVar("K")

FIRST_A_ROUND: Final = EXAMINED
"""Answers of a miner that are run again in one round until there is a verdict; one a round afterwards."""
WINDOW: Final = 32
"""Gaps remembered of each miner and model."""


class Rerun(Protocol):
    """A model that can be run again (`davy.tasks.reexecution`)."""

    def log_probabilities(
        self, prompts: Sequence[str], continuations: Sequence[Sequence[int]]
    ) -> Sequence[FloatArray]: ...


class Known(NamedTuple):
    """A model of the library."""

    rerun: Rerun
    calibration: Calibration


class Runner(NamedTuple):
    """Who is examined for what."""

    hotkey: Hotkey
    model_id: ModelId


class Past(NamedTuple):
    """A runner's last gaps, and the registration they were found under: one that registers anew begins without any."""

    registered_at: Height
    gaps: deque[float]


class IdentityEvidence:
    """Gaps between what was reported and what the files say.

    Parameters
    ----------
    registered
        Asks the ledger for a model's record; None when it is not registered.
    library
        Loads a model and its calibration if its files are at hand; may take long and is asked once a model.
    """

    name = "identity"

    def __init__(
        self,
        registered: Callable[[ModelId], Awaitable[ModelRecord | None]],
        library: Callable[[ModelRecord], Awaitable[Known | None]],
    ) -> None:
        self._registered, self._library = registered, library
        self._known: dict[ModelId, Known | None] = {}
        self._past: dict[Runner, Past] = {}

    async def prepare(self, miners: Sequence[Neuron]) -> None:
        """Load models seen for the first time; one that is not registered yet is asked for again."""
        self._forget(miners)
        for model_id in {n.model[0].model_id for n in miners if n.model} - self._known.keys():
            record = await self._registered(model_id)
            if record is not None:
                self._known[model_id] = await self._library(record)

    def observe(self, miners: Sequence[Neuron], round: Sequence[Exchange]) -> None:
        """Run some of each miner's answers again, all miners of one model in one batch, equal answers once."""
        for model_id, known in self._known.items():
            if known is None:
                continue
            asked: list[tuple[Neuron, TextChallenge, Answer]] = []
            for n in miners:
                if n.model and n.model[0].model_id == model_id:
                    said = [(n, x.challenge, x.answers[n.hotkey]) for x in round if x.answers.get(n.hotkey)]
                    asked += said[: FIRST_A_ROUND if self._judged(n) is Verdict.UNKNOWN else 1]
            if not asked:
                continue
            runs = dict.fromkeys((c.asked.prompt, tuple(p.chosen for p in a.positions)) for _, c, a in asked)
            again = known.rerun.log_probabilities([prompt for prompt, _ in runs], [chosen for _, chosen in runs])
            own = dict(zip(runs, again, strict=True))
            for n, c, answer in asked:
                past = self._past.setdefault(Runner(n.hotkey, model_id), Past(n.registered_at, deque(maxlen=WINDOW)))
                past.gaps.append(gap(answer, own[c.asked.prompt, tuple(p.chosen for p in answer.positions)]))

    def findings(self, miners: Sequence[Neuron], worth: Mapping[Hotkey, float]) -> Mapping[Hotkey, Finding]:
        """Give 1 for a model found to be the same or not in the library, else 0."""
        return {n.hotkey: self._finding(n) for n in miners}

    def _finding(self, n: Neuron) -> Finding:
        judged = self._judged(n)
        factor = float(judged in (Verdict.SAME, None))
        if judged is None:
            return Finding(factor, "its model's files are not in the library: it is not looked whether they answer")
        model_id = n.model[0].model_id if n.model else b""
        known, gaps = self._known.get(model_id), self._gaps(n.hotkey, model_id)
        if known is None:
            return Finding(factor, "its model was not looked for yet: too few answers were run again to pay it")
        alarmed = told_alarms(gaps, known.calibration, "answers", "differ from what its registered files say")
        if judged is Verdict.DIFFERENT:
            return Finding(factor, f"its answers are not those of the model it registered: {alarmed}")
        if judged is Verdict.UNKNOWN:
            return Finding(factor, f"too few of its answers were run again so far: {len(gaps)} of {EXAMINED}")
        return Finding(factor, alarmed)

    def known(self, model_id: ModelId) -> Known | None:
        """A model that can be run again; None where its files are not at hand, or it was not looked for yet."""
        return self._known.get(model_id)

    def _judged(self, n: Neuron) -> Verdict | None:
        model_id = n.model[0].model_id if n.model else b""
        if model_id not in self._known:
            return Verdict.UNKNOWN  # a validator that has just started pays nobody on trust
        known = self._known[model_id]
        if known is None:
            return None
        return verdict(self._gaps(n.hotkey, model_id), known.calibration)

    def _gaps(self, hotkey: Hotkey, model_id: ModelId) -> list[float]:
        past = self._past.get(Runner(hotkey, model_id))
        return [] if past is None else list(past.gaps)

    def _forget(self, asked: Sequence[Neuron]) -> None:
        """Who registered anew begins without a past. Who is not asked now may be halted, and a halt acquits nobody.

        Beyond `MAX_UIDS` the runner goes, and the model, that was met first of those that nobody is asked for now.
        """
        since = {n.hotkey: n.registered_at for n in asked}
        self._past = {r: p for r, p in self._past.items() if since.get(r.hotkey, p.registered_at) == p.registered_at}
        _drop_oldest(self._known, {n.model[0].model_id for n in asked if n.model})
        _drop_oldest(self._past, {Runner(n.hotkey, n.model[0].model_id) for n in asked if n.model})


def _drop_oldest(kept: dict[K, Any], used: Container[K]) -> None:
    unused = [key for key in kept if key not in used]
    for key in unused[: max(0, len(kept) - MAX_UIDS)]:
        del kept[key]


def told_alarms(gaps: Sequence[float], calibration: Calibration, what: str, wrong: str) -> str:
    """Say how many of the answers in the window are alarms, and how many end a miner's pay."""
    found = alarms(gaps, calibration)
    return f"{found} of the last {len(gaps)} {what} run again {wrong}; {ALARMS} end a miner's pay"
