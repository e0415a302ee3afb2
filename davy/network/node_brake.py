"""A node's whole part in the brake: its guard, the ledger's route, the pull, and what the ledger knows of a model."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

import anyio

from davy.killswitch.brake import first_state
from davy.killswitch.guard import SOURCES, Guard
from davy.killswitch.scope import ModelFacts, Subject
from davy.network.attesting import Attesting
from davy.network.brake_peers import BrakePeers
from davy.network.ledger_route import LedgerRoute
from davy.network.telling import Telling
from davy.protocol.chain import Head
from davy.protocol.errors import Malformed
from davy.protocol.genesis import Genesis
from davy.protocol.manifest import ModelClass
from davy.protocol.ports import Clock, Entropy, KeyStore, LedgerClient, Store, Transport
from davy.protocol.recorded import Facts, SubjectFacts
from davy.protocol.words import Digest, Height, Hotkey, ModelId, Netuid

_LOOK_AGAIN: Final = 20
"""Blocks after which facts are looked up anew though no order came: a registrant's models change slowly."""
_MAX_FACTS: Final = 16_384


class NodeBrake:
    """What a node follows the brake with."""

    def __init__(self, guard: Guard, peers: BrakePeers, attesting: Attesting, ledger: LedgerClient) -> None:
        self.guard, self.peers = guard, peers
        self._attesting = attesting
        self._telling = Telling(guard)
        self._ledger = ledger
        self._route = LedgerRoute(guard, ledger)
        self._known: dict[tuple[Netuid, Hotkey, ModelId], Subject] = {}
        self._known_at: tuple[Digest, Height] = (b"", 0)
        self._looking = anyio.Lock()
        self.beside: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """Further routes, which `run` keeps going too."""

    async def run(self) -> None:
        """Keep the guard's time, the pull, attestations, notices and what is `beside` going, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.guard.run)
            tasks.start_soon(self.peers.run)
            tasks.start_soon(self._attesting.run)
            tasks.start_soon(self._telling.run)
            for route in self.beside:
                tasks.start_soon(route)

    async def look(self, block: Head) -> None:
        """Take in the orders up to a verified block, before anything else sees the block. Several may ask for the same.

        Raises
        ------
        Unreachable
            See `LedgerRoute.look`.
        """
        async with self._looking:
            await self._route.look(block)
        if self.guard.head != self._known_at[0] or block.height >= self._known_at[1] + _LOOK_AGAIN:
            self._known.clear()
            self._known_at = (self.guard.head, block.height)

    async def subject(self, netuid: Netuid, hotkey: Hotkey, model: ModelId, *, anew: bool = False) -> Subject:
        """Return what the guard is asked about; looked up on the ledger, and remembered for some blocks unless `anew`.

        On a chain that nobody can halt the ledger is not asked, and no class counts.

        Raises
        ------
        TxFailed, Unreachable, Refused
            The ledger does not know the model, or does not answer as it should: then nothing may be done with it.
        """
        if self.guard.state.first is None:
            return Subject(netuid, hotkey)
        known = None if anew else self._known.get((netuid, hotkey, model))
        if known is None:
            facts = await self._ledger.subject(netuid, hotkey, model)
            if (facts.netuid, facts.hotkey) != (netuid, hotkey) or [m.id for m in facts.model] != [model]:
                raise Malformed("the ledger tells of another model than it was asked about; ask another ledger")
            known = subject_of(facts)
            if len(self._known) < _MAX_FACTS:
                self._known[netuid, hotkey, model] = known
        return known

    async def permit(self, netuid: Netuid, hotkey: Hotkey, model: ModelId) -> None:
        """Return if what a hotkey serves on a subnet may be used now.

        Raises
        ------
        ModelHalted, Busy
            See `davy.killswitch.guard.Guard.permit`.
        TxFailed, Unreachable
            See `subject`.
        """
        self.guard.permit(await self.subject(netuid, hotkey, model))


def subject_of(f: SubjectFacts) -> Subject:
    """What a guard is asked about, from what the ledger knows."""
    model = _facts(f.model[0]) if f.model else None
    model_class = ModelClass.SYSTEMIC if f.systemic else ModelClass.ORDINARY
    ancestors, siblings = tuple(map(_facts, f.ancestors)), tuple(map(_facts, f.siblings))
    return Subject(f.netuid, f.hotkey, model, ancestors, siblings, model_class)


def _facts(f: Facts) -> ModelFacts:
    return ModelFacts(f.id, frozenset(f.files), f.registrant)


async def open_brake(
    genesis: Genesis,
    ledger: LedgerClient,
    *,
    keys: KeyStore,
    clock: Clock,
    entropy: Entropy,
    store: Store,
    transport: Transport,
    sources: int = SOURCES,
) -> NodeBrake:
    """Return a node's brake on what its store holds; nothing is permitted before `NodeBrake.look` or a pull.

    Parameters
    ----------
    transport
        See `davy.network.brake_peers.BrakePeers`.

    Raises
    ------
    Malformed
        The genesis' keyholders are refused.
    StoreFailed
    """
    guard = Guard(first_state(genesis), keys=keys, clock=clock, store=store, sources=sources)
    await guard.open()
    peers = BrakePeers(guard, transport, clock, entropy, store)
    await peers.open()
    return NodeBrake(guard, peers, Attesting(guard, keys, ledger, store), ledger)
