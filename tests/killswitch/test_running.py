"""What lasts, under the guard, on both event loops: a halt is never taken for a normal end, nor a cancellation for one.

PEP 789 names the traps: a cancel scope around a ``yield`` cancels whoever happens to run then.
"""

# ruff: noqa: PT012 - what is under test is the whole context
from __future__ import annotations

import threading
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import pytest
from trio.testing import MockClock

from davy.killswitch.scope import Subject
from davy.protocol.attestation import open_attestation
from davy.protocol.errors import ModelHalted
from davy.protocol.limits import DAY_MS
from davy.protocol.manifest import ModelClass
from tests.killswitch.guarded import Node, block
from tests.killswitch.story import START, Story, facts, models, subject
from tests.twins import LoopClock

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio", "trio in virtual time"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    if request.param == "trio in virtual time":
        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return request.param


async def test_it_is_refused_at_the_door(node: Node, story: Story) -> None:
    guard = await node.open()
    await node.hear(story.halt(0, 3))
    with pytest.raises(ModelHalted):
        async with guard.running(subject()):
            pytest.fail("it was let in")


async def test_a_halt_ends_what_waits(node: Node, story: Story) -> None:
    guard = await node.open()
    halt = story.halt(0, 3)
    begun = anyio.Event()
    told: list[bytes] = []

    async def serve() -> None:
        with pytest.raises(ModelHalted) as stopped:
            async with guard.running(subject()):
                begun.set()
                await anyio.sleep_forever()
        told.append(stopped.value.order)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        await begun.wait()
        a = open_attestation(await guard.receive(story.given[halt]))
        assert a.streams == 1
    assert told == [story.given[halt]]


@pytest.mark.parametrize("what", ["as it began", "as it is now", "made systemic", "no more known"])
async def test_what_changes_under_way_is_stopped_by_what_it_was_and_by_what_it_is(
    node: Node, story: Story, what: str
) -> None:
    """A registrant may register another model, or raise the class, while an answer lasts."""
    guard = await node.open()
    was, now = subject(), subject(siblings=(facts("sibling"),))
    current: list[tuple[Subject, ...]] = [(was,)]
    begun = anyio.Event()

    async def serve() -> None:
        with pytest.raises(ModelHalted):
            async with guard.running(was, now=lambda: current[0]):
                begun.set()
                await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        await begun.wait()
        current[0] = () if what == "no more known" else (now,)
        await guard.at_block(block(2), [])
        if what == "made systemic":
            current[0] = (subject(model_class=ModelClass.SYSTEMIC),)
            await guard.at_block(block(3), [])
        else:
            target = models("sibling") if what == "as it is now" else models("model")
            a = open_attestation(await guard.receive(story.given[story.halt(0, 3, target)]))
            assert a.streams == 1


async def test_a_halt_while_a_generator_is_at_its_yield(node: Node, story: Story) -> None:
    """The pump holds a token and waits for its client: it is the pump that ends, and the generator is closed."""
    guard = await node.open()
    halt = story.halt(0, 3)
    closed = False
    sent: list[int] = []
    sending = anyio.Event()

    async def tokens() -> AsyncIterator[int]:
        nonlocal closed
        try:
            for n in range(10):
                yield n
        finally:
            closed = True

    async def send(n: int) -> None:
        if n == 3:
            sending.set()
            await anyio.sleep_forever()
        sent.append(n)

    async def pump() -> None:
        with pytest.raises(ModelHalted):
            async with guard.running(subject()):
                items = tokens()
                try:
                    async for n in items:
                        await send(n)
                finally:
                    await items.aclose()  # type: ignore[attr-defined]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pump)
        await sending.wait()
        await guard.receive(story.given[halt])
        assert closed
    assert sent == [0, 1, 2]
    await anyio.lowlevel.checkpoint()  # nothing was left cancelled


async def test_a_backend_that_ends_early_because_it_was_told_to_has_not_ended_normally(
    node: Node, story: Story
) -> None:
    guard = await node.open()
    made: list[int] = []
    with pytest.raises(ModelHalted):
        async with guard.running(subject()) as run:
            await node.hear(story.halt(0, 3))
            while not run.stopped():
                made.append(0)
    assert made == []
    await anyio.lowlevel.checkpoint()


async def test_a_halt_that_meets_the_end_of_the_work(node: Node, story: Story) -> None:
    """No checkpoint is left inside: nothing could be cancelled, and nothing may leak out of the scope."""
    guard = await node.open()
    with pytest.raises(ModelHalted):
        async with guard.running(subject()):
            with anyio.CancelScope(shield=True):
                await node.hear(story.halt(0, 3))
    for _ in range(3):
        await anyio.lowlevel.checkpoint()


async def test_work_that_ended_before_the_halt_ended_normally(node: Node, story: Story) -> None:
    guard = await node.open()
    async with guard.running(subject()) as run:
        await anyio.lowlevel.checkpoint()
    await node.hear(story.halt(0, 3))
    assert open_attestation(await guard.receive(story.given[story.halt(0, 4)])).streams == 0
    assert run.ended.is_set()


async def test_a_cancellation_from_outside_is_no_halt(node: Node) -> None:
    guard = await node.open()
    reached = False
    with anyio.CancelScope() as outside:
        async with guard.running(subject()):
            outside.cancel()
            await anyio.sleep_forever()
        reached = True
    assert outside.cancelled_caught
    assert not reached


