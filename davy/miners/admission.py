"""Who is answered, and how much: the door of a miner.

By default only callers with stake in the metagraph are answered (validators, and gateways under their hotkeys), so
that a relay has nothing to pass on. Whom the model's registrant keeps out is not answered either
(`davy.network.access`). Each caller has a rate of its own, and all share a bounded number of places with a
bounded queue in front of them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import anyio

from davy.network.access import Applicant, admits, applicants
from davy.network.meter import Meter, Rate
from davy.protocol.chain import Metagraph
from davy.protocol.errors import Busy, Unauthorised
from davy.protocol.manifest import Access
from davy.protocol.ports import Clock
from davy.protocol.recorded import AccessRecord
from davy.protocol.words import TOKEN, Amount, Hotkey

NOBODY: Final = bytes(32)
"""The caller of an unsigned request, which only a miner started with --insecure-local answers."""


class Crowded(Busy):
    """Come back after `retry_after_ms`."""

    def __init__(self, message: str, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Rules(NamedTuple):
    """What an operator may set."""

    open: bool = False
    """Answer every signed request, whoever signs it."""
    minimum_stake: Amount = TOKEN
    """Base units on the caller's hotkey; the subnet's own stake threshold counts where it is higher."""
    places: int = 16
    """Answers made at the same time."""
    queue: int = 64
    """Requests that may wait for a place."""
    rate: float = 20.0
    """Requests a second of one caller, in the long run."""
    burst: int = 40
    """Requests of one caller at once, after a pause."""


class Admission:
    """Decides about each request; kept up to date with the metagraph by the node."""

    def __init__(self, rules: Rules, clock: Clock) -> None:
        self._rules = rules
        self._stakes: dict[Hotkey, Amount] = {}
        self._applicants: Mapping[Hotkey, Applicant] = {}
        self._rates: Meter[Hotkey] = Meter(Rate(rules.rate, rules.burst), clock)
        self._limiter = anyio.Semaphore(rules.places, fast_acquire=True)
        self._inside = 0

    def update(self, *metagraphs: Metagraph) -> None:
        """Take over the stakes of newer metagraphs, one of each subnet that is served."""
        self._applicants = applicants(metagraphs, self._rules.minimum_stake)
        self._stakes = {n.hotkey: n.stake for metagraph in metagraphs for n in metagraph.neurons}

    def authorise(self, caller: Hotkey, access: AccessRecord | None) -> bool:
        """Return True; asked by `RequestVerifier.verify` before a nonce is spent on a stranger.

        Parameters
        ----------
        access
            Whom the registrant of the model lets ask for it; None where the ledger has not told yet.

        Raises
        ------
        Unauthorised
            Too little stake, and this miner is not open to all; or the registrant keeps the caller out.
        Busy
            Nobody knows yet whom the registrant lets ask.
        """
        applicant = self._applicants.get(caller, Applicant(caller))
        if not (self._rules.open or caller == NOBODY or applicant.staked):
            raise Unauthorised(self._too_little(caller))
        if access is None:
            raise Busy("the ledger has not yet told this miner who may ask for its model; ask again in a moment")
        if admits(access, applicant):
            return True
        if caller == NOBODY:
            raise Unauthorised("the registrant of this model says who may ask for it, and nobody signed this; sign it")
        if access.access is Access.NAMED:
            raise Unauthorised("the registrant of this model names who may ask for it, and this key is not among them")
        raise Unauthorised(f"the registrant of this model lets callers with stake ask: {self._too_little(caller)}")

    def _too_little(self, caller: Hotkey) -> str:
        return (
            f"this miner answers neurons with {self._rules.minimum_stake / TOKEN:g} tokens of stake, or what their "
            f"subnet asks for, and this key has {self._stakes.get(caller, 0) / TOKEN:g}; stake on the hotkey that signs"
        )

    def spend(self, caller: Hotkey) -> None:
        """Count one request of a caller who may be answered.

        Raises
        ------
        Crowded
            Over the caller's rate, or no room is left in the queue.
        """
        self._room()
        wait = self._rates.spend(caller)
        if wait:
            raise Crowded(f"more than {self._rules.rate:g} requests a second from one caller; slow down", wait)

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None, None]:
        """Wait in the queue for a place and hold it.

        Raises
        ------
        Crowded
            The queue filled up since `spend`.
        """
        self._room()
        self._inside += 1
        try:
            async with self._limiter:
                yield
        finally:
            self._inside -= 1

    def _room(self) -> None:
        if self._inside >= self._rules.places + self._rules.queue:
            raise Crowded(f"{self._rules.queue} requests are waiting here already; ask again later", 1_000)
