"""Four producers as real processes, a client of each, transfers without end, and orders of keyholders."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

import anyio
from nacl import bindings

from davy.ledger.client import RpcLedger
from davy.ledger.submit import deliver, hand_in
from davy.protocol.chain import TxResult
from davy.protocol.encoding import encode
from davy.protocol.errors import Refused, Unreachable
from davy.protocol.limits import DAY_MS
from davy.protocol.order import GroupKey, Halt, Models
from davy.protocol.recorded import model_name
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import SignedTx, Transfer, TxBody, tx_hash
from davy.protocol.words import KeyRole, key_text
from tests.faults.networks import Networks
from tests.ledger.driver.cometbft.engines import PATIENCE_S, Producers
from tests.twins.keyholders import Keyholders

COUNT = 4
PUBLIC, SECRET = bindings.crypto_sign_seed_keypair(b"alice".ljust(32, b"."))
TO = bytes(31) + b"\1"
_A_TRY_S = 10.0


class Draws(NamedTuple):
    """What a seed gives, apart: how much load there is depends on the machine, and whom a fault befalls must not."""

    victims: random.Random
    load: random.Random
    lies: random.Random

    @classmethod
    def of(cls, seed: int) -> Self:
        return cls(*(random.Random(f"{seed} {what}") for what in cls._fields))


class Net:
    """What runs, and what was promised: transfers that were acknowledged, models that were ordered to halt."""

    def __init__(self, producers: Producers, clients: list[RpcLedger], networks: Networks | None, seed: int) -> None:
        self.producers, self.clients, self.networks = producers, clients, networks
        self.drawn = Draws.of(seed)
        self.council = COUNCIL
        self.acknowledged: dict[bytes, TxResult] = {}
        self.halts: list[bytes] = []
        """Names that stand on the ledger (`davy.protocol.recorded.model_name`)."""
        self._nonce = 0

    def client(self, n: int) -> RpcLedger:
        return self.clients[n - 1]

    async def send(self, whole: anyio.Event) -> None:
        """Hand transfers in, at one drawn at a time, until told; the last one is seen through."""
        while not whole.is_set():
            body = encode(TxBody(1, self.producers.chain, PUBLIC, self._nonce, Transfer(TO, 1 + self._nonce % 1_000)))
            raw = encode(SignedTx(1, body, sign(SECRET, Domain.TX, body)))
            self.acknowledged[tx_hash(raw)] = await self._through(raw)
            self._nonce += 1

    async def _through(self, raw: bytes) -> TxResult:
        with anyio.fail_after(5 * PATIENCE_S):
            while True:
                with suppress(Unreachable, Refused), anyio.move_on_after(_A_TRY_S):
                    return await deliver(self.drawn.load.choice(self.clients), raw)

    async def halt(self, by: RpcLedger) -> None:
        """Keyholders halt a model that nobody has named before; they hand the order in at one ledger."""
        model = hashlib.sha256(f"model {len(self.halts)}".encode()).digest()
        now = time.time_ns() // 1_000_000
        action = Halt(Models((model,), (), ()), GroupKey.HALT)
        order = self.council.sign(self.council.order(self.producers.chain, action, now, now + DAY_MS))
        await hand_in(by, order, patience=5 * PATIENCE_S)
        self.halts.append(model_name(model))


COUNCIL = Keyholders()


@asynccontextmanager
async def running(folder: Path, program: Path, seed: int, *, namespaces: bool) -> AsyncGenerator[Net]:
    """Make a chain, start its producers, and end them."""
    keyholders = folder / "keyholders"
    keyholders.write_bytes(encode(COUNCIL.roster))
    cold = key_text(KeyRole.COLDKEY, PUBLIC)
    options = ("--owner", cold, "--allocate", f"{cold}=1000000", "--keyholders", str(keyholders))
    with ExitStack() as stack:
        networks = stack.enter_context(Networks(COUNT)) if namespaces else None
        producers = Producers(folder / "n", program, stack, networks)
        producers.make(COUNT, (*options, "--subnet", "text:tempo=10"))
        try:
            producers.start(*range(1, COUNT + 1))
            async with AsyncExitStack() as clients:
                ledgers = [
                    await clients.enter_async_context(RpcLedger(producers.url(n), producers.chain))
                    for n in range(1, COUNT + 1)
                ]
                yield Net(producers, ledgers, networks, seed)
        finally:
            producers.stop()
