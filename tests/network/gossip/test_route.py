"""Real processes on loopback, no other route: orders reach every node, whatever becomes of a process."""

from __future__ import annotations

import pytest

from davy.protocol.errors import ModelHalted
from tests.killswitch.story import Story, models, subject
from tests.network.gossip.conftest import needs_libp2p
from tests.network.gossip.peers import Node, nodes

pytestmark = [pytest.mark.anyio, needs_libp2p]


async def linked(*chain: Node) -> None:
    """Let each dial the one before, so that what is heard must be handed on to get to the last."""
    for node, previous in zip(chain[1:], chain[:-1], strict=True):
        node.route.meet([previous.met])
        await node.until(lambda node=node: node.route.state.dialled > 0)


async def test_gossip_alone_stops_every_node_whatever_becomes_of_a_process() -> None:
    """One long story, for a process takes seconds to start: a halt, a late joiner, kill -9, a partition that heals."""
    story = Story()
    first_halt, second, third = (story.given[story.halt(0, 3, models(word))] for word in ("model", "other", "third"))
    async with nodes(story, 4) as (one, two, three, late):
        await linked(one, two, three)
        assert not any(node.is_halted() for node in (one, two, three))
        await one.guard.receive(first_halt)
        for node in (two, three):
            await node.until(node.is_halted)
            assert node.guard.head == one.guard.head

        assert not late.is_halted(), "it knew nobody"
        late.route.meet([three.met])
        await late.until(late.is_halted)

        pid = two.route.pid
        two.kill()  # the only way from the first to the others: now there are two halves
        await two.until(lambda: two.route.place is None)
        assert two.is_halted(), "a node is not let go by the end of its process"
        two.guard.permit(subject("other"))
        await one.guard.receive(second)
        await late.guard.receive(third)
        await three.until(lambda: three.is_halted("third"))
        assert not three.is_halted("other")

        await two.until(lambda: two.route.place is not None)
        assert two.route.pid != pid
        assert two.route.starts == 2
        three.route.meet([two.met])
        for node in (one, two, three, late):
            await node.until(lambda node=node: all(map(node.is_halted, ("model", "other", "third"))))
            with pytest.raises(ModelHalted):
                node.guard.permit(subject("third"))
            assert node.guard.head == one.guard.head
