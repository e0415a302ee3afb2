"""Who is most urgent gets the next place, and no place is lost by who gives up waiting."""

from __future__ import annotations

import anyio
import pytest

from davy.network.room import Rank, Room

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("places", [1, 3])
async def test_the_most_urgent_comes_next_and_no_more_than_there_are_places(places: int) -> None:
    room, got, done = Room(places), list[Rank](), anyio.Event()
    inside = most = 0

    async def one(rank: Rank) -> None:
        nonlocal inside, most
        async with room.place(rank):
            got.append(rank)
            inside += 1
            most = max(most, inside)
            await done.wait()
            inside -= 1

    first = [(1, n) for n in range(places)]
    async with anyio.create_task_group() as tasks:
        for rank in [*first, (1, 11), (1, 15), (0, 9), (1, 13), (0, 2)]:
            tasks.start_soon(one, rank)
            await anyio.wait_all_tasks_blocked()
        assert got == first
        done.set()
    assert most == places
    assert set(got[places : 2 * places]) == set([(0, 2), (0, 9), (1, 11)][:places])
    if places == 1:
        assert got[1:] == [(0, 2), (0, 9), (1, 11), (1, 13), (1, 15)]


@pytest.mark.parametrize("is_called", [False, True])
async def test_who_gives_up_takes_no_place_with_it(is_called: bool) -> None:
    room = Room(1)

    async def one() -> None:
        async with room.place((0, 1)):
            await anyio.sleep_forever()

    await room.take((0, 0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        if is_called:
            room.leave()
        tasks.cancel_scope.cancel()
    if not is_called:
        room.leave()
    with anyio.fail_after(1):
        await room.take((0, 2))
    with anyio.move_on_after(0.01) as waited:
        await room.take((0, 3))
    assert waited.cancelled_caught, "there is one place still"