async def test_and_stays_one_when_a_halt_comes_with_it(node: Node, story: Story) -> None:
    guard = await node.open()
    with anyio.CancelScope() as outside:
        async with guard.running(subject()):
            with anyio.CancelScope(shield=True):
                await node.hear(story.halt(0, 3))
            outside.cancel()
            await anyio.sleep_forever()
    assert outside.cancelled_caught


async def test_a_timeout_inside_is_no_halt(node: Node) -> None:
    guard = await node.open()
    async with guard.running(subject()):
        with anyio.move_on_after(0.01) as limit:
            await anyio.sleep_forever()
        assert limit.cancelled_caught


async def test_a_failure_keeps_its_name(node: Node) -> None:
    guard = await node.open()
    with pytest.raises(ZeroDivisionError):
        async with guard.running(subject()):
            raise ZeroDivisionError


async def test_a_failure_that_a_halt_caused_is_a_halt(node: Node, story: Story) -> None:
    guard = await node.open()
    with pytest.raises(ModelHalted) as stopped:
        async with guard.running(subject()):
            with anyio.CancelScope(shield=True):
                await node.hear(story.halt(0, 3))
            raise ConnectionError("the backend was closed")
    assert isinstance(stopped.value.__cause__, ConnectionError)


async def test_nested_each_is_halted_for_its_own_subject(node: Node, story: Story) -> None:
    guard = await node.open()
    inner = story.halt(0, 3, models("inner"))
    seen: list[str] = []
    async with guard.running(subject("outer")) as outside:
        with pytest.raises(ModelHalted):
            async with guard.running(subject("inner")):
                with anyio.CancelScope(shield=True):
                    await node.hear(inner)
                await anyio.sleep_forever()
        seen.append("inner")
        await anyio.lowlevel.checkpoint()
        assert not outside.stopped()
    assert seen == ["inner"]


async def test_nested_the_outer_halt_ends_both(node: Node, story: Story) -> None:
    guard = await node.open()
    outer = story.halt(0, 3, models("outer"))
    after_inner = False
    with pytest.raises(ModelHalted) as stopped:
        async with guard.running(subject("outer")):
            async with guard.running(subject("inner")):
                with anyio.CancelScope(shield=True):
                    await node.hear(outer)
                await anyio.sleep_forever()
            after_inner = True
    assert stopped.value.order == story.given[outer]
    assert not after_inner


async def test_tasks_inside_end_with_it(node: Node, story: Story) -> None:
    guard = await node.open()
    ended: list[int] = []

    async def child(n: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(n)

    with pytest.raises(ModelHalted):
        async with guard.running(subject()), anyio.create_task_group() as tasks:
            for n in range(3):
                tasks.start_soon(child, n)
            await anyio.lowlevel.checkpoint()
            with anyio.CancelScope(shield=True):
                await node.hear(story.halt(0, 3))
    assert sorted(ended) == [0, 1, 2]


async def test_a_thread_is_told_before_its_next_token(node: Node, story: Story) -> None:
    guard = await node.open()
    halt = story.halt(0, 3)
    made: list[int] = []
    first = anyio.Event()
    go_on = threading.Event()
    token = anyio.lowlevel.current_token()

    def generate(run: object) -> None:
        while not run.stopped():  # type: ignore[attr-defined]
            made.append(0)
            anyio.from_thread.run_sync(first.set, token=token)
            assert go_on.wait(10)

    async def serve() -> None:
        with pytest.raises(ModelHalted):
            async with guard.running(subject()) as run:
                await anyio.to_thread.run_sync(generate, run)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        await first.wait()
        await node.hear(halt)
        go_on.set()
        assert open_attestation(await guard.attestation(guard.state.orders[halt])).streams == 1
    assert made == [0]


async def test_the_attestation_says_when_the_last_one_ended(node: Node, story: Story) -> None:
    guard = await node.open()
    halt = story.halt(0, 3)
    begun = [anyio.Event(), anyio.Event()]
    release = anyio.Event()

    async def stubborn(n: int) -> None:
        with pytest.raises(ModelHalted):
            async with guard.running(subject()):
                begun[n].set()
                with anyio.CancelScope(shield=n == 1):
                    await release.wait()

    answers: list[bytes] = []

    async def receive() -> None:
        answers.append(await guard.receive(story.given[halt]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stubborn, 0)
        tasks.start_soon(stubborn, 1)
        for event in begun:
            await event.wait()
        tasks.start_soon(receive)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        assert answers == []
        node.clock.time += 700
        release.set()
    a = open_attestation(answers[0])
    assert (a.received, a.stopped, a.streams) == (START, START + 700, 2)


async def test_what_ends_by_time_alone_is_noticed(story: Story) -> None:
    """A LEASE runs out while an answer waits for its client: nobody asks `stopped`, the guard's own task does."""
    node = Node(story)
    node.clock = LoopClock(START - int(anyio.current_time() * 1000))  # type: ignore[assignment]
    node.guard = node._guard()  # pyright: ignore[reportPrivateUsage]
    guard = await node.open()
    await node.pull(2, story.lease(-5, -3 + 500 / DAY_MS))  # lapses, with its grace of three days, in half a second
    x = subject(model_class=ModelClass.SYSTEMIC)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(guard.run)
        with pytest.raises(ModelHalted, match="LEASE"):
            async with guard.running(x):
                await anyio.sleep_forever()
        tasks.cancel_scope.cancel()
