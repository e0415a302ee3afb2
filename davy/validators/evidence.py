"""The seam for claims beyond skill: identity, originality, work. Each sees every round and only ever lowers weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from davy.protocol.chain import Neuron
from davy.protocol.words import Hotkey


class Exchange(NamedTuple):
    """One challenge and what each miner that was asked it answered, as its task read it; None for no answer."""

    challenge: Any
    answers: Mapping[Hotkey, Any]


class Finding(NamedTuple):
    """What one claim says of one miner."""

    factor: float
    """Of its weight, in [0, 1]."""
    said: str
    """In one sentence for people: what was looked at, what was found, and what follows."""
    alike: tuple[Hotkey, ...] = ()
    """Other miners that it speaks of."""


class Evidence(Protocol):
    """One claim, kept over rounds."""

    name: str
    """One word for people."""

    async def prepare(self, miners: Sequence[Neuron]) -> None:
        """Look up what the claim needs to know of these miners before a round."""
        ...

    def observe(self, miners: Sequence[Neuron], round: Sequence[Exchange]) -> None:
        """Take a round in; may compute for long, so it is called off the event loop."""
        ...

    def findings(self, miners: Sequence[Neuron], worth: Mapping[Hotkey, float]) -> Mapping[Hotkey, Finding]:
        """Return what follows for each miner's weight; a miner left out has a factor of 1.

        Parameters
        ----------
        worth
            The weights so far, before this claim.
        """
        ...
