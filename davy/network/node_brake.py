"""A node's whole part in the brake: its guard, the ledger's route, the pull, and what the ledger knows of a model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from davy.killswitch.brake import first_state
from davy.killswitch.guard import SOURCES, Guard
from davy.killswitch.scope import Subject
from davy.network.brake_peers import BrakePeers
from davy.network.ledger_route import LedgerBrake, LedgerRoute
from davy.protocol.chain import Head
from davy.protocol.errors import ModelHalted
from davy.protocol.genesis import Genesis
from davy.protocol.ports import Clock, Entropy, KeyStore, Store, Transport
from davy.protocol.words import Digest, Height, Hotkey, ModelId, Netuid

Facts = Callable[[Netuid, Hotkey, ModelId], Awaitable[Subject]]
"""Looks up on the ledger what a hotkey serves, or would serve, on a subnet; raises what the ledger says of unknown ones."""

_LOOK_AGAIN: Final = 20
"""Blocks after which facts are looked up anew though no order came: a registrant's models change slowly."""
_MAX_FACTS: Final = 16_384


class NodeBrake:
    """What a node follows the brake with.

    Parameters
    ----------
    brake, hand_in
        See `davy.network.ledger_route.LedgerRoute`.
    """

    def __init__(
        self,
        guard: Guard,
        peers: BrakePeers,
        *,
        brake: Callable[[], Awaitable[LedgerBrake]],
        hand_in: Callable[[bytes], Awaitable[object]],
        facts: Facts,
    ) -> None:
        self.guard, self.peers = guard, peers
        self.route = LedgerRoute(guard, brake, hand_in)
        self._facts = facts
        self._known: dict[tuple[Netuid, Hotkey, ModelId], Subject] = {}
        self._known_at: tuple[Digest, Height] = (b"", 0)

    async def run(self) -> None:
        """Keep the guard's time and the pull going, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.guard.run)
            tasks.start_soon(self.peers.run)

    async def look(self, block: Head) -> None:
        """Take in the orders up to a verified block, before anything else sees the block.

        Raises
        ------
        Unreachable
            See `LedgerRoute.look`.
        """
        await self.route.look(block)
        if self.guard.head != self._known_at[0] or block.height >= self._known_at[1] + _LOOK_AGAIN:
            self._known.clear()
            self._known_at = (self.guard.head, block.height)

    async def subject(self, netuid: Netuid, hotkey: Hotkey, model: ModelId) -> Subject:
        """Return what the guard is asked about; looked up on the ledger, and remembered for some blocks.

        Raises
        ------
        TxFailed, Unreachable
            The ledger does not know the model, or does not answer: then nothing may be done with it.
        """
        known = self._known.get((netuid, hotkey, model))
        if known is None:
            known = await self._facts(netuid, hotkey, model)
            if len(self._known) < _MAX_FACTS:
                self._known[netuid, hotkey, model] = known
        return known

    async def halted(self, netuid: Netuid, hotkey: Hotkey, model: ModelId) -> bool:
        """Whether an order, or the lack of a LEASE, stops what a hotkey serves on a subnet.

        Raises
        ------
        Busy, TxFailed, Unreachable
            Nobody can say.
        """
        return is_halted(self.guard, await self.subject(netuid, hotkey, model))


def is_halted(guard: Guard, subject: Subject) -> bool:
    """Whether the guard stops something.

    Raises
    ------
    Busy
        The guard is not open yet.
    """
    try:
        guard.permit(subject)
    except ModelHalted:
        return True
    return False


async def open_guard(
    genesis: Genesis, *, keys: KeyStore, clock: Clock, store: Store, sources: int = SOURCES
) -> Guard:
    """Return a node's guard on what its store holds.

    Raises
    ------
    Malformed
        The genesis' keyholders are refused.
    StoreFailed
    """
    guard = Guard(first_state(genesis), keys=keys, clock=clock, store=store, sources=sources)
    await guard.open()
    return guard


async def open_peers(guard: Guard, transport: Transport, clock: Clock, entropy: Entropy, store: Store) -> BrakePeers:
    """Return a node's part in the pull, with whom it knew before.

    Raises
    ------
    StoreFailed
    """
    peers = BrakePeers(guard, transport, clock, entropy, store)
    await peers.open()
    return peers
