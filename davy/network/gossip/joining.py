"""The libp2p route as a node takes it along: beside its brake, in front of its door."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final, NamedTuple

import anyio

from davy.network.gossip.meeting import GossipDoor, Meeting
from davy.network.gossip.pipe import Met
from davy.network.gossip.route import GossipRoute, Listening
from davy.network.node_brake import NodeBrake
from davy.protocol.ports import Handler, Ports

LAUNCH: Final = (sys.executable, "-m", "davy", "gossip")


class Joining(NamedTuple):
    """What an operator says of the route."""

    at: Listening
    given: Sequence[Met] = ()
    launch: Sequence[str] = LAUNCH


class Gossip:
    """The route and how it finds peers, in one."""

    def __init__(self, route: GossipRoute, meeting: Meeting) -> None:
        self.route, self.meeting = route, meeting

    def door(self, rest: Handler) -> Handler:
        """Put ``GET /gossip`` in front of a handler."""
        return GossipDoor(self.route, rest)

    async def run(self) -> None:
        """Keep both going until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.route.run)
            tasks.start_soon(self.meeting.run)


def is_installed() -> bool:
    """Whether the extra is there; nothing of it is imported."""
    return find_spec("libp2p") is not None


def join_gossip(brake: NodeBrake, how: Joining, own: Ports) -> Gossip:
    """Return a node's libp2p route, which `NodeBrake.run` keeps going from now on."""
    route = GossipRoute(brake.guard, own.keys, own.clock, how.launch, how.at)
    # That the transport pins certificates binds peers to the nodes that the ledger names.
    meeting = Meeting(route, brake.peers, own.transport, own.clock, own.entropy, own.store, how.given)
    gossip = Gossip(route, meeting)
    brake.beside.append(gossip.run)
    return gossip
