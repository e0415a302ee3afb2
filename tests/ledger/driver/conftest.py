"""A small chain with funded keys, a clock that a test sets, and a ledger's file."""

import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from nacl import bindings

from davy.ledger.client import RpcLedger
from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.embedded import Producer
from davy.ledger.driver.server import RpcServer, listening
from davy.protocol.encoding import encode
from davy.protocol.genesis import Allocation, Genesis, chain_id
from davy.protocol.limits import DAY_MS, chain_parameters
from davy.protocol.order import Drill, Global, GroupKey, Halt, OrderAction
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import Action, SignedTx, Transfer, TxBody
from davy.protocol.words import KeyRole

# tests/twins are no tests: importlib mode, rightly, makes nothing importable by accident
sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.twins.keyholders import Keyholders


class MemoryKeys:
    """One key for every role."""

    def __init__(self, name: str) -> None:
        self._public, self._secret = bindings.crypto_sign_seed_keypair(name.encode().ljust(32, b"."))

    def public(self, role: KeyRole = KeyRole.COLDKEY) -> bytes:
        return self._public

    def sign(self, role: KeyRole, domain: Domain, body: bytes) -> bytes:
        return sign(self._secret, domain, body)

    def sign_raw(self, role: KeyRole, message: bytes) -> bytes:
        raise NotImplementedError(message)


class SetClock:
    """Time that moves when it is slept for, or set."""

    def __init__(self, time: int = 1_000_000) -> None:
        self.time = time

    def now(self) -> int:
        return self.time

    async def sleep_until(self, t: int) -> None:
        import anyio.lowlevel

        await anyio.lowlevel.checkpoint()
        self.time = max(self.time, t)


class Chain:
    """A genesis with three funded keys, and transactions for it."""

    def __init__(self) -> None:
        self.producer = MemoryKeys("producer")
        self.people = [MemoryKeys(name) for name in ("alice", "bob", "carol")]
        allocations = tuple(Allocation(p.public(), 10**12) for p in self.people)
        self.keyholders = Keyholders()
        roster = (self.keyholders.roster,)
        self.genesis = Genesis(1, "driver", 500, chain_parameters(), (self.producer.public(),), allocations, (), roster)
        self.id = chain_id(self.genesis)

    def order(self, action: OrderAction | None = None, issued: int = 1_000_000) -> bytes:
        """A signed order, a HALT of everything for a day unless told otherwise."""
        action = action or Halt(Global(), GroupKey.HALT)
        end = issued + DAY_MS if isinstance(action, Halt | Drill) else 0
        return self.keyholders.sign(self.keyholders.order(self.id, action, issued, end))

    def tx(self, person: int, nonce: int, action: Action | None = None, chain: bytes | None = None) -> bytes:
        keys = self.people[person]
        action = action or Transfer(self.people[(person + 1) % 3].public(), 1 + nonce)
        body = encode(TxBody(1, chain or self.id, keys.public(), nonce, action))
        return encode(SignedTx(1, body, keys.sign(KeyRole.COLDKEY, Domain.TX, body)))


@pytest.fixture
def anyio_backend() -> Any:
    return "asyncio"


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def store(database: Path) -> Iterator[BlockStore]:
    with closing(BlockStore(database)) as store:
        yield store


@pytest.fixture
def producer(chain: Chain, store: BlockStore, clock: SetClock) -> Producer:
    return Producer(chain.genesis, store, chain.producer, clock, block_time=100)


class Ledger:
    """A ledger that can be stopped and started on one port, and whose answers a test may bend."""

    def __init__(self, chain: Any, database: Path, clock: Any) -> None:
        self.chain, self.database, self.clock = chain, database, clock
        self.port = 0
        self.bend: Callable[[Any, Any], Any] = lambda call, answer: answer
        self.calls: list[str] = []
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        store = self._stack.enter_context(closing(BlockStore(self.database)))
        self.producer = Producer(self.chain.genesis, store, self.chain.producer, self.clock)
        server = RpcServer(self.producer)
        answer = server.answer

        async def bent(body: bytes) -> Any:
            call = json.loads(body)
            self.calls.append(call["method"])
            return self.bend(call, await answer(body))

        server.answer = bent  # pyright: ignore[reportAttributeAccessIssue]
        self.url = await self._stack.enter_async_context(listening(server.app, "127.0.0.1", self.port))
        self.port = int(self.url.rsplit(":", 1)[1])

    async def stop(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def served(chain: Any, database: Path, clock: Any) -> AsyncIterator[Ledger]:
    ledger = Ledger(chain, database, clock)
    await ledger.start()
    yield ledger
    await ledger.stop()


@pytest.fixture
async def client(served: Ledger) -> AsyncIterator[RpcLedger]:
    async with RpcLedger(served.url, served.chain.id) as client:
        yield client
