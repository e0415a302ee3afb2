"""A small chain with funded keys, a clock that a test sets, and a ledger's file."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from nacl import bindings

from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.embedded import Producer
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
