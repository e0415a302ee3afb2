"""A node's whole part in the brake: its guard, the ledger's route, the pull, and what the ledger knows of a model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import anyio

from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.killswitch.scope import ModelFacts, Subject
from davy.network.attesting import Attesting
from davy.network.brake_peers import BrakePeers
from davy.network.ledger_route import LedgerRoute
from davy.network.telling import Telling
from davy.protocol.chain import Head
from davy.protocol.errors import DavyError, Malformed
from davy.protocol.genesis import Genesis
from davy.protocol.manifest import ModelClass
from davy.protocol.ports import LedgerClient, Ports
from davy.protocol.recorded import Facts, SubjectFacts
from davy.protocol.words import Digest, Height, Hotkey, ModelId, Netuid

_LOOK_AGAIN: Final = 20
"""Blocks after which facts are looked up anew though no order came: a registrant's models change slowly."""
_MAX_FACTS: Final = 16_384
_log = logging.getLogger(__name__)
Place: TypeAlias = tuple[Netuid, Hotkey, ModelId]
"""What a hotkey serves on a subnet."""


@dataclass
class _Known:
    """A subject as of the state after block `height`."""

    subject: Subject
    height: Height
    asked: bool = False


class NodeBrake:
    """What a node follows the brake with."""

    def __init__(self, guard: Guard, peers: BrakePeers, attesting: Attesting, ledger: LedgerClient) -> None:
        self.guard, self.peers = guard, peers
        self._attesting = attesting
        self._telling = Telling(guard)
        self._ledger = ledger
        self._route = LedgerRoute(guard, ledger)
        self._known: dict[Place, _Known] = {}
        self._seen: tuple[Digest, Height] = (b"", 0)
        """After which orders and at which block all that is known was right."""
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
            See `LedgerRoute.prove`.
        """
        async with self._looking:
            await self._route.hear(block)
            orders, failed = self.guard.head, None
            async with anyio.create_task_group() as tasks:  # all of them wait for the next header
                for place in self._due(block):
                    tasks.start_soon(self._try, place)
                try:
                    await self._route.prove(block)
                except DavyError as e:
                    failed = e
                    tasks.cancel_scope.cancel()
            if failed is not None:
                raise failed
            if self.guard.head != orders:  # more came meanwhile
                self._known.clear()
            self._seen = self.guard.head, block.height

    async def learn(self, places: Iterable[Place]) -> None:
        """Look up all of these that are not known, in the time of one; `subject` then says why one could not be."""
        if self.guard.state.first is not None:
            async with anyio.create_task_group() as tasks:
                for place in dict.fromkeys(places):
                    if place not in self._known:
                        tasks.start_soon(self._try, place)

    async def subject(self, netuid: Netuid, hotkey: Hotkey, model: ModelId, *, anew: bool = False) -> Subject:
        """Return what the guard is asked about; looked up on the ledger, and remembered for some blocks.

        With `anew` only as long as nothing changed on the subnet.

        On a chain that nobody can halt the ledger is not asked, and no class counts.

        Raises
        ------
        TxFailed, Unreachable, Refused
            The ledger does not know the model, or does not answer as it should: then nothing may be done with it.
        """
        if self.guard.state.first is None:
            return Subject(netuid, hotkey)
        known = self._known.get((netuid, hotkey, model))
        if known is None or (anew and self._moved(netuid, known, self._seen[1])):
            known = await self._look_up((netuid, hotkey, model))
        known.asked = True
        return known.subject

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

    def _due(self, block: Head) -> list[Place]:
        """What must be looked up again; what nobody has asked for since the last time is forgotten instead."""
        serving = {(x.netuid, x.hotkey, x.model.id) for x in self.guard.serving if x.model}
        due: list[Place] = []
        for place, known in list(self._known.items()):
            if place in serving and self._moved(place[0], known, block.height):
                due.append(place)
            elif self.guard.head != self._seen[0] or block.height >= known.height + _LOOK_AGAIN:
                if known.asked or place in serving:
                    due.append(place)
                else:
                    del self._known[place]
        return due

    def _moved(self, netuid: Netuid, known: _Known, height: Height) -> bool:
        """Whether what is known may be of before a block that changed it."""
        return known.height < height and not self._ledger.unchanged(netuid, known.height)

    async def _try(self, place: Place) -> None:
        try:
            await self._look_up(place)
        except DavyError as e:
            self._known.pop(place, None)  # whoever asks for it looks it up, and is told
            _log.info("what orders know of %s is not known: %s", place[1].hex()[:16], e)

    async def _look_up(self, place: Place) -> _Known:
        netuid, hotkey, model = place
        facts = await self._ledger.subject(netuid, hotkey, model)
        if (facts.netuid, facts.hotkey) != (netuid, hotkey) or [m.id for m in facts.model] != [model]:
            raise Malformed("the ledger tells of another model than it was asked about; ask another ledger")
        known = _Known(subject_of(facts), facts.height)
        if place in self._known or len(self._known) < _MAX_FACTS:
            self._known[place] = known
        return known


def subject_of(f: SubjectFacts) -> Subject:
    """What a guard is asked about, from what the ledger knows."""
    model = _facts(f.model[0]) if f.model else None
    model_class = ModelClass.SYSTEMIC if f.systemic else ModelClass.ORDINARY
    ancestors, siblings = tuple(map(_facts, f.ancestors)), tuple(map(_facts, f.siblings))
    return Subject(f.netuid, f.hotkey, model, ancestors, siblings, model_class)


def _facts(f: Facts) -> ModelFacts:
    return ModelFacts(f.id, frozenset(f.files), f.registrant)


async def open_brake(genesis: Genesis, own: Ports) -> NodeBrake:
    """Return a node's brake on what its store holds; nothing is permitted before `NodeBrake.look` or a pull.

    Raises
    ------
    Malformed
        The genesis' keyholders are refused.
    StoreFailed
    """
    guard = Guard(first_state(genesis), keys=own.keys, clock=own.clock, store=own.store)
    await guard.open()
    peers = BrakePeers(guard, own.transport, own.clock, own.entropy, own.store)
    await peers.open()
    return NodeBrake(guard, peers, Attesting(guard, own.keys, own.ledger, own.store), own.ledger)
