"""How long an order takes from one node to nineteen others by libp2p alone, with a real gossip process for each.

Guards and routes are tasks of this process, so what is measured is the way over two pipes and Noise, and on loopback
the machine rather than the network: the load beside it says how busy that was. 20 processes at most.

    python -m bench.gossip [--nodes 20] [--orders 30]
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from davy.network.gossip.joining import is_installed
from tests.killswitch.story import MINUTE, Story, models
from tests.network.gossip.peers import Node

MOST = 20
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def heard(node: Node, order: bytes, at: dict[int, float], number: int) -> None:
    while not any(v.raw == order for v in node.guard.state.orders.values()):
        await node.guard.change()
    at[number] = time.perf_counter()


async def measure(count: int, orders: int) -> None:
    story = Story()
    nodes = [Node(story, n) for n in range(count)]
    rng = random.Random(1)
    took: list[float] = []
    last: list[float] = []
    busy = own = wall = start = 0.0
    async with anyio.create_task_group() as tasks:
        for node in nodes:  # one after the other: each loads its packages for seconds
            tasks.start_soon(node.route.run)
            await node.up()
        for node in nodes:
            node.route.meet([other.met for other in nodes if other is not node])
        for node in nodes:
            await node.until(lambda node=node: node.links >= min(count - 1, 8))
        pids = [pid for node in nodes if (pid := node.route.pid) is not None]
        begun, busy, own = time.perf_counter(), sum(map(cpu_s, pids)), time.process_time()
        for n in range(orders):
            raw = story.given[story.halt(n * MINUTE, 3, models(f"model {n}"), quietly=True)]
            first, at = rng.choice(nodes), dict[int, float]()
            async with anyio.create_task_group() as hearing:
                for number, node in enumerate(nodes):
                    if node is not first:
                        hearing.start_soon(heard, node, raw, at, number)
                await anyio.sleep(0.2)  # what the order before left to do is done
                start = time.perf_counter()
                await first.guard.receive(raw)
            took += [1_000 * (t - start) for t in at.values()]
            last.append(1_000 * (max(at.values()) - start))
        wall = time.perf_counter() - begun
        busy, own = sum(map(cpu_s, pids)) - busy, time.process_time() - own
        tasks.cancel_scope.cancel()
    at = statistics.quantiles(took, n=100, method="inclusive")
    print(f"{count} gossip processes, {orders} orders, each to {count - 1} nodes; nobody unreached")
    print(f"a node has it after: p50 {at[49]:.0f} ms, p95 {at[94]:.0f} ms, p99 {at[98]:.0f} ms, max {max(took):.0f} ms")
    print(f"the last node: median {statistics.median(last):.0f} ms, max {max(last):.0f} ms")
    cores = len(os.sched_getaffinity(0))
    print(f"CPU: processes {busy / orders * 1_000:.0f} ms an order all together, nodes {own / orders * 1_000:.0f} ms")
    share, load = 100 * (busy + own) / wall / cores, os.getloadavg()[0]
    print(f"of {cores} cores they used {share:.0f}%; load of the machine {load:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=MOST, choices=range(2, MOST + 1), metavar=f"2..{MOST}")
    parser.add_argument("--orders", type=int, default=30)
    asked = parser.parse_args()
    if not is_installed():
        print("not measured: the extra gossip is not installed (make gossip)")
        return
    anyio.run(measure, asked.nodes, asked.orders)


if __name__ == "__main__":
    main()
