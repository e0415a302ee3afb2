"""What the guard costs: `python -m bench.brake`.

CPU time a call, median of many, and its ratio to a call of an empty function on the same machine, which is what can be
compared between machines.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable
from time import process_time_ns

import anyio

from davy.host.clock import SystemClock
from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.killswitch.scope import ModelFacts, Subject
from davy.protocol.chain import Head
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import DAY_MS, chain_parameters
from davy.protocol.order import GroupKey, Halt, Models
from tests.twins import MemoryStore, SeededKeys
from tests.twins.keyholders import Keyholders

CALLS, REPEATS = 2_000, 200
KNOWN = (0, 10, 1_000)
"""HALTs of other models that the guard knows."""


def ns_a_call(work: Callable[[], object]) -> float:
    """The median over `REPEATS` batches."""
    taken: list[float] = []
    for _ in range(REPEATS):
        start = process_time_ns()
        for _ in range(CALLS):
            work()
        taken.append((process_time_ns() - start) / CALLS)
    return statistics.median(taken)


def name(word: str) -> bytes:
    return hashlib.sha256(word.encode()).digest()


async def main() -> None:
    empty = ns_a_call(lambda: None)
    print(f"an empty call: {empty:.0f} ns")
    clock, keyholders = SystemClock(), Keyholders()
    genesis = Genesis(1, "bench", clock.now(), chain_parameters(), (bytes(32),), (), (), (keyholders.roster,))
    files = frozenset(name(f"file {n}") for n in range(5))
    subject = Subject(1, name("miner"), ModelFacts(name("model"), files, name("registrant")))
    for known in KNOWN:
        guard = Guard(first_state(genesis), keys=SeededKeys(1), clock=clock, store=MemoryStore())
        now = clock.now()
        await guard.at_block(Head(1, now, bytes(32), bytes(32)), [])
        halts = [Halt(Models((name(f"other {n}"),), (), ()), GroupKey.HALT) for n in range(known)]
        orders = [keyholders.sign(keyholders.order(chain_id(genesis), h, now, now + DAY_MS)) for h in halts]
        await guard.receive_all(orders)
        run = guard.running(subject)
        asked, stopped = ns_a_call(lambda g=guard: g.permit(subject)), ns_a_call(run.stopped)
        print(f"{known:>5} HALTs known: permit {asked:.0f} ns ({asked / empty:.0f} empty calls), ", end="")
        print(f"stopped {stopped:.0f} ns ({stopped / empty:.0f})")
        start = process_time_ns()
        for _ in range(50):
            guard._look_at(guard._view)  # forgets the verdicts # pyright: ignore[reportPrivateUsage]
            guard.permit(subject)
        print(f"{'':>18} a verdict anew {(process_time_ns() - start) / 50_000:.0f} µs")


anyio.run(main)
