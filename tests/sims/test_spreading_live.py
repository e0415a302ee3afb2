"""The model of a halt on its way beside the nodes' own code, on the same graph and under the same silence."""

from __future__ import annotations

from random import Random

import anyio
import numpy as np
import pytest
from trio.testing import MockClock

from davy.network.brake_peers import ROUND_MS, BrakePeers
from davy.sims import study
from davy.sims.beyond.graphs import Graph, graph
from davy.sims.beyond.spreading import Spread, TimeToStop
from davy.sims.noise import Purpose, Stream
from tests.network.conftest import Answering
from tests.network.test_brake_spread import Hall, Node, nothing
from tests.twins import MemoryStore, SeededEntropy

pytestmark = pytest.mark.anyio
NODES, SEEDS = 24, range(6)
MUTE = frozenset({3, 8, 9, 15, 20})


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def live(known: Graph, seed: int) -> list[int]:
    """Milliseconds from the order until each honest node had it."""
    hall, rng = Hall(NODES, loss=0.01), Random(seed)
    since: dict[int, int] = {}
    began = 0

    async def node_runs(n: int, node: Node) -> None:
        peers = BrakePeers(node.guard, node.transport, hall.clock, SeededEntropy(seed * 100 + n), MemoryStore())
        await peers.know([(hall.nodes[other].endpoint, hall.nodes[other].hotkey) for other in known[n]])
        await anyio.sleep(rng.uniform(0, ROUND_MS / 1_000))
        await peers.run()

    async def watched(n: int, node: Node) -> None:
        while not node.is_halted():
            await node.guard.change()
        since[n] = hall.clock.now() - began

    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as watching:
            for n, node in enumerate(hall.nodes):
                if n in MUTE:
                    hall.net.serve(node.endpoint, Answering(nothing))
                else:
                    tasks.start_soon(node_runs, n, node)
                    watching.start_soon(watched, n, node)
            await anyio.sleep(2 * ROUND_MS / 1_000)
            began = hall.clock.now()
            await hall.nodes[0].guard.receive_all([hall.story.given[hall.story.halt(0, 3)]])
        tasks.cancel_scope.cancel()
    return sorted(since.values())


def modelled(known: Graph, seed: int) -> list[int]:
    s = study("time-to-stop").having({"nodes": NODES, "delay_ms": 42.0})
    assert isinstance(s, TimeToStop)
    spread = Spread(s, known, MUTE, Stream(seed, 0, Purpose.SPREAD))
    spread.begin([0])
    spread.to_the_end()
    first = min(t for t in spread.since if t >= 0)  # what the keyholders' own message took is not the nodes'
    return sorted((t - first) // 1_000 for n, t in enumerate(spread.since) if n not in MUTE)


async def test_the_nodes_own_code_takes_as_long() -> None:
    known = graph("ring", NODES, 4, Stream(1, 0, Purpose.SPREAD))
    ours = np.array([modelled(known, seed) for seed in range(200)])
    theirs = np.array([await live(known, seed) for seed in SEEDS])
    assert theirs.shape == (len(SEEDS), NODES - len(MUTE))
    for part in (0.5, 1.0):
        at = round(part * (theirs.shape[1] - 1))
        low, middle, high = np.quantile(ours[:, at], [0.1, 0.5, 0.9])
        measured = float(np.median(theirs[:, at]))
        assert low < measured < high, (part, measured, middle)
