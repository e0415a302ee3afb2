"""The claim of originality: who answers alike shares one reward (`davy.tasks.originality`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from davy.protocol.chain import Neuron
from davy.protocol.words import Hotkey
from davy.tasks.originality import clusters
from davy.validators.evidence import Exchange, Finding

WINDOW: Final = 64
"""Challenges whose answers are compared."""


class OriginalityEvidence:
    """Answers to the last challenges, and who is near whom.

    Parameters
    ----------
    kinship
        Nats within which two miners count as one model (`Calibration.kinship`).
    """

    name = "originality"

    def __init__(self, kinship: float) -> None:
        self._kinship = kinship
        self._round: deque[Exchange] = deque(maxlen=WINDOW)

    async def prepare(self, miners: Sequence[Neuron]) -> None:
        """Nothing is looked up."""

    def observe(self, miners: Sequence[Neuron], round: Sequence[Exchange]) -> None:
        """Keep the last answers."""
        self._round.extend(round)

    def findings(self, miners: Sequence[Neuron], worth: Mapping[Hotkey, float]) -> Mapping[Hotkey, Finding]:
        """Give 1 ÷ the size of a miner's cluster, counting those that would earn: a refuted copy takes no share."""
        groups = self._groups([h for h, w in worth.items() if w > 0])
        return {hotkey: _finding([h for h in group if h != hotkey]) for group in groups for hotkey in group}

    def _groups(self, hotkeys: Sequence[Hotkey]) -> list[list[Hotkey]]:
        kept = list(self._round)  # `observe` may run meanwhile, in a worker thread
        return clusters({h: [x.answers.get(h) for x in kept] for h in hotkeys}, self._kinship)


def _finding(others: Sequence[Hotkey]) -> Finding:
    if not others:
        return Finding(1.0, "no other miner that would earn answers like it")
    told = "another miner" if len(others) == 1 else f"{len(others)} other miners"
    return Finding(1.0 / (len(others) + 1), f"it answers like {told}, and they share one reward", tuple(others))
