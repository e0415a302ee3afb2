"""Never twice: within the window, under jumps of the clock, when memory is full, across restarts and full disks."""

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from davy.network.freshness import MARK_LEAD_S, Freshness, RetryFresh
from davy.protocol.errors import Expired, Refused, Replayed, StoreFailed
from davy.protocol.limits import REQUEST_WINDOW_MS
from tests.twins import MemoryStore, SetClock

pytestmark = pytest.mark.anyio
ALICE, BOB = b"a" * 32, b"b" * 32
T = 1_800_000_000


async def opened(clock: SetClock, store: MemoryStore | None = None, capacity: int = 1_000) -> Freshness:
    f = Freshness(clock, store or MemoryStore(), capacity=capacity)
    await f.open()
    return f


def nonce(i: int) -> bytes:
    return i.to_bytes(16)


@pytest.mark.parametrize(
    ("at_ms", "fresh"),
    [
        (T * 1000 - REQUEST_WINDOW_MS - 1, False),
        (T * 1000 - REQUEST_WINDOW_MS, True),
        (T * 1000, True),
        (T * 1000 + 999 + REQUEST_WINDOW_MS, True),
        (T * 1000 + 999 + REQUEST_WINDOW_MS + 1, False),
    ],
)
async def test_the_window_to_the_millisecond(at_ms: int, fresh: bool) -> None:
    """`created` is a whole second; a request is stale when the whole of it is."""
    f = await opened(SetClock(at_ms))
    if fresh:
        await f.accept(ALICE, nonce(0), T)
    else:
        with pytest.raises(Expired, match="check your clock"):
            await f.accept(ALICE, nonce(0), T)


async def test_a_nonce_is_remembered_as_long_as_it_could_be_fresh() -> None:
    clock = SetClock(T * 1000 - REQUEST_WINDOW_MS)
    f = await opened(clock)
    await f.accept(ALICE, nonce(0), T)
    for now in range(clock.time, T * 1000 + 999 + REQUEST_WINDOW_MS + 1, 500):
        clock.time = now
        with pytest.raises(Replayed):
            await f.accept(ALICE, nonce(0), T)


async def test_full_means_refused_not_forgotten() -> None:
    clock = SetClock(T * 1000)
    f = await opened(clock, capacity=3)
    for i in range(3):
        await f.accept(ALICE, nonce(i), T)
    with pytest.raises(RetryFresh) as full:
        await f.accept(BOB, nonce(9), T)
    for i in range(3):
        with pytest.raises(Replayed):
            await f.accept(ALICE, nonce(i), T)
    clock.time += full.value.wait_ms - 1
    with pytest.raises(RetryFresh):
        await f.accept(BOB, nonce(9), clock.time // 1000)
    clock.time += 1
    await f.accept(BOB, nonce(9), clock.time // 1000)
    with pytest.raises(Refused):
        await f.accept(ALICE, nonce(0), T)


async def test_a_clock_set_back_opens_no_window() -> None:
    """What was forgotten while the clock was ahead stays refused when it is right again."""
    clock = SetClock(T * 1000)
    f = await opened(clock)
    await f.accept(ALICE, nonce(0), T)
    clock.time += 3_600_000
    await f.accept(BOB, nonce(0), clock.time // 1000)
    clock.time = T * 1000
    with pytest.raises(RetryFresh):
        await f.accept(ALICE, nonce(0), T)


async def test_a_restart_costs_as_little_as_promised() -> None:
    clock, store = SetClock(T * 1000), MemoryStore()
    f = await opened(clock, store)
    await f.accept(ALICE, nonce(0), T)
    f = await opened(clock, store.copy())
    with pytest.raises(RetryFresh) as refused:
        await f.accept(BOB, nonce(0), T)
    assert refused.value.wait_ms == (MARK_LEAD_S + 1) * 1000
    clock.time += refused.value.wait_ms
    await f.accept(BOB, nonce(0), clock.time // 1000)


async def test_not_every_request_waits_for_the_disk() -> None:
    clock, store = SetClock(T * 1000), MemoryStore()
    f = await opened(clock, store)
    for i in range(1_000):
        clock.time = T * 1000 + i * 10
        await f.accept(ALICE, nonce(i), clock.time // 1000)
    assert store.puts == 4  # seconds 0, 3, 6 and 9


async def test_nothing_is_accepted_that_a_full_disk_would_let_in_again() -> None:
    clock, store = SetClock(T * 1000), MemoryStore()
    f = await opened(clock, store)
    store.full = True
    with pytest.raises(StoreFailed):
        await f.accept(ALICE, nonce(0), T)
    store.full = False
    await f.accept(ALICE, nonce(1), T)


async def test_one_of_many_at_once() -> None:
    """The same request, twenty times while the disk is slow: accepted once."""

    class SlowStore(MemoryStore):
        async def put(self, key: bytes, value: bytes) -> None:
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            await super().put(key, value)

    f = await opened(SetClock(T * 1000), SlowStore())
    accepted: list[int] = []

    async def attempt(i: int) -> None:
        try:
            await f.accept(ALICE, nonce(0), T)
        except Replayed:
            return
        accepted.append(i)

    async with anyio.create_task_group() as tasks:
        for i in range(20):
            tasks.start_soon(attempt, i)
    assert len(accepted) == 1


async def test_nothing_is_accepted_before_its_mark_is_durable() -> None:
    """Killed in the middle of the put: the request had not been accepted, whatever the disk then holds."""
    store = MemoryStore()

    class NeverReturns(MemoryStore):
        async def put(self, key: bytes, value: bytes) -> None:
            await anyio.sleep_forever()

    f = await opened(SetClock(T * 1000), NeverReturns(store.values))
    with anyio.move_on_after(0.02) as scope:
        await f.accept(ALICE, nonce(0), T)
    assert scope.cancelled_caught


async def test_a_damaged_mark_stops_the_node() -> None:
    store = MemoryStore()
    f = await opened(SetClock(T * 1000), store)
    await f.accept(ALICE, nonce(0), T)
    (key,) = store.values
    store.values[key] = b"short"
    with pytest.raises(StoreFailed, match="backup"):
        await opened(SetClock(T * 1000), store)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("clock"), st.integers(-40_000, 40_000)),
        st.tuples(st.just("clock"), st.integers(0, 2_000)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("send"), st.integers(-12, 12)),
        st.tuples(st.just("replay"), st.integers(0, 3)),
    ),
    max_size=40,
)


@settings(max_examples=500)
@given(STEPS)
@example([("send", 9), ("clock", 20_000), ("send", 0), ("clock", -20_000), ("replay", 0)])
@example([("send", 9), ("restart", 0), ("clock", 5_000), ("replay", 0)])
async def test_never_twice_under_any_history(steps: list[tuple[str, int]]) -> None:
    clock, store = SetClock(T * 1000), MemoryStore()
    f = await opened(clock, store, capacity=8)
    sent: list[tuple[bytes, int]] = []
    accepted: set[bytes] = set()
    for step, n in steps:
        if step == "clock":
            clock.time += n
        elif step == "restart":
            store = store.copy()
            f = await opened(clock, store, capacity=8)
        else:
            if step == "send":
                sent.append((nonce(len(sent)), clock.time // 1000 + n))
            elif not sent:
                continue
            one, created = sent[-1] if step == "send" else sent[-1 - n % len(sent)]
            try:
                await f.accept(ALICE, one, created)
            except Refused:
                continue
            assert one not in accepted
            accepted.add(one)
