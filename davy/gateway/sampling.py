"""Exchanges of users' requests, kept for whoever scores them later: a bounded, random sample a miner.

Only what can be scored is kept: temperature 0, log-probabilities, a receipt that holds. Which of a miner's exchanges
stay is drawn (Algorithm R, Vitter 1985, over the time between two collections), so no miner can know which one counts.
"""

from __future__ import annotations

import random
from typing import Final

from davy.network.exchange import MAX_ANSWER_BYTES, MAX_PIECES, Exchange
from davy.network.openai import CompletionRequest
from davy.protocol.words import Hotkey
from davy.tasks.shape import LISTED

KEPT: Final = 4
"""Of each miner, between two collections."""
MINERS: Final = 256


def can_be_scored(sent: CompletionRequest) -> bool:
    """Whether an answer to this can be held against anything: only at temperature 0 is the emitted token determined."""
    return sent.temperature == 0 and sent.logprobs == LISTED


class Sample:
    """What was seen since it was last collected."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._seen: dict[Hotkey, int] = {}
        self._kept: dict[Hotkey, list[Exchange]] = {}

    def take(self, miner: Hotkey, exchange: Exchange) -> None:
        """Offer one exchange."""
        if sum(map(len, exchange.answer)) > MAX_ANSWER_BYTES or len(exchange.answer) > MAX_PIECES:
            return
        if miner not in self._kept and len(self._kept) >= MINERS:
            return
        kept = self._kept.setdefault(miner, [])
        seen = self._seen[miner] = self._seen.get(miner, 0) + 1
        if len(kept) < KEPT:
            kept.append(exchange)
        elif (place := self._rng.randrange(seen)) < KEPT:
            kept[place] = exchange

    def collect(self) -> list[Exchange]:
        """Hand out what was kept, and begin anew."""
        found = [e for kept in self._kept.values() for e in kept]
        self._kept.clear()
        self._seen.clear()
        return found
