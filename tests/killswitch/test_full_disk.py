"""A node's disk takes nothing: what permits is not in force before it is written down, and a restart knows of none."""

from __future__ import annotations

import pytest

from davy.protocol.errors import StoreFailed
from davy.protocol.limits import DAY_MS
from davy.protocol.manifest import ModelClass
from tests.killswitch.guarded import Node, block
from tests.killswitch.story import START, Story, ms
from tests.twins.keyholders import Keyholders

pytestmark = pytest.mark.anyio
SYSTEMIC = {"model_class": ModelClass.SYSTEMIC}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def node(story: Story) -> Node:
    return Node(story)


async def test_a_lift_that_a_full_disk_refused_is_unknown_after_a_restart(node: Node, story: Story) -> None:
    await node.open()
    halt = story.halt(0, 3)
    await node.hear(halt)
    node.store.full = True
    lift = story.lift(0, halt)
    assert [type(e) for e in await node.hear(lift)] == [StoreFailed]
    await node.pull(2, halt, lift)
    assert not node.runs()
    await node.restart()
    node.store.full = True
    await node.pull(3, halt)
    assert lift not in node.guard.state.orders
    assert not node.runs()
    await node.pull(4, halt, lift)
    assert not node.runs(), "nor by the ledger's word, while there is no room"
    node.store.full = False
    await node.pull(5, halt, lift)
    await node.hear(lift)
    assert node.runs()


async def test_new_keyholders_lift_nothing_while_the_disk_is_full(node: Node, story: Story) -> None:
    """The INSTALL is a permission, too: by it others may lift."""
    await node.open()
    halt, new = story.halt(0, 3), Keyholders(1)
    await node.hear(halt)
    node.store.full = True
    install = story.install(0, new, halt)
    lift = story.lift(0, halt, by=new)
    assert [type(e) for e in await node.hear(install)] == [StoreFailed]
    assert StoreFailed in [type(e) for e in await node.hear(lift)]
    await node.pull(2, halt, install, lift)
    assert not node.runs()
    await node.restart()
    node.store.full = True
    assert node.guard.state.orders.keys() == {halt}
    await node.pull(3, halt, install, lift)
    assert not node.runs()
    node.store.full = False
    await node.hear(lift)
    assert node.runs()


@pytest.mark.parametrize("full", [False, True], ids=["with room", "on a full disk"])
async def test_an_install_that_leaves_a_halt_behind_ends_it_nowhere_on_a_full_disk(
    node: Node, story: Story, full: bool
) -> None:
    """Of a systemic model: its HALT ends with the roster only, a week after another is in office."""
    await node.open()
    halt, new = story.halt(0, 3), Keyholders(1)
    await node.hear(halt)
    node.store.full = full
    install = story.install(0, new)
    lease = story.lease(8, 20, by=new)
    shown = [(story.given[i], ms(day)) for i, day in ((halt, 0), (install, 0), (lease, 8))]
    node.clock.time = START + 8 * DAY_MS
    await node.guard.at_block(block(2, 8), shown)
    assert node.runs(**SYSTEMIC) == (not full)
    node.store.full = False
    await node.hear(lease)
    assert node.runs(**SYSTEMIC)
