"""Real processes on loopback, no other route: orders reach every node, whatever becomes of a process."""

from __future__ import annotations

import pytest

from tests.killswitch.story import Story
from tests.network.gossip.conftest import needs_libp2p
from tests.network.gossip.peers import nodes

pytestmark = [pytest.mark.anyio, needs_libp2p]


async def test_gossip_alone_stops_every_node() -> None:
    """A chain of peers, so that what is heard must be handed on; one node is told by hand."""
    story = Story()
    raw = story.given[story.halt(0, 3)]
    async with nodes(story, 4) as (first, *others):
        line = [first, *others]
        for node, previous in zip(others, line[:-1], strict=True):
            node.route.meet([previous.met])
        for node in line:
            await node.until(lambda node=node: node.links > 0)
        assert not any(node.is_halted() for node in line)
        await first.guard.receive(raw)
        for node in line:
            await node.until(node.is_halted)
            assert node.guard.head == first.guard.head
