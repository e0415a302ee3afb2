"""The ledger of hosts that have no other route: the embedded engine in a process of its own."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from davy.host.clock import SystemClock
from davy.ledger.driver.service import serve_embedded
from davy.protocol.genesis import Genesis
from davy.protocol.limits import chain_parameters
from davy.protocol.roster import Roster
from davy.protocol.words import KeyRole
from tests.twins import SeededKeys

BLOCK_MS = 250
"""From one block to the next, as `davy up` and the embedded ledger have it by default."""
_PRODUCER = SeededKeys(10**6 + 1)


def genesis_of(roster: Roster) -> Genesis:
    """A chain with nothing on it but its keyholders."""
    now, producer = SystemClock().now(), _PRODUCER.public(KeyRole.PRODUCER)
    return Genesis(1, "time to stop", now, chain_parameters(), (producer,), (), (), (roster,))


def run_ledger(pipe: Any, genesis: Genesis, folder: Path) -> None:
    """A process: says where it answers, then which CPU seconds it used, whenever it is asked."""
    anyio.run(_live, pipe, genesis, folder, backend_options={"use_uvloop": True})


async def _live(pipe: Any, genesis: Genesis, folder: Path) -> None:
    serve = partial(serve_embedded, port=0, block_time=BLOCK_MS)
    async with anyio.create_task_group() as tasks:
        pipe.send(await tasks.start(serve, folder / "ledger.db", genesis, _PRODUCER, SystemClock()))
        while await anyio.to_thread.run_sync(pipe.recv) != "end":
            pipe.send(time.process_time())
        tasks.cancel_scope.cancel()
