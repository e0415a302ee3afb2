"""Whatever is done to a halted node, nothing becomes permitted without a LIFT on the ledger or a verified end.

Old backups, a ledger that went back, a full disk, clocks set forward and back, crashes, weeks of partition: in any
sequence, drawn from seeds. The oracle knows the world, not the guard: what the ledger's newest block is and holds.
"""

from __future__ import annotations

from random import Random

import pytest

from davy.killswitch.index import Index
from davy.protocol.chain import Head
from davy.protocol.encoding import decode
from davy.protocol.limits import DAY_MS, FRESH_MS, LEASE_GRACE_MS
from davy.protocol.manifest import ModelClass
from davy.protocol.order import OrderId
from tests.killswitch.guarded import Node
from tests.killswitch.story import START, Story, ms
from tests.twins import MemoryStore

pytestmark = pytest.mark.anyio
HALT_DAYS = 5.0
STEPS = 80
SYSTEMIC = {"model_class": ModelClass.SYSTEMIC}


@pytest.fixture
def anyio_backend() -> str:
    """One is enough: nothing waits here."""
    return "asyncio"


class Abuse:
    """One node, its disk and clock, a ledger, and whoever mistreats them."""

    def __init__(self, seed: int, *, systemic: bool) -> None:
        self.rng, self.story, self.systemic = Random(seed), Story(), systemic
        self.node = Node(self.story)
        self.true, self.height = START, 1
        self.ledger: dict[OrderId, int] = {}
        """What it recorded, with the times of the blocks."""
        self.newest = START
        """Time of its newest block."""
        self.lifted_at: int | None = None
        self.lease: tuple[int, int] | None = None
        """Issue and end of the last LEASE on it."""
        self.backups: list[MemoryStore] = []
        self.seen = 1
        """The greatest height that this node knows."""
        self.done: list[str] = []

    async def begin(self) -> None:
        if self.systemic:
            self.put(self.story.lease(0, 30, quietly=True))
            self.lease = (ms(0), ms(30))
        await self.node.guard.open()
        await self.block()
        assert self.permits(), "nothing is halted yet"
        self.backups.append(self.node.store.copy())
        self.halt = self.story.halt(0.01, HALT_DAYS, quietly=True)
        self.true += DAY_MS // 50
        self.put(self.halt)
        await self.node.hear(self.halt)
        await self.block()

    def put(self, i: OrderId) -> None:
        self.ledger[i] = self.true

    def permits(self) -> bool:
        return self.node.runs(**(SYSTEMIC if self.systemic else {}))

    def day(self) -> float:
        return (self.true - START) / DAY_MS

    def check(self) -> None:
        if not self.permits():
            return
        what = self.done
        if not self.systemic:
            assert self.lifted_at is not None or self.newest >= ms(HALT_DAYS), what
            return
        assert self.lifted_at is not None, what
        assert self.lease is not None, what
        issued, end = self.lease
        assert issued > ms(0.01), ("the LEASE before the HALT is void", what)
        assert self.newest < end + LEASE_GRACE_MS, what
        assert abs(self.node.guard.now() - self.node.guard.clocks.seen) <= FRESH_MS, what

    # what happens

    async def block(self) -> None:
        self.height += 1
        self.newest = self.true
        self.seen = self.height
        head = Head(self.height, self.true, bytes([self.height % 256]) * 32, bytes(32))
        await self.node.guard.at_block(head, [(self.story.given[i], t) for i, t in self.ledger.items()])

    async def rollback(self) -> None:
        """A ledger that lost its last blocks, and made others without any order, with today's time."""
        if self.seen > 2:
            head = Head(self.seen - 1, self.true, b"\xfe" * 32, bytes(32))
            await self.node.guard.at_block(head, [])

    async def crash(self) -> None:
        """Blocks of the last half minute may not be on the disk: then a ledger that lost them cannot be told."""
        await self.node.restart()
        self.seen = self.on_disk()

    async def restore(self) -> None:
        await self.node.restart(self.rng.choice(self.backups).copy())
        self.seen = self.on_disk()

    def on_disk(self) -> int:
        raw = self.node.store.values.get(b"brake/index")
        return decode(raw, Index, limit=2**20).height if raw else 0

    async def keep(self) -> None:
        self.backups.append(self.node.store.copy())

    async def disk(self) -> None:
        self.node.store.full = not self.node.store.full

    async def clock(self) -> None:
        """Anything from right to weeks off, either way."""
        off = self.rng.choice((0.0, 0.0, 1.0, 10.0, 60.0, -1.0, -10.0, -60.0))
        self.node.clock.time = self.true + round(off * DAY_MS)

    async def partition(self) -> None:
        """45 days without a block for this node, or less; its clock goes on, and the ledger's too."""
        days = self.rng.choice((0.2, 1.0, 3.0, 45.0))
        self.true += round(days * DAY_MS)
        self.node.clock.time += round(days * DAY_MS)

    async def rumour(self) -> None:
        """Others repeat what keyholders signed, also what the ledger does not have."""
        await self.node.hear(*self.rng.sample(sorted(self.story.given), min(2, len(self.story.given))))

    async def told(self) -> None:
        """Three nodes are pulled, which know nothing."""
        for source in (b"a", b"b", b"c"):
            self.node.guard.pulled(source * 32)

    async def free(self) -> None:
        """Keyholders lift it, and lease it anew, at last; the ledger may never hear of it."""
        lift = self.story.lift(self.day(), self.halt, quietly=True)
        lease = self.story.lease(self.day() + 0.001, self.day() + 20, quietly=True)
        if self.rng.random() < 0.5:
            self.put(lift)
            self.lifted_at = self.true
            self.put(lease)
            self.lease = (ms(self.day() + 0.001), ms(self.day() + 20))


