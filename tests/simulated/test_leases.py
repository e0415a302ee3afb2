"""A systemic model in a whole network: raised, leased, halted, cut off from the ledger. In virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio

from davy.network.fan_out import Addressee, Spreading, spread
from davy.protocol.encoding import encode
from davy.protocol.errors import Busy, ModelHalted
from davy.protocol.order import GroupKey, Halt, Heartbeat, Lease, Lift, Models, OrderAction, Raise, open_order, order_id
from davy.protocol.transaction import BrakeOrder, Endpoint
from tests.simulated.halting import DAY, SMALL, Halting, forever
from tests.simulated.play import play
from tests.simulated.world import World

PATIENCE_S = 40
NAMES = ("miner-0", "miner-1")
FEW = replace(SMALL, miners=2, validators=1, block_ms=2_000, epochs=30)


class Leasing(Halting):
    """Orders of every kind, on the ledger; and who may serve what it serves."""

    async def record(self, action: OrderAction, days: float = 0.0) -> bytes:
        raw = self.signed(action, days)
        self.world.ledger.take(encode(BrakeOrder(raw)))
        return raw

    def signed(self, action: OrderAction, days: float = 0.0) -> bytes:
        now = self.world.clock.now()
        end = round(now + days * DAY) if days else 0
        return self.keyholders.sign(self.keyholders.order(self.world.ledger.chain, action, now, end))

    def serve(self) -> dict[str, bool]:
        """Whether each miner's guard permits its own model."""
        return {name: self._may(name) for name in NAMES}

    def _may(self, name: str) -> bool:
        guard = self.world.brakes[name].guard
        try:
            for subject in guard.serving:
                guard.permit(subject)
        except (ModelHalted, Busy):
            return False
        return bool(guard.serving)

    async def becomes(self, wanted: Sequence[bool]) -> dict[str, bool]:
        """Wait until so many may serve, and not longer than `PATIENCE_S`; who does."""
        with anyio.move_on_after(PATIENCE_S):
            await self.until(lambda: list(self.serve().values()) == list(wanted))
        return self.serve()

    async def beat(self, name: str) -> list[bool]:
        """A heartbeat of the HALT key straight to one node; whether it was attested."""
        raw, at = self.signed(Heartbeat(bytes(32))), self.world.endpoints[name]
        transport = self.world.net.transport("keyholder", pinned=False)
        to = [Addressee(Endpoint(at.host, at.port, bytes(32), b""))]
        told = await spread([raw], to, transport, self.world.clock, how=Spreading(10_000, 1_000))
        return [t.is_reached for t in told]


def test_raised_leased_halted_lifted_and_leased_again() -> None:
    async def story(world: World) -> dict[str, Any]:
        leasing = Leasing(world)
        told: dict[str, Any] = {}

        async def happen() -> None:
            model = world.brakes["miner-1"].guard.serving[0].model
            assert model is not None
            models = Models((model.id,), (), ())
            await leasing.record(Raise(models))
            told["raised"] = await leasing.becomes([True, False])
            await leasing.until(lambda: leasing.seen["miner-1"].halted_at is not None)
            told["order"] = leasing.seen["miner-1"].order
            await leasing.record(Lease((model.id,)), 30)
            told["leased"] = await leasing.becomes([True] * 2)
            halt = await leasing.record(Halt(models, GroupKey.HALT), 1)
            told["halted"] = await leasing.becomes([True, False])
            await leasing.record(Lift((order_id(open_order(halt)[0].order),)))
            await anyio.sleep(10)
            told["lifted"] = leasing.serve()
            await leasing.record(Lease((model.id,)), 30)
            told["leased again"] = await leasing.becomes([True] * 2)

        await leasing.play(happen)
        return told

    told = play(FEW, story)
    only = {name: name != "miner-1" for name in NAMES}
    assert told["raised"] == only
    assert told["order"] == b"", "no order stops it: a permission is missing"
    assert told["leased"] == dict.fromkeys(NAMES, True)
    assert told["halted"] == only
    assert told["lifted"] == only, "a LIFT alone does not restart a systemic model"
    assert told["leased again"] == dict.fromkeys(NAMES, True)


def test_who_is_cut_off_from_the_ledger_stops_and_a_heartbeat_lets_it_go_on() -> None:
    async def story(world: World) -> dict[str, Any]:
        leasing = Leasing(world)
        told: dict[str, Any] = {}

        async def happen() -> None:
            ids = tuple(sorted(b.guard.serving[0].model.id for b in world.brakes.values() if b.guard.serving))  # type: ignore[union-attr]
            await leasing.record(Raise(Models(ids, (), ())))
            await leasing.becomes([False] * 2)
            await leasing.record(Lease(ids), 30)
            told["leased"] = await leasing.becomes([True] * 2)
            client, at = world.miners[0].client, world.clock.now()
            carry, client._carry = client._carry, forever  # type: ignore[assignment] # pyright: ignore[reportPrivateUsage]
            with anyio.move_on_after(90):
                await leasing.until(lambda: not leasing.serve()["miner-0"])
            told["cut off"], told["after"] = leasing.serve(), world.clock.now() - at
            told["seen"] = world.clock.now() - world.brakes["miner-0"].guard.clocks.seen
            told["attested"] = await leasing.beat("miner-0")
            told["beaten"] = leasing.serve()
            await anyio.sleep(62)
            told["a minute later"] = leasing.serve()
            client._carry = carry  # pyright: ignore[reportPrivateUsage]

        await leasing.play(happen)
        return told

    told = play(FEW, story)
    others = {name: name != "miner-0" for name in NAMES}
    assert told["leased"] == dict.fromkeys(NAMES, True)
    assert told["cut off"] == others
    assert 55_000 < told["after"] < 65_000
    assert told["seen"] > 60_000, "as it says of itself"
    assert told["attested"] == [True]
    assert told["beaten"] == dict.fromkeys(NAMES, True)
    assert told["a minute later"] == others
