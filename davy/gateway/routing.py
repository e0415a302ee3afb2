"""Which miner is asked: drawn by incentive, mostly the less loaded of two draws; those that failed lately come last.

A draw in proportion to incentive sends users where consensus says answers are good; comparing two draws by load (the
power of two choices, Mitzenmacher 2001) keeps a slow or crowded miner from being asked as often as a quick one. It is
asked now and then all the same: whoever is never asked is never measured again, and nobody sees what it gives to users.
Nobody is measured by more than what this gateway saw of it, and nothing here enters a weight.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from davy.protocol.words import Hotkey, UnixMillis

REST_MS: Final = 500
"""After a first failure; doubled with each further one in a row."""
LONGEST_REST_MS: Final = 60_000
CROWDED_MS: Final = 1_000
"""Rest of a miner that said it is busy."""
MEMORY: Final = 0.8
"""Weight of what was measured before in the moving average of the time to the first byte."""


class Health(NamedTuple):
    """What this gateway saw of one miner."""

    under_way: int = 0
    failures: int = 0
    """In a row."""
    rests_until: UnixMillis = 0
    first_byte_ms: float = 0.0
    """Moving average; 0 before the first answer."""


NEW: Final = Health()


class Candidate(NamedTuple):
    """Somebody who serves what is asked for."""

    hotkey: Hotkey
    incentive: int
    health: Health


def asked(h: Health) -> Health:
    """One more request is under way."""
    return h._replace(under_way=h.under_way + 1)


def left(h: Health) -> Health:
    """One less."""
    return h._replace(under_way=max(0, h.under_way - 1))


def answered(h: Health, first_byte_ms: float) -> Health:
    """It answered: average' = MEMORY · average + (1 − MEMORY) · measured, and it rests no more."""
    average = MEMORY * h.first_byte_ms + (1 - MEMORY) * first_byte_ms if h.first_byte_ms else first_byte_ms
    return h._replace(failures=0, rests_until=0, first_byte_ms=average)


def failed(h: Health, now: UnixMillis) -> Health:
    """It did not: rest REST_MS · 2^(failures in a row − 1), at most LONGEST_REST_MS."""
    rest = min(LONGEST_REST_MS, REST_MS << min(h.failures, 16))
    return h._replace(failures=h.failures + 1, rests_until=now + rest)


def crowded(h: Health, now: UnixMillis) -> Health:
    """It is busy: no failure."""
    return h._replace(rests_until=now + CROWDED_MS)


def load(h: Health) -> float:
    """(requests under way + 1) · average time to the first byte; one never measured counts as quick."""
    return (h.under_way + 1) * max(h.first_byte_ms, 1.0)


def order(candidates: Sequence[Candidate], now: UnixMillis, rng: random.Random) -> list[Candidate]:
    """Whom to ask first, and whom next.

    Those with incentive that do not rest come first, drawn without replacement in proportion to incentive (Efraimidis
    & Spirakis 2006). If the second is the less loaded one it goes before the first, but for a share of the draws that
    is its load over the first one's. Then those without incentive, then who
    rests, soonest awake first.
    """
    awake = [c for c in candidates if c.health.rests_until <= now]
    paid = sorted((c for c in awake if c.incentive), key=lambda c: -(rng.random() ** (1 / c.incentive)))
    if len(paid) > 1 and rng.random() * load(paid[0].health) >= load(paid[1].health):
        paid[0], paid[1] = paid[1], paid[0]
    unpaid = [c for c in awake if not c.incentive]
    rng.shuffle(unpaid)
    resting = sorted((c for c in candidates if c.health.rests_until > now), key=lambda c: c.health.rests_until)
    return [*paid, *unpaid, *resting]
