"""Each route alone stops every connected node; what was halted stays so. In virtual time, as users see it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from davy.protocol.order import Models
from davy.protocol.receipt import Outcome
from tests.simulated.halting import ATTEMPT_MS, ROUTES, SMALL, SOON_MS, Halting, forever, halted, restarted
from tests.simulated.play import play
from tests.simulated.world import World


def stopped_all(told: dict[str, Any]) -> bool:
    return all(at is not None for at in told["halted"].values()) and told["heads"] == 1


def test_all_routes_together_stop_every_node_and_none_needs_a_third_message() -> None:
    """In virtual time, in which only a message that was lost takes any; how fast real nodes are, `bench/` measures."""
    told = halted()
    assert stopped_all(told)
    assert told["orders"]
    assert max(told["halted"].values()) - told["given"] < 2 * ATTEMPT_MS
    assert told["attested"] == [True] * 4
    assert len(told["answers"]) == 6, "every miner and every validator answers on the ledger"
    assert set(told["outcomes"]) == {Outcome.HALTED}


@pytest.mark.parametrize("route", sorted(ROUTES))
def test_each_route_alone_stops_every_node(route: str) -> None:
    """By pull: one miner was told by hand, and nobody else; the keyholders' route is cut right after."""
    routes = frozenset({route}) if route != "pull" else frozenset({"pull", "fan-out"})
    told = halted(routes=routes, only_first=route == "pull")
    assert stopped_all(told), told
    assert told["orders"]
    assert len(told["answers"]) == (6 if route == "ledger" else 0)


def test_a_partition_that_heals_hears_of_it() -> None:
    async def story(world: World) -> bool:
        halting = Halting(world)

        async def halt() -> None:
            for other in (*world.miners, *world.validators):
                if other.name != "miner-0":
                    world.net.cut("miner-0", other.name)
            world.net.cut("miner-0", "keyholder")
            world.miners[0].client._carry = forever  # type: ignore[assignment] # pyright: ignore[reportPrivateUsage]
            await halting.deliver(halting.order())
            assert halting.seen["miner-0"].halted_at is None
            world.net.heal()
            with anyio.move_on_after(SOON_MS / 1000):
                await halting.until(halting.all_halted)

        await halting.play(halt)
        return halting.all_halted()

    assert play(SMALL, story)


def test_a_halt_reaches_every_node_while_the_ledger_is_down_and_the_ledger_when_it_is_back() -> None:
    """One miner is told by the keyholders; the others hear of it from each other, and hand it in at last."""

    async def story(world: World) -> dict[str, Any]:
        halting = Halting(world)
        told: dict[str, Any] = {}

        async def halt() -> None:
            clients = [node.client for node in (*world.miners, *world.validators)]
            back = anyio.Event()
            for client in clients:
                client._carry = back.wait  # type: ignore[assignment] # pyright: ignore[reportPrivateUsage]
            halting.routes = frozenset({"fan-out", "pull"})
            raw = halting.order()
            await halting.deliver(raw, lambda n: n.name == "miner-0")
            with anyio.move_on_after(SOON_MS / 1000):
                await halting.until(lambda: halting.all_halted() and len(halting.heads()) == 1)
            told["halted"], told["heads"] = halting.all_halted(), len(halting.heads())
            told["orders"] = {w.order for w in halting.seen.values()} == {raw}
            halting.routes = ROUTES
            back.set()
            told["answers"] = len(await halting.answers(raw, blocks=60))

        await halting.play(halt)
        return told

    assert play(SMALL, story) == {"halted": True, "heads": 1, "orders": True, "answers": 6}


def test_one_model_is_halted_and_the_others_serve() -> None:
    async def story(world: World) -> list[bool]:
        halting = Halting(world)

        async def halt() -> None:
            model = world.brakes["miner-1"].guard.serving[0].model
            assert model is not None
            await halting.deliver(halting.order(Models((model.id,), (), ())))
            await anyio.sleep(3)

        await halting.play(halt)
        return [halting.seen[n.name].halted_at is not None for n in world.miners]

    assert play(SMALL, story) == [False, True, False, False]


def test_a_restarted_miner_stays_halted() -> None:
    assert restarted(backup=False, cut=False) == {"cut off": "ModelHalted", "healed": "ModelHalted"}


def test_a_node_restored_from_an_old_backup_serves_nothing_before_it_has_asked() -> None:
    assert restarted(backup=True, cut=True) == {"cut off": "not open", "healed": "ModelHalted"}


def test_a_node_restored_from_an_old_backup_is_halted_again() -> None:
    assert restarted(backup=True, cut=False)["healed"] == "ModelHalted"


def test_the_same_seed_halts_at_the_same_moments() -> None:
    assert halted() == halted()
