"""Each claim rests on a cause: with it the claim holds, with it switched off the same claim fails. In virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from davy.miners.server import MinerHandler
from davy.network.receipts import RECEIPT_HEADER
from davy.protocol.ports import Handler, Response, SignedRequest, StreamReply
from davy.sims.adversaries import sabotage
from davy.sims.adversaries.copy_weights import CopyWeights
from davy.validators.examiner import Means
from tests.simulated.play import play, whole
from tests.simulated.world import NETUID, Node, Setting, World


def unchanged(means: Means) -> Means:
    return means


@pytest.mark.parametrize(("change", "holds"), [(unchanged, True), (sabotage.constant_scorer, False)])
def test_ignorance_earns_nothing(change: Any, holds: bool) -> None:
    async def story(world: World) -> Any:
        world.changed = change
        return await whole(world)

    told = play(Setting(seed=3, miners=8, challenges=16, knowledge=(0.0,) * 4 + (1.0,) * 4), story)
    paid = [told["miners"][f"miner-{i}"] for i in range(8)]
    assert (sum(paid[:4]) <= 0.05 * sum(paid[4:])) == holds
    assert sum(paid[4:]) > 0


class NoReceipts:
    """Answers well and signs for nothing."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        answer = await self._handler.handle(request)
        assert isinstance(answer, Response)
        return answer._replace(headers=tuple(h for h in answer.headers if h[0] != RECEIPT_HEADER))


@pytest.mark.parametrize(("change", "holds"), [(unchanged, True), (sabotage.receipts_unchecked, False)])
def test_who_signs_for_nothing_earns_nothing(change: Any, holds: bool) -> None:
    def wrapped(name: str, handler: Handler) -> Handler:
        assert isinstance(handler, MinerHandler)
        return NoReceipts(handler) if name == "miner-0" else handler

    async def story(world: World) -> Any:
        world.changed, world.wrapped = change, wrapped
        return await whole(world)

    told = play(Setting(seed=4, miners=4, challenges=16, knowledge=(1.0,) * 4), story)
    assert (told["miners"]["miner-0"] == 0) == holds
    assert told["miners"]["miner-1"] > 0


@pytest.mark.parametrize(("change", "holds"), [(unchanged, True), (sabotage.no_persistence, False)])
def test_a_crash_costs_a_validator_no_standing(change: Any, holds: bool) -> None:
    async def story(world: World) -> tuple[int, int]:
        world.changed = change
        node = world.validators[0]
        counts: list[int] = []

        async def crash() -> None:
            while (await world.metagraph()).subnet.epoch < 5:
                await world.ledger.next_block()
            counts.append(_answers(world, node))
            world.crash(node)
            await world.start_validator(node)
            await world.examiners[node.name].standings[NETUID].open()
            counts.append(_answers(world, node))

        await world.run(crash)
        return counts[0], counts[1]

    before, after = play(Setting(seed=5, miners=4), story)
    assert before > 0
    assert (after >= before) == holds


def _answers(world: World, node: Node) -> int:
    standings = world.examiners[node.name].standings[NETUID]
    return sum(standing.count for rounds in standings._seats.values() for standing in rounds)


def copiers_ratio(seed: int, commit_reveal: int) -> float:
    """Dividends of a weight copier ÷ those of an honest validator, after four miners learned everything in mid-run."""

    async def story(world: World) -> float:
        world.sources["validator-2"] = lambda world, node: CopyWeights(node.client, node.keys)

        async def swap() -> None:
            while (await world.metagraph()).subnet.epoch < 6:
                await world.ledger.next_block()
            for i, node in enumerate(world.miners):
                world.backends[node.name].learn(1.0 if i < 4 else 0.0)

        records = await world.run(swap)
        graph = await world.metagraph()
        uid = {n.name: next(g.uid for g in graph.neurons if g.hotkey == n.hotkey) for n in world.validators}
        paid = {name: sum(r.validators[u] for r in records if r.epoch >= 7) for name, u in uid.items()}
        return paid["validator-2"] / ((paid["validator-0"] + paid["validator-1"]) / 2)

    knowledge = (0.0,) * 4 + (1.0,) * 4
    setting = Setting(
        seed=seed, miners=8, challenges=24, epochs=11, loss=0.0, knowledge=knowledge, commit_reveal=commit_reveal
    )
    return float(play(setting, story))


@pytest.mark.parametrize(("commit_reveal", "holds"), [(1, True), (0, False)])
def test_copied_weights_earn_less_while_they_are_sealed(commit_reveal: int, holds: bool) -> None:
    assert (copiers_ratio(6, commit_reveal) < copiers_ratio(6, 0) - 0.05) == holds
