"""Starts ledgers to be killed: imports once, then forks one ledger for each line ``<file> <port>`` on its input.

Prints ``<pid> started`` at once, ``<pid> <address>`` when that ledger answers, ``<pid> killed`` when it is gone, and
``<pid> ended`` when it ended by itself. A forked ledger is a process of its own; what it saves is the second that
importing takes.
"""

import os
import sys
from pathlib import Path

import anyio
from anyio.abc import TaskStatus
from nacl import bindings

from davy.host.clock import SystemClock
from davy.ledger.driver.service import serve_embedded
from davy.protocol.encoding import decode
from davy.protocol.genesis import Genesis
from davy.protocol.signing import Domain, sign
from davy.protocol.words import KeyRole

GENESIS = decode(bytes.fromhex(sys.argv[1]), Genesis, limit=10**6)
PUBLIC, SECRET = bindings.crypto_sign_seed_keypair(bytes.fromhex(sys.argv[2]))


class ProducerKey:
    def public(self, role: KeyRole) -> bytes:
        return PUBLIC

    def sign(self, role: KeyRole, domain: Domain, body: bytes) -> bytes:
        return sign(SECRET, domain, body)

    def sign_raw(self, role: KeyRole, message: bytes) -> bytes:
        raise NotImplementedError(message)


async def live(database: Path, port: int) -> None:
    async def serve(*, task_status: TaskStatus[str]) -> None:
        await serve_embedded(
            database, GENESIS, ProducerKey(), SystemClock(), port=port, block_time=10, task_status=task_status
        )

    async with anyio.create_task_group() as tasks:
        print(os.getpid(), await tasks.start(serve), flush=True)


for line in sys.stdin:
    name, port_text = line.rsplit(" ", 1)
    child = os.fork()
    if child == 0:
        print(os.getpid(), "started", flush=True)
        anyio.run(live, Path(name), int(port_text))
        os._exit(1)
    print(child, "ended" if os.WIFEXITED(os.waitpid(child, 0)[1]) else "killed", flush=True)
