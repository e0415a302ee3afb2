"""The guard's memory and disk: what stops acts at once, what permits is written first, a start waits for its pull."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from davy.killswitch import guard as module
from davy.killswitch.brake import first_state
from davy.killswitch.clocks import Clocks
from davy.killswitch.guard import Guard
from davy.killswitch.index import INDEX, Index, Recorded, clock_mended, read_index
from davy.killswitch.scope import Subject
from davy.killswitch.verdict import Halted, Lapsed, Permitted, verdict
from davy.protocol.attestation import open_attestation
from davy.protocol.encoding import encode
from davy.protocol.errors import BadSignature, Busy, Misconfigured, ModelHalted, StoreFailed, UnknownRoster
from davy.protocol.limits import (
    DAY_MS,
    FRESH_MS,
    MAX_BRAKE_ORDERS,
    MAX_GROUP_EPOCH,
    MAX_NAMED_ORDERS,
    MAX_RIVAL_ROSTERS,
    MAX_STORED_BYTES,
)
from davy.protocol.manifest import ModelClass
from davy.protocol.order import Global, GroupKey, Halt
from davy.protocol.receipt import EMPTY_BRAKE_HEAD
from davy.protocol.words import KeyRole
from tests.killswitch.guarded import KEYS, Node, block, may
from tests.killswitch.story import MINUTE, START, Story, genesis, models, ms, name, subject, systemic
from tests.twins import MemoryStore, SetClock
from tests.twins.keyholders import Keyholders

pytestmark = pytest.mark.anyio


async def test_a_halt_stops_at_once_and_a_lift_lets_it_run_again(node: Node, story: Story) -> None:
    guard = await node.open()
    assert node.runs()
    assert guard.head == EMPTY_BRAKE_HEAD
    halt = story.halt(0, 3)
    assert await node.hear(halt) == []
    with pytest.raises(ModelHalted) as stopped:
        guard.permit(subject())
    assert stopped.value.order == story.given[halt]
    assert node.runs(word="another")
    lift = story.lift(0, halt)
    assert await node.hear(lift) == []
    assert not node.runs()  # others only say so; the ledger has not recorded it
    await node.pull(2, halt, lift)
    assert node.runs()


async def test_nobody_else_can_halt(node: Node, story: Story) -> None:
    guard = await node.open()
    thief = Keyholders(name="thief")
    forged = thief.sign(thief.order(story.chain, Halt(Global(), GroupKey.HALT), START, START + 1000))
    with pytest.raises(UnknownRoster):
        await guard.receive(forged)
    signed = bytearray(story.given[story.halt(0, 1, quietly=True)])
    signed[-1] ^= 1
    with pytest.raises(BadSignature):
        await guard.receive(bytes(signed))
    assert node.runs()


class TestStart:
    async def test_nothing_is_permitted_before_the_ledger_was_asked(self, node: Node) -> None:
        await node.guard.open()
        with pytest.raises(Busy):
            node.guard.permit(subject())
        assert not node.guard.is_open
        await node.pull(1)
        assert node.runs()

    async def test_or_so_many_different_nodes(self, node: Node) -> None:
        await node.guard.open()
        for source in (b"a", b"b", b"b", b"a"):
            node.guard.pulled(source * 32)
        assert not node.runs()
        node.guard.pulled(b"c" * 32)
        assert node.runs()

    async def test_a_chain_without_keyholders_has_nothing_to_wait_for(self) -> None:
        guard = Guard(first_state(genesis(())), keys=KEYS, clock=SetClock(START), store=MemoryStore())
        await guard.open()
        assert may(guard)

    async def test_a_restarted_node_stays_halted(self, node: Node, story: Story) -> None:
        await node.open()
        await node.hear(story.halt(0, 3))
        guard = await node.restart()
        assert not node.runs()
        for source in (b"a", b"b", b"c"):
            guard.pulled(source * 32)
        assert guard.is_open
        with pytest.raises(ModelHalted):
            guard.permit(subject())

    async def test_a_restored_backup_cannot_undo_a_halt(self, node: Node, story: Story) -> None:
        await node.open()
        backup = node.store.copy()
        halt = story.halt(0, 3)
        await node.hear(halt)
        guard = await node.restart(backup)
        with pytest.raises(Busy):  # it does not know the halt, and serves nothing
            guard.permit(subject())
        await node.pull(9, halt)
        with pytest.raises(ModelHalted):
            guard.permit(subject())

    async def test_a_ledger_behind_what_was_seen_is_not_believed(self, node: Node, story: Story) -> None:
        await node.open(height=7)
        await node.hear(story.halt(0, 3))  # which writes the height
        await node.restart()
        await node.pull(6)
        assert not node.guard.is_open
        await node.pull(7)
        assert node.guard.is_open

    async def test_a_store_of_another_chain_is_none(self, node: Node, story: Story) -> None:
        await node.open(height=7)
        await node.hear(story.halt(0, 3))
        other = Guard(first_state(genesis((), "other")), keys=KEYS, clock=node.clock, store=node.store)
        await other.open()
        assert other.state.orders == {}
        assert may(other)

    async def test_orders_lost_on_disk_are_pulled_before_anything_runs(self, node: Node, story: Story) -> None:
        await node.open()
        halt = story.halt(0, 3)
        await node.hear(halt)
        del node.store.values[b"brake/order/" + halt]
        await node.restart()
        assert not node.runs()
        await node.pull(1, halt)
        with pytest.raises(ModelHalted):
            node.guard.permit(subject())

    async def test_an_index_that_cannot_be_read_ends_the_start(self, node: Node, story: Story) -> None:
        await node.open()
        await node.hear(story.halt(0, 3))
        node.store.values[b"brake/index"] += b"\0"
        with pytest.raises(StoreFailed, match="restore"):
            await node.restart()


class TestDisk:
    async def test_a_full_disk_does_not_disable_a_halt(self, node: Node, story: Story) -> None:
        await node.open()
        node.store.full = True
        assert await node.hear(story.halt(0, 3)) == []
        assert not node.runs()

    async def test_and_undoes_none(self, node: Node, story: Story) -> None:
        guard = await node.open()
        halt = story.halt(0, 3)
        await node.hear(halt)
        node.store.full = True
        lift = story.lift(0, halt)
        assert [type(e) for e in await node.hear(lift)] == [StoreFailed]
        assert not node.runs()
        with pytest.raises(StoreFailed):
            await guard.receive(story.given[lift])
        await node.pull(2, halt, lift)
        assert not node.runs()
        node.store.full = False
        assert await node.hear(lift) == []
        assert node.runs()

    async def test_a_lift_of_a_halt_that_was_never_written_waits_too(self, node: Node, story: Story) -> None:
        await node.open()
        node.store.full = True
        halt = story.halt(0, 3)
        await node.hear(halt)
        await node.pull(2, halt, story.lift(0, halt))
        assert not node.runs()

    async def test_new_keyholders_can_halt_on_a_full_disk(self, node: Node, story: Story) -> None:
        await node.open()
        node.store.full = True
        new = Keyholders(1)
        await node.hear(story.install(0, new))
        await node.hear(story.halt(0, 3, by=new))
        assert not node.runs()

    async def test_what_permits_is_on_disk_before_it_acts(self, node: Node, story: Story) -> None:
        await node.open()
        halt = story.halt(0, 3)
        await node.hear(halt)
        seen: list[bool] = []

        class Watched(MemoryStore):
            async def put(self, key: bytes, value: bytes) -> None:
                seen.append(node.runs())
                await super().put(key, value)
                seen.append(node.runs())

        node.store = Watched(node.store.values)
        await node.restart(node.store)
        await node.pull(1, halt)
        seen.clear()
        await node.pull(2, halt, story.lift(0, halt))
        assert len(seen) >= 4
        assert not any(seen)
        assert node.runs()

    async def test_what_stops_acts_before_it_is_on_disk(self, node: Node, story: Story) -> None:
        await node.open()
        seen: list[bool] = []

        class Watched(MemoryStore):
            async def put(self, key: bytes, value: bytes) -> None:
                seen.append(node.runs())
                await super().put(key, value)

        await node.restart(Watched())
        await node.pull(1)
        await node.hear(story.halt(0, 3))
        assert seen
        assert not any(seen)

    async def test_the_marks_go_to_disk_each_half_minute_not_each_second(self, node: Node) -> None:
        written: list[int] = []

        class Watched(MemoryStore):
            async def put(self, key: bytes, value: bytes) -> None:
                written.append(node.clock.time - START)
                await super().put(key, value)

        await node.restart(Watched())
        await node.pull(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.guard.run)
            while node.clock.time < START + 70_000:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        assert written == [1_000, 31_000, 61_000]


class TestClocks:
    async def test_a_clock_set_back_does_not_turn_back_time(self, node: Node, story: Story) -> None:
        await node.open()
        systemic = {"model_class": ModelClass.SYSTEMIC}
        await node.pull(1, story.lease(0, 10))
        node.clock.time = START + 14 * DAY_MS  # past its grace
        await node.guard.at_block(block(2, 1), [])
        assert not node.runs(**systemic)
        await node.hear(story.halt(0, 1, models("other")))  # which writes the clock
        await node.restart()
        node.clock.time = START + DAY_MS
        await node.guard.at_block(block(3, 1), [])
        assert node.guard.now() == START + 14 * DAY_MS
        assert not node.runs(**systemic)

    async def test_a_clock_that_was_ahead_is_named_and_mended_without_losing_an_order(
        self, node: Node, story: Story
    ) -> None:
        systemic = {"model_class": ModelClass.SYSTEMIC}
        lease, unheard = story.lease(0, 10), story.halt(0, 3, models("other"))
        await node.open(7, lease)
        await node.hear(unheard)  # no ledger knows it
        node.clock.time = START + 400 * DAY_MS
        assert node.guard.ahead == 0
        await node.hear(story.halt(0, 2, models("third")))  # which writes the clock
        node.clock.time = START + 1_000
        await node.restart()
        await node.pull(8, lease)
        with pytest.raises(ModelHalted, match="clock was 399 days 23 hours ahead once") as told:
            node.guard.permit(subject(**systemic))
        assert told.value.order == b""
        assert (node.guard.ahead, node.guard.seen) == (400 * DAY_MS - 1_000, 0)
        assert node.runs(), "nothing else is stopped by it"
        assert not node.runs(word="other")

        kept = read_index(await node.store.get(INDEX) or b"")
        mended = clock_mended(kept, node.guard.state, node.clock.time, block(8))
        await node.store.put(INDEX, encode(mended))
        await node.restart()
        with pytest.raises(Busy):
            node.guard.permit(subject(**systemic))
        await node.pull(6, lease)
        assert not node.guard.is_open, "the height that was seen is kept, too"
        await node.pull(8, lease)
        assert node.runs(**systemic)
        assert not node.runs(word="other"), "and a HALT that no ledger knows"
        assert (node.guard.ahead, node.guard.seen) == (0, START)

    async def test_marks_are_written_while_the_clock_is_behind_what_was_kept(self, node: Node, story: Story) -> None:
        node.clock.time = START + 400 * DAY_MS
        await node.open()
        await node.hear(story.halt(0, 1, models("other")))  # which writes the clock
        node.clock.time = START
        await node.restart()
        await node.pull(7)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.guard.run)
            while node.clock.time < START + 5_000:
                await anyio.lowlevel.checkpoint()
            await node.pull(9)
            while node.clock.time < START + 70_000:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        kept = read_index(await node.store.get(INDEX) or b"")
        assert (kept.height, kept.own) == (9, START + 400 * DAY_MS)

    @pytest.mark.parametrize(
        ("now", "height", "block_day", "why"),
        [
            (START + DAY_MS, 6, 1.0, "the ledger stands at 6, and this node has seen 7"),
            (START + DAY_MS, 7, 0.9, "8640 s apart; set the clock first"),
            (START + 11 * DAY_MS, 7, 1.0, "864000 s apart; set the clock first"),
            (START + 20 * DAY_MS - FRESH_MS, 7, 20.0, "is not ahead"),
        ],
    )
    async def test_a_clock_is_mended_by_a_ledger_that_agrees_only(
        self, now: int, height: int, block_day: float, why: str
    ) -> None:
        kept = Index(1, bytes(32), (), (), START + 20 * DAY_MS, START, 7)
        with pytest.raises(Misconfigured, match=why):
            clock_mended(kept, Story().state, now, block(height, block_day))

    @pytest.mark.parametrize(("begins", "lifted"), [(5, False), (5, True), (0, False)])
    async def test_no_clock_is_mended_before_a_halt_that_already_stops_by_it(
        self, story: Story, begins: float, lifted: bool
    ) -> None:
        """A HALT that is dated ahead stops where the clock is ahead: that it begins later is no end of it."""
        halt = story.halt(begins, begins + 2)
        kept, now = Index(1, story.chain, (halt,), (), ms(20), START, 7), block(8, 1)
        if lifted:
            story.lift(begins, halt)
        if begins > 1 and not lifted:
            with pytest.raises(Misconfigured, match=r"from 2027-01-20 07:00:00 UTC on"):
                clock_mended(kept, story.state, now.time, now)
        else:
            assert clock_mended(kept, story.state, now.time, now) == replace(kept, own=now.time)

    @given(data=st.data())
    def test_mending_a_clock_permits_nothing_but_by_the_time_of_blocks(self, data: st.DataObject) -> None:
        """No HALT ends, and no LEASE that has lapsed by the ledger's time is in force again."""
        day = st.integers(0, 40)
        now, end, begin = data.draw(day), data.draw(st.integers(1, 7)), data.draw(day)
        seen, ahead = data.draw(st.integers(0, now)), data.draw(st.integers(1, 400))
        story = Story()
        if data.draw(st.booleans()):
            story.lease(leased := data.draw(day), leased + data.draw(st.integers(1, 30)))
        story.halt(begin, begin + end)
        before, newest = Index(1, story.chain, (), (), ms(now + ahead), ms(seen), 7), block(8, now)
        try:
            after = clock_mended(before, story.state, ms(now), newest)
        except Misconfigured:
            assert begin > now
            return
        assert after == replace(before, own=ms(now))
        then, mended = Clocks(before.own, newest.time), Clocks(after.own, newest.time)
        for x in (subject(), systemic()):
            was, is_now = (verdict(story.state, x, at) for at in (then, mended))
            if isinstance(was, Halted):
                assert isinstance(is_now, Halted)
            if isinstance(is_now, Permitted):
                assert not isinstance(verdict(story.state, x, Clocks(newest.time, newest.time)), Halted | Lapsed)

    async def test_a_halt_ends_when_own_clock_and_block_time_are_past_it(self, node: Node, story: Story) -> None:
        await node.open()
        await node.hear(story.halt(0, 3))
        node.clock.time = START + 4 * DAY_MS
        assert not node.runs()
        await node.guard.at_block(block(2, 2.9), [])
        assert not node.runs()
        await node.guard.at_block(block(3, 3.1), [])
        assert node.runs()

    async def test_a_systemic_model_runs_while_something_is_fresh(self, node: Node, story: Story) -> None:
        await node.open()
        systemic = {"model_class": ModelClass.SYSTEMIC}
        await node.hear(lease := story.lease(0, 10))
        assert not node.runs(**systemic)
        await node.pull(1, lease)
        assert node.runs(**systemic)
        node.clock.time = START + FRESH_MS + 1
        with pytest.raises(ModelHalted) as stale:
            node.guard.permit(subject(**systemic))
        assert stale.value.order == b""
        assert node.runs()
        await node.hear(story.heartbeat(MINUTE))
        assert node.runs(**systemic)
        node.clock.time = START + 2 * FRESH_MS + 1
        assert not node.runs(**systemic)
        await node.guard.at_block(block(2, 2 * MINUTE), [])
        assert node.runs(**systemic)

    async def test_a_verdict_is_asked_once_until_something_changes(
        self, node: Node, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await node.open()
        asked: list[Subject] = []
        real = module.verdict

        def counted(state: object, x: Subject, at: object) -> object:
            asked.append(x)
            return real(state, x, at)  # type: ignore[arg-type]

        monkeypatch.setattr(module, "verdict", counted)
        x = subject(model_class=ModelClass.SYSTEMIC)
        await node.pull(1, story.lease(0, 10))
        for _ in range(100):
            node.guard.permit(x)
        assert len(asked) == 2  # of all that is known, and of what is recorded
        node.clock.time += FRESH_MS  # still fresh, for the last millisecond
        node.guard.permit(x)
        assert len(asked) == 2
        node.clock.time += 1
        with pytest.raises(ModelHalted):
            node.guard.permit(x)
        assert len(asked) == 3


class TestAttestation:
    async def test_it_names_the_order_the_node_and_what_was_served(self, node: Node, story: Story) -> None:
        guard = await node.open()
        guard.serving = (subject(), subject("other"))
        halt = story.halt(0, 3)
        a = open_attestation(await guard.receive(story.given[halt]))
        assert (a.chain, a.order, a.node) == (story.chain, halt, KEYS.public(KeyRole.HOTKEY))
        assert a.head == guard.head != EMPTY_BRAKE_HEAD
        assert a.models == (name("model"),)
        assert (a.received, a.stopped, a.streams) == (START, START, 0)

    async def test_it_is_the_same_however_often_the_order_comes(self, node: Node, story: Story) -> None:
        guard = await node.open()
        halt = story.halt(0, 3)
        first = await guard.receive(story.given[halt])
        node.clock.time += 5_000
        await node.hear(story.halt(0, 1, models("other")))
        assert await guard.receive(story.given[halt]) == first

    async def test_a_drill_is_answered_and_stops_nothing(self, node: Node, story: Story) -> None:
        guard = await node.open()
        guard.serving = (subject(),)
        drill = story.drill(0, 1)
        a = open_attestation(await guard.receive(story.given[drill]))
        assert (a.order, a.models, a.head) == (drill, (name("model"),), EMPTY_BRAKE_HEAD)
        assert node.runs()

    async def test_an_extension_names_what_its_halt_covers(self, node: Node, story: Story) -> None:
        guard = await node.open()
        guard.serving = (subject(),)
        halt = story.halt(0, 3)
        await node.hear(halt)
        a = open_attestation(await guard.receive(story.given[story.extend(1, halt, 3, 6)]))
        assert a.models == (name("model"),)


class TestFloods:
    """Whoever stole a LIFT key once makes rosters of his own, and signs with them whatever he likes."""

    async def test_as_many_rivals_as_are_kept_do_not_keep_the_recorded_roster_out(
        self, node: Node, story: Story
    ) -> None:
        rosters = sorted((Keyholders(1, f"{n}") for n in range(MAX_RIVAL_ROSTERS + 1)), key=lambda k: k.digest)
        *thiefs, honest = rosters
        await node.open()
        await node.hear(*(story.install(0, k, quietly=True) for k in thiefs))
        assert not node.runs()
        install = story.install(0, honest, quietly=True)
        await node.pull(2, install)
        assert node.runs(), "the ledger has told who follows"
        halt = story.halt(0, 3, by=honest, quietly=True)
        await node.hear(halt)
        assert not node.runs()
        await node.restart()
        await node.pull(2, install)
        assert not node.runs()
        assert len(node.guard.state.orders) == MAX_RIVAL_ROSTERS + 1

    def test_the_most_that_a_brake_can_come_to_keep_is_written_and_read(self) -> None:
        installs = MAX_GROUP_EPOCH * MAX_RIVAL_ROSTERS
        most = installs * (1 + MAX_NAMED_ORDERS) + (installs + 2) * 2 * (MAX_BRAKE_ORDERS + 1)

        def size(orders: int) -> int:
            ids = tuple(n.to_bytes(32, "big") for n in range(orders))
            rows = tuple(Recorded(i, 2**63 - 1) for i in ids)
            return len(encode(Index(1, bytes(32), ids, rows, 2**63 - 1, 2**63 - 1, 2**63 - 1)))

        each = (size(2_000) - size(1_000)) // 1_000
        assert size(1_000) + each * most <= MAX_STORED_BYTES, "or a guard could not write what stops"
