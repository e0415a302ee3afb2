"""A gateway's part in the brake: what the guard is asked about each place, and what miners tell of orders."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from davy.gateway.directory import Place
from davy.killswitch.scope import Subject
from davy.network.node_brake import NodeBrake
from davy.protocol.errors import BadAnswer, Busy, DavyError, ModelHalted, TxFailed
from davy.protocol.words import Digest, Hotkey, ModelId, Netuid

_log = logging.getLogger(__name__)


class Permission(Protocol):
    """A node's guard, as a gateway asks it."""

    @property
    def head(self) -> Digest:
        """What every request says of the brake."""
        ...

    async def learn(self, places: Sequence[Place]) -> None:
        """Look up what the guard must know of these places; called with every block.

        Raises
        ------
        Unreachable
            The ledger does not answer.
        """
        ...

    def permit(self, place: Place) -> None:
        """Return at once if this place may be used.

        Raises
        ------
        ModelHalted
            It carries the signed order.
        Busy
            Nothing is known of the brake, or of this place, yet.
        """
        ...

    def running(self, place: Place) -> AbstractAsyncContextManager[Any]:
        """Hold an answer; a halt cancels what runs inside, and leaving the context raises ModelHalted."""
        ...

    async def told(self, place: Place, e: ModelHalted) -> DavyError:
        """Take in the order that a miner refuses by; what to think of its refusal: an order that holds, or none."""
        ...

    def noted(self, place: Place, head: Digest) -> None:
        """A receipt told a miner's head of the brake; where it is another, settle."""
        ...


class Brake:
    """`Permission` by a node's own guard."""

    def __init__(self, node: NodeBrake) -> None:
        self._node = node
        self._subjects: dict[tuple[Netuid, Hotkey, ModelId], Subject] = {}

    @property
    def head(self) -> Digest:
        return self._node.guard.head

    async def learn(self, places: Sequence[Place]) -> None:
        """Look every place up; one that the ledger does not know is not permitted."""
        known: dict[tuple[Netuid, Hotkey, ModelId], Subject] = {}
        await self._node.learn(map(_key, places))
        for place in places:
            try:
                known[_key(place)] = await self._node.subject(*_key(place))
            except TxFailed as e:
                _log.info("miner %s is left out: %s", place.neuron.hotkey.hex()[:16], e)
        self._subjects = known

    def permit(self, place: Place) -> None:
        self._node.guard.permit(self._subject(place))

    def running(self, place: Place) -> AbstractAsyncContextManager[Any]:
        return self._node.guard.running(self._subject(place), now=lambda: self._known(place))

    async def told(self, place: Place, e: ModelHalted) -> DavyError:
        """By the own guard's word after it took the order in: whoever only says so is a miner that does not answer."""
        if e.order:
            await self._node.guard.receive_all([e.order])
        try:
            self.permit(place)
        except (ModelHalted, Busy) as own:
            return own
        return BadAnswer("the miner says that its model is halted, and no order says so")

    def noted(self, place: Place, head: Digest) -> None:
        self._node.peers.note(head, place.neuron.endpoint[0], place.neuron.hotkey)

    def _subject(self, place: Place) -> Subject:
        for found in self._known(place):
            return found
        raise Busy("this gateway has not yet looked this miner's model up; ask again in a moment")

    def _known(self, place: Place) -> tuple[Subject, ...]:
        found = self._subjects.get(_key(place))
        return () if found is None else (found,)


def _key(place: Place) -> tuple[Netuid, Hotkey, ModelId]:
    return place.netuid, place.neuron.hotkey, place.model_id
