"""One user a host, all in one process: a signed stream is open at each, and what a user sees is what is measured."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import anyio
import anyio.to_thread

from bench.stopping.hosts import Lag, Post
from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy
from davy.killswitch.brake import BrakeState
from davy.killswitch.scope import ModelFacts, Subject
from davy.network.http_client import HttpTransport
from davy.network.probing import Orders, Probed, Stops, Watch
from davy.network.signed_client import SignedClient
from davy.protocol.receipt import Anchor
from davy.protocol.roster import Roster
from davy.protocol.words import ChainId
from tests.twins import SeededKeys


class Seen(NamedTuple):
    """When the stream had ended by the order, or a request was refused, in nanoseconds of the monotonic clock.

    None too where it served again, asked once more.
    """

    ended: int | None
    order: bytes


def run_users(pipe: Any, chain: ChainId, roster: Roster, posts: Sequence[Post]) -> None:
    """A process: opens streams when told, and says what came of them when asked."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # uvloop tells of each connection that was cut
    anyio.run(_live, pipe, BrakeState(chain, roster), posts, backend_options={"use_uvloop": True})


async def _live(pipe: Any, state: BrakeState, posts: Sequence[Post]) -> None:
    clock, anchor, lag = SystemClock(), Anchor(1, bytes(32)), Lag()
    probed = [Probed(p.endpoint, p.hotkey, p.model) for p in posts]
    facts = [ModelFacts(p.model, frozenset(), bytes(32)) for p in posts]
    orders = Orders(state)
    stops = [Stops(orders, (Subject(1, p.hotkey, f),)) for p, f in zip(posts, facts, strict=True)]
    watches: dict[int, Watch] = {}
    async with HttpTransport(clock) as transport, anyio.create_task_group() as tasks:
        client = SignedClient(SeededKeys(10**6), state.chain, transport, clock, OsEntropy())
        tasks.start_soon(lag.watch)
        while (told := await anyio.to_thread.run_sync(pipe.recv)) != "end":
            match told:
                case ("stream", numbers):
                    watches = {n: Watch(probed[n], client, clock, anchor, stops[n], time.monotonic_ns) for n in numbers}
                    for watch in watches.values():
                        tasks.start_soon(watch.run)
                    while not all(w.tokens > 1 for w in watches.values()):  # noqa: ASYNC110 - measured from outside
                        await anyio.sleep(0.05)
                    lag.worst()
                case ("seen", patience_s):
                    with anyio.move_on_after(patience_s):
                        while not all(w.ended for w in watches.values()):  # noqa: ASYNC110
                            await anyio.sleep(0.02)
                case ("again",):
                    async with anyio.create_task_group() as asking:
                        for watch in watches.values():
                            if watch.ended is not None:
                                asking.start_soon(watch.ask_again)
                case _:
                    pass
            seen = {n: Seen(w.ended, w.order) for n, w in watches.items()}
            pipe.send((seen, time.process_time(), lag.worst()))
        tasks.cancel_scope.cancel()
