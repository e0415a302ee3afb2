"""Four real producers on one machine: one is killed and the chain goes on; two are, and it waits; nothing is lost."""

import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager, suppress
from pathlib import Path

import anyio
import pytest
from nacl import bindings

from davy.host.home import Home
from davy.ledger.client import RpcLedger
from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.headers import Authority, open_header
from davy.ledger.rules.machine import Machine
from davy.ledger.submit import deliver, hand_in
from davy.protocol.chain import TxResult
from davy.protocol.encoding import encode
from davy.protocol.errors import Expired
from davy.protocol.limits import DAY_MS
from davy.protocol.order import Global, GroupKey, Halt
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import BrakeOrder, SignedTx, Transfer, TxBody, tx_hash
from davy.protocol.words import TOKEN, KeyRole, key_text
from tests.ledger.driver.cometbft.engines import PATIENCE_S, Producers, engine, reach, until
from tests.twins.keyholders import Keyholders

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.engine]
COUNCIL = Keyholders()
KILLS = int(os.environ.get("DAVY_KILLS", "12"))
PUBLIC, SECRET = bindings.crypto_sign_seed_keypair(b"alice".ljust(32, b"."))
TO = bytes(31) + b"\1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def running(tmp_path: Path, count: int) -> Iterator[Producers]:
    program = engine()
    if program is None:
        pytest.skip("there is no engine: `make engine` builds it, and needs Go")
    keyholders = tmp_path / "keyholders"
    keyholders.write_bytes(encode(COUNCIL.roster))
    cold = key_text(KeyRole.COLDKEY, PUBLIC)
    with ExitStack() as stack:
        made = Producers(tmp_path / "n", program, stack)
        made.make(count, ("--owner", cold, "--allocate", f"{cold}=1000", "--keyholders", str(keyholders)))
        try:
            made.start(*range(1, count + 1))
            yield made
        finally:
            made.stop()


@pytest.fixture
def producers(tmp_path: Path) -> Iterator[Producers]:
    with running(tmp_path, 4) as made:
        yield made


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
        body = encode(TxBody(1, self._chain, PUBLIC, self._nonce, Transfer(TO, TOKEN // 1_000 + self._nonce)))
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

    producers.forget_state(4)  # all blocks are replayed
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
    now = time.time_ns() // 1_000_000
    order = COUNCIL.sign(COUNCIL.order(producers.chain, Halt(Global(), GroupKey.HALT), now, now + DAY_MS))
    await clients[1].submit(encode(BrakeOrder(order)))
    await anyio.sleep(3)  # thirty blocks' time
    assert await height_of(clients[0]) <= stands + 1
    with pytest.raises(Expired):
        await clients[0].outcome(tx_hash(waiting), until=0)
    producers.start(3)
    await hand_in(clients[0], order, patience=PATIENCE_S)
    sender.acknowledged[tx_hash(waiting)] = await deliver(clients[0], waiting)

    producers.start(4)
    await sender.send(clients[1])
    await same_chain(clients, await height_of(clients[1]))
    for ledger in clients:
        assert {h: await ledger.outcome(h, until=0) for h in sender.acknowledged} == sender.acknowledged
        assert await ledger.nonce(PUBLIC) == len(sender.acknowledged)
        assert [row.order for row in (await ledger.brake()).orders] == [order]
    assert {r.code for r in sender.acknowledged.values()} == {0}


DIVERGES = """
from davy.ledger.rules.machine import Machine
apply = Machine.apply_block
Machine.apply_block = lambda self, height, *block: (
    apply(self, height, *block)._replace(app_hash=bytes(32)) if height == 12 else apply(self, height, *block)
)
"""


async def test_one_that_computes_something_else_ends_and_can_be_mended(
    producers: Producers, clients: list[RpcLedger]
) -> None:
    await reach(clients[3], 2)
    producers.kill(4)
    await until(lambda: producers.engine_of(4) is None, "its engine ends")
    producers.start(4, before=DIVERGES)
    await until(lambda: producers.ended(4) is not None, "it ends with a sentence")
    assert "its state differs from theirs" in producers.log(4)
    assert producers.ended(4) == 2
    assert producers.engine_of(4) is None
    sender = Sender(producers.chain)
    await sender.send(clients[0], 2)
    producers.forget_state(4)
    producers.forget_blocks(4)
    producers.start(4)
    await same_chain(clients, await height_of(clients[0]))
    assert await clients[3].nonce(PUBLIC) == 2


async def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """davy, the engine, or both, at moments drawn by a seed, while transfers are sent; DAVY_KILLS times."""
    for module in ("submit", "client.ledger"):  # a patient client's pauses would be most of a life
        monkeypatch.setattr(f"davy.ledger.{module}._SHORTEST_PAUSE_S", 0.02)
        monkeypatch.setattr(f"davy.ledger.{module}._LONGEST_PAUSE_S", 0.1)
    drawn = random.Random(8)
    with running(tmp_path, 1) as producers:
        sender = Sender(producers.chain)
        async with RpcLedger(f"http://127.0.0.1:{producers.ports[0]}", producers.chain) as ledger:
            await reach(ledger, 1)
            for n in range(KILLS):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(sender.send, ledger, 3)
                    await anyio.sleep(drawn.uniform(0, 1.5))
                    whom = ("davy", "engine", "both")[n % 3]
                    running_engine = producers.engine_of(1)
                    if whom != "davy" and running_engine is not None:
                        with suppress(ProcessLookupError):
                            os.kill(running_engine, signal.SIGKILL)
                    if whom != "engine":
                        producers.kill(1)
                        producers.start(1)
            for h, result in sender.acknowledged.items():
                assert await ledger.outcome(h, until=0) == result
            assert await ledger.nonce(PUBLIC) == len(sender.acknowledged) == 3 * KILLS
            newest = (await ledger.head()).height
            assert newest >= max(r.height for r in sender.acknowledged.values())
        producers.stop()
        check_file(producers.home(1))


def check_file(root: Path) -> None:
    """Replayed by the machine alone, the blocks of a producer's file give the app hashes that its headers name."""
    home = Home.open(root)
    machine = Machine.from_genesis(home.genesis())
    with closing(BlockStore(home.ledger)) as store:
        authority = Authority.of(home.genesis())
        before = machine.app_hash
        for height, raw, app_hash in store.headers(1, store.told()):
            opened = open_header(raw, authority)
            assert opened.header.app_hash == before
            before = machine.apply_block(height, opened.header.time, [t.raw for t in store.txs(height)]).app_hash
            assert before == app_hash
        assert store.told() > 0
