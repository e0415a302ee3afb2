"""Four real producers on one machine: one is killed and the chain goes on; two are, and it waits; nothing is lost."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import anyio
import pytest
from nacl import bindings

from davy.ledger.client import RpcLedger
from davy.ledger.submit import deliver
from davy.protocol.chain import TxResult
from davy.protocol.encoding import encode
from davy.protocol.errors import Expired
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import SignedTx, Transfer, TxBody, tx_hash
from davy.protocol.words import KeyRole, key_text
from tests.ledger.driver.cometbft.engines import Producers, engine, reach, until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
PUBLIC, SECRET = bindings.crypto_sign_seed_keypair(b"alice".ljust(32, b"."))
TO = bytes(31) + b"\1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def producers(tmp_path: Path) -> Iterator[Producers]:
    program = engine()
    if program is None:
        pytest.skip("there is no engine: `make engine` builds it, and needs Go")
    with ExitStack() as stack:
        made = Producers(tmp_path / "n", program, stack)
        cold = key_text(KeyRole.COLDKEY, PUBLIC)
        made.make(4, ("--owner", cold, "--allocate", f"{cold}=1000"))
        try:
            made.start(1, 2, 3, 4)
            yield made
        finally:
            made.stop()


@pytest.fixture
async def clients(producers: Producers) -> AsyncIterator[list[RpcLedger]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(RpcLedger(f"http://127.0.0.1:{port}", producers.chain))
            for port in producers.ports
        ]


class Sender:
    """Transfers of one key, in the order of their nonces; what was acknowledged is remembered."""

    def __init__(self, chain: bytes) -> None:
        self._chain, self._nonce = chain, 0
        self.acknowledged: dict[bytes, TxResult] = {}

    def next(self) -> bytes:
        body = encode(TxBody(1, self._chain, PUBLIC, self._nonce, Transfer(TO, 1 + self._nonce)))
        self._nonce += 1
        return encode(SignedTx(1, body, sign(SECRET, Domain.TX, body)))

    async def send(self, ledger: RpcLedger, count: int = 1) -> None:
        for _ in range(count):
            raw = self.next()
            self.acknowledged[tx_hash(raw)] = await deliver(ledger, raw)


async def same_chain(clients: list[RpcLedger], height: int) -> None:
    """All tell the same block of a height, and so the same state after the block before it."""
    for ledger in clients:
        await reach(ledger, height)
    opened = {await header(ledger, height) for ledger in clients}
    assert len(opened) == 1, opened


async def header(ledger: RpcLedger, height: int) -> tuple[bytes, bytes]:
    async with ledger.blocks(height - 1) as heads:
        head = await anext(heads)
    assert head.height == height
    return head.hash, head.app_hash


async def height_of(ledger: RpcLedger) -> int:
    return (await ledger.head()).height


async def test_kills_lose_nothing_and_two_of_four_stop_the_chain(
    producers: Producers, clients: list[RpcLedger]
) -> None:
    sender = Sender(producers.chain)
    for ledger in clients:
        await reach(ledger, 2)
        await sender.send(ledger)

    producers.kill(4)
    await until(lambda: producers.engine_of(4) is None, "an engine without its application ends")
    before = await height_of(clients[0])
    for ledger in clients[:3]:
        await sender.send(ledger, 2)
    await reach(clients[0], before + 3)

    producers.start(4)
    await same_chain(clients, await height_of(clients[0]))

    engine_before = producers.engine_of(3)
    assert engine_before is not None
    os.kill(engine_before, signal.SIGKILL)
    await sender.send(clients[0])
    await until(lambda: producers.engine_of(3) not in (None, engine_before), "an engine that ended is started again")
    await sender.send(clients[2])
    await same_chain(clients, await height_of(clients[0]))

    producers.kill(3, 4)
    await until(lambda: producers.engine_of(3) is None and producers.engine_of(4) is None, "both are gone")
    stands = await height_of(clients[0])
    waiting = sender.next()
    await clients[0].submit(waiting)
    await anyio.sleep(3)  # thirty blocks' time
    assert await height_of(clients[0]) <= stands + 1
    with pytest.raises(Expired):
        await clients[0].outcome(tx_hash(waiting), until=0)
    producers.start(3)
    sender.acknowledged[tx_hash(waiting)] = await deliver(clients[0], waiting)

    producers.start(4)
    await sender.send(clients[1])
    await same_chain(clients, await height_of(clients[1]))
    for ledger in clients:
        assert {h: await ledger.outcome(h, until=0) for h in sender.acknowledged} == sender.acknowledged
        assert await ledger.nonce(PUBLIC) == len(sender.acknowledged)
    assert {r.code for r in sender.acknowledged.values()} == {0}
