"""Real engines without room for one more transaction, all of which can be paid for: a halt gets in, and is in force."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Final

import anyio
import pytest
from nacl import bindings

from davy.ledger.client import RpcLedger
from davy.ledger.rules.door import NONCE_WINDOW
from davy.protocol.encoding import encode
from davy.protocol.errors import Busy, TxCode, TxFailed
from davy.protocol.limits import DAY_MS
from davy.protocol.order import Global, GroupKey, Halt
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import BrakeOrder, SignedTx, Transfer, TxBody
from davy.protocol.words import TOKEN, KeyRole, key_text
from tests.ledger.driver.cometbft.engines import PATIENCE_S, Producers, engine, reach, until
from tests.twins.keyholders import Keyholders

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.engine]
COUNCIL: Final = Keyholders()
ROOM: Final = 5_000
"""Transactions that an engine lets wait (`davy.ledger.driver.cometbft.configuration`)."""
SENDERS: Final = tuple(
    bindings.crypto_sign_seed_keypair(f"sender {n}".encode().ljust(32, b".")) for n in range(ROOM // NONCE_WINDOW + 2)
)
TO: Final = bytes(31) + b"\1"
A_TURN_EACH: Final = 4
"""Blocks in which each of the producers proposes one."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def running(folder: Path) -> AsyncGenerator[tuple[Producers, list[RpcLedger]]]:
    program = engine()
    if program is None:
        pytest.skip("there is no engine: `make engine` builds it, and needs Go")
    (folder / "keyholders").write_bytes(encode(COUNCIL.roster))
    texts = [key_text(KeyRole.COLDKEY, public) for public, _ in SENDERS]
    options = ["--owner", texts[0], "--keyholders", str(folder / "keyholders")]
    with ExitStack() as stack:
        producers = Producers(folder / "n", program, stack)
        producers.make(4, (*options, *(word for t in texts for word in ("--allocate", f"{t}=1000"))))
        try:
            producers.start(1, 2, 3, 4)
            async with AsyncExitStack() as clients:
                made = [RpcLedger(producers.url(n), producers.chain) for n in range(1, 5)]
                yield producers, [await clients.enter_async_context(c) for c in made]
        finally:
            producers.stop()


class Junk:
    """Transfers of all senders, each payable, in the order of their nonces, without end."""

    def __init__(self, ledger: RpcLedger) -> None:
        self._ledger = ledger
        self.taken, self.full = 0, anyio.Event()
        """How many there was room for; set when there is none for another."""

    async def send(self) -> None:
        """Hand in as many as there is room for, until cancelled."""
        async with anyio.create_task_group() as tasks:
            for sender in SENDERS:
                tasks.start_soon(self._send, *sender)

    async def _send(self, public: bytes, secret: bytes) -> None:
        for nonce in count():
            body = encode(TxBody(1, self._ledger.chain, public, nonce, Transfer(TO, TOKEN // 1_000)))
            raw = encode(SignedTx(1, body, sign(secret, Domain.TX, body)))
            while await self._is_turned_down(raw):  # noqa: ASYNC110  # of other processes, which set no event here
                await anyio.sleep(0.1)
            self.taken += 1

    async def _is_turned_down(self, raw: bytes) -> bool:
        try:
            await self._ledger.submit(raw)
        except Busy:
            self.full.set()
            return True
        except TxFailed as e:
            if e.code is TxCode.TOO_EXPENSIVE:  # of this sender as many wait as may
                return True
            raise
        return False


async def test_a_halt_is_in_force_after_few_blocks_though_engines_are_full_of_payable_junk(tmp_path: Path) -> None:
    async with running(tmp_path) as (producers, clients):
        for ledger in clients:
            await reach(ledger, 2)
        producers.kill(3, 4)  # no block makes room
        await until(lambda: producers.engine_of(3) is None and producers.engine_of(4) is None, "both are gone")
        junk = Junk(clients[0])
        now = time.time_ns() // 1_000_000
        order = COUNCIL.sign(COUNCIL.order(producers.chain, Halt(Global(), GroupKey.HALT), now, now + DAY_MS))
        stands = (await clients[0].head()).height
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(junk.send)
            with anyio.fail_after(PATIENCE_S):
                await junk.full.wait()
            assert junk.taken >= ROOM - len(SENDERS)
            await clients[0].submit(encode(BrakeOrder(order)))
            producers.start(3)
            await reach(clients[1], stands + 1)
            with anyio.fail_after(PATIENCE_S):
                while not (await clients[1].told_brake()).orders:
                    await reach(clients[1], (await clients[1].head()).height + 1)
            tasks.cancel_scope.cancel()
        (recorded,) = (await clients[1].brake()).orders
        assert recorded.order == order
        assert recorded.height <= stands + 1 + A_TURN_EACH
