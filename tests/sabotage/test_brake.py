"""What stops a market rests on the guard, its routes and its pull at boot: each switched off makes its claim fail.

The claims that hold stand in tests/simulated/test_brake.py, over the same histories.
"""

from __future__ import annotations

import anyio

from davy.sims.adversaries.sabotage import no_boot_pull, no_guard
from tests.simulated.halting import SMALL, Halting, halted, restarted
from tests.simulated.play import play
from tests.simulated.world import World


def test_a_guard_patched_out_goes_on() -> None:
    async def story(world: World) -> list[bool]:
        world.braked = lambda name, brake: no_guard(brake) if name == "miner-2" else brake
        halting = Halting(world)

        async def halt() -> None:
            await halting.deliver(halting.order())
            await anyio.sleep(5)

        await halting.play(halt)
        return [halting.seen[n.name].halted_at is not None for n in world.miners]

    assert play(SMALL, story) == [True, True, False, True]


def test_without_any_route_nothing_stops() -> None:
    told = halted(routes=frozenset())
    assert set(told["halted"].values()) == {None}


def test_without_the_pull_who_was_told_alone_knows() -> None:
    told = halted(routes=frozenset({"fan-out"}), only_first=True)
    assert [at is not None for at in told["halted"].values()] == [True, False, False, False]


def test_without_the_pull_at_boot_a_backup_undoes_a_halt() -> None:
    assert restarted(backup=True, cut=True, change=no_boot_pull)["cut off"] == "permitted"