EVENTS = (
    "block", "block", "block", "rollback", "rollback", "crash", "crash", "restore", "restore", "keep", "disk", "clock",
    "clock", "partition", "rumour", "rumour",
)  # fmt: skip


@pytest.mark.parametrize("systemic", [False, True], ids=["ordinary", "systemic"])
@pytest.mark.parametrize("seed", range(40))
async def test_nothing_is_permitted_without_a_lift_or_a_verified_end(seed: int, systemic: bool) -> None:
    abuse = Abuse(seed, systemic=systemic)
    await abuse.begin()
    assert not abuse.permits()
    for step in range(STEPS):
        event = "free" if step and abuse.rng.random() < 0.02 else abuse.rng.choice(EVENTS)
        abuse.done.append(event)
        await getattr(abuse, event)()
        abuse.check()
    abuse.node.store.full = False
    abuse.node.clock.time = abuse.true
    await abuse.block()
    abuse.check()


async def test_the_oracle_sees_a_guard_that_forgets() -> None:
    """With the boot pull taken to be done, some backup gives what was halted free, and the check says so."""
    failed = 0
    for seed in range(10):
        abuse = Abuse(seed, systemic=False)
        await abuse.begin()
        for _ in range(STEPS):
            await getattr(abuse, abuse.rng.choice(EVENTS))()
            abuse.node.guard.is_open = True
            try:
                abuse.check()
            except AssertionError:
                failed += 1
                break
    assert failed > 5


async def test_45_days_of_partition_end_no_halt(story: Story) -> None:
    """Own clock alone ends nothing: neither on the node that saw the HALT, nor on its neighbour's backup of before."""
    node = Node(story)
    await node.open()
    before = node.store.copy()
    halt = story.halt(0, 7)
    await node.hear(halt)
    for day in range(1, 46):
        node.clock.time = START + day * DAY_MS
        assert not node.runs()
        if day % 9 == 0:
            await node.restart()
    node.store = before
    await node.restart(before)
    assert not node.runs(), "not pulled: Busy"
    await node.guard.at_block(Head(5, START + 45 * DAY_MS, b"\5" * 32, bytes(32)), [(story.given[halt], START)])
    assert node.runs(), "the chain is back, and past the end"


async def test_45_days_of_partition_end_every_lease(story: Story) -> None:
    node = Node(story)
    await node.open(1, story.lease(0, 30))
    assert node.runs(**SYSTEMIC)
    node.clock.time = START + 45 * DAY_MS
    assert not node.runs(**SYSTEMIC)
    await node.guard.at_block(Head(2, START + 45 * DAY_MS, b"\2" * 32, bytes(32)), [])
    assert not node.runs(**SYSTEMIC), "back, and still without a LEASE"


async def test_a_ledger_that_went_back_is_no_sign_of_life(story: Story) -> None:
    """Its blocks may have today's time; a node that has seen higher ones takes it for none."""
    node = Node(story)
    await node.open(7, lease := story.lease(0, 30))
    node.clock.time = START + 2 * FRESH_MS
    assert not node.runs(**SYSTEMIC)
    await node.guard.at_block(Head(6, node.clock.time, b"\6" * 32, bytes(32)), [(story.given[lease], START)])
    assert not node.runs(**SYSTEMIC)
    await node.guard.at_block(Head(8, node.clock.time, b"\x08" * 32, bytes(32)), [(story.given[lease], START)])
    assert node.runs(**SYSTEMIC)


async def test_a_ledger_that_went_back_ends_no_halt(story: Story) -> None:
    node = Node(story)
    await node.open(7)
    await node.hear(story.halt(0, 3))
    node.clock.time = START + 4 * DAY_MS
    await node.guard.at_block(Head(6, node.clock.time, b"\6" * 32, bytes(32)), [])
    assert not node.runs()
