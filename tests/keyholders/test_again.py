"""Orders are released once more by who hears of them, and whoever tells many keeps no HALT from leaving."""

from __future__ import annotations

import anyio
import pytest

from davy.keyholders.again import AT_ONCE, WAITING, Again
from davy.keyholders.messages import Finished
from davy.protocol.encoding import encode
from davy.protocol.errors import Misconfigured
from davy.protocol.limits import DAY_MS, LEASE_GRACE_MS, MAX_BRAKE_ORDERS, SIGNER_SKEW_MS
from davy.protocol.order import (
    Drill,
    Extend,
    Global,
    GroupKey,
    Halt,
    Heartbeat,
    Lease,
    OrderAction,
    Raise,
    VerifiedOrder,
    order_id,
)
from tests.keyholders.stage import CHAIN, Stage
from tests.killswitch.story import models
from tests.twins.keyholders import Keyholders

pytestmark = pytest.mark.anyio
HOLDERS = Keyholders()
NOW = 1_800_000_000_000
HALT = Halt(Global(), GroupKey.HALT)


def whole(action: OrderAction, issued: int = NOW, end: int = 0) -> VerifiedOrder:
    order = HOLDERS.order(CHAIN, action, issued, end)
    return VerifiedOrder(order_id(encode(order)), HOLDERS.sign(order), order)


class Routes:
    """Where orders leave; nothing comes back until `opened`."""

    def __init__(self) -> None:
        self.left: list[VerifiedOrder] = []
        self.done: list[VerifiedOrder] = []
        self.opened = anyio.Event()
        self.under_way = self.most = 0

    async def release(self, order: VerifiedOrder) -> None:
        self.left.append(order)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.opened.wait()
            self.done.append(order)
        finally:
            self.under_way -= 1


@pytest.mark.parametrize("action", [HALT, Extend(bytes(32), NOW), Raise(models("model"))])
async def test_a_thousand_others_that_hang_keep_no_stop_waiting(
    action: OrderAction, caplog: pytest.LogCaptureFixture
) -> None:
    routes = Routes()
    again = Again(routes.release)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(again.run)
        for n in range(1_000):
            again.put(whole(Heartbeat(bytes(32)), NOW + n))
            if n == AT_ONCE:
                await anyio.wait_all_tasks_blocked()
        await anyio.wait_all_tasks_blocked()
        assert len(routes.left) == routes.most == AT_ONCE
        stop = whole(action, NOW, NOW + DAY_MS)
        again.put(stop)
        await anyio.wait_all_tasks_blocked()
        assert routes.left[-1] == stop
        routes.opened.set()
        await anyio.wait_all_tasks_blocked()
        assert len(routes.left) == AT_ONCE + 1 + WAITING, "of those that waited the last, and no more"
        assert {v.order.issued for v in routes.left} >= {NOW + n for n in range(1_000 - WAITING, 1_000)}
        assert len(caplog.messages) == 1, "which is told, and not a thousand times"
        tasks.cancel_scope.cancel()


async def test_of_stops_the_newest_goes_first_and_as_many_wait_as_a_roster_can_sign() -> None:
    routes = Routes()
    again = Again(routes.release)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(again.run)
        for n in range(AT_ONCE + MAX_BRAKE_ORDERS):
            again.put(whole(HALT, NOW + n, NOW + DAY_MS))
            await anyio.wait_all_tasks_blocked() if n < AT_ONCE else None
        await anyio.wait_all_tasks_blocked()
        routes.opened.set()
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    newest = AT_ONCE + MAX_BRAKE_ORDERS - 1
    issued = [v.order.issued - NOW for v in routes.left]
    expected = [*range(AT_ONCE), *range(newest, -1, -1)]
    assert sorted(issued[:AT_ONCE]) == expected[:AT_ONCE]
    assert sorted(issued[AT_ONCE : 2 * AT_ONCE]) == sorted(expected[AT_ONCE : 2 * AT_ONCE])
    assert sorted(issued[AT_ONCE:]) == sorted(expected[AT_ONCE:])
    assert all(abs(is_ - due) < 2 * AT_ONCE for is_, due in zip(issued[AT_ONCE:], expected[AT_ONCE:], strict=True))


async def test_the_newest_stop_waits_for_no_older_one_that_hangs_and_none_is_lost_by_it() -> None:
    routes = Routes()
    again = Again(routes.release)
    stops = [whole(HALT, NOW + n, NOW + DAY_MS) for n in range(3 * AT_ONCE)]
    before = whole(HALT, NOW - 1, NOW + DAY_MS)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(again.run)
        for stop in stops:
            again.put(stop)
            await anyio.wait_all_tasks_blocked()
            assert routes.left[-1] == stop
        again.put(before)
        await anyio.wait_all_tasks_blocked()
        assert before not in routes.left, "an older one waits"
        assert routes.under_way == AT_ONCE
        routes.opened.set()
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert len(routes.done) == len(stops) + 1
    assert {v.id for v in routes.done} == {v.id for v in (before, *stops)}


@pytest.mark.parametrize("error", [Misconfigured("there is no route"), BrokenPipeError("there is no route")])
async def test_one_that_cannot_leave_ends_nothing(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    left: list[VerifiedOrder] = []

    async def release(order: VerifiedOrder) -> None:
        if isinstance(order.order.action, Drill):
            raise error
        left.append(order)

    again = Again(release)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(again.run)
        for _ in range(AT_ONCE + 1):
            again.put(whole(Drill(Global()), NOW, NOW + DAY_MS))
        again.put(whole(Heartbeat(bytes(32))))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert len(left) == 1
    assert "was not released again" in caplog.text
    assert "there is no route" in caplog.text


async def noted(*orders: VerifiedOrder, at: int = NOW) -> list[VerifiedOrder]:
    """What a keyholder releases again of what it is told, in this sequence."""
    stage = await Stage().start()
    stage.roster = HOLDERS.roster
    await stage.clock.sleep_until(at)
    bob = stage.people[1]
    for order in orders:
        await bob.signer.answer(stage.people[0].key, Finished(order.raw))
    return bob.finished


async def test_each_leaves_once_however_much_is_told_between() -> None:
    stops = [whole(HALT, NOW + n, NOW + DAY_MS) for n in range(3)]
    many = [whole(Heartbeat(bytes(32)), NOW + n) for n in range(2 * MAX_BRAKE_ORDERS + 1)]
    assert await noted(*stops, *many, *stops) == [*stops, *many]


@pytest.mark.parametrize(
    ("action", "end", "over"),
    [
        (Heartbeat(bytes(32)), 0, NOW + SIGNER_SKEW_MS + 1),
        (Drill(Global()), NOW + DAY_MS, NOW + DAY_MS),
        (Lease((bytes(32),)), NOW + DAY_MS, NOW + DAY_MS + LEASE_GRACE_MS),
    ],
)
async def test_what_is_over_does_not_leave_again(action: OrderAction, end: int, over: int) -> None:
    order = whole(action, NOW, end)
    assert await noted(order, at=over - 1) == [order]
    assert await noted(order, at=over) == []


async def test_a_stop_leaves_whatever_its_age() -> None:
    order = whole(HALT, NOW, NOW + DAY_MS)
    assert await noted(order, at=NOW + 400 * DAY_MS) == [order], "of a systemic model it does not end"
