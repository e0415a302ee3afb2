"""Four producers as real processes, a client of each, transactions without end, and orders of keyholders."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
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
from davy.protocol.transaction import Action, AddStake, SignedTx, TxBody, tx_hash
from davy.protocol.words import KeyRole, key_text
from tests.faults.market import (
    MINERS,
    NETUID,
    STAKE,
    SUBNET,
    VALIDATORS,
    KeyPair,
    load,
    may_weigh,
    pays_miners,
    registration,
    running_epoch,
    weights,
)
from tests.faults.networks import Networks
from tests.ledger.driver.cometbft.engines import PATIENCE_S, Producers
from tests.twins.keyholders import Keyholders

COUNT = 4
PUBLIC, SECRET = bindings.crypto_sign_seed_keypair(b"alice".ljust(32, b"."))
COLDKEY = (PUBLIC, SECRET)
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
    """What runs, and what was promised: transactions that were acknowledged, models that were ordered to halt."""

    def __init__(self, producers: Producers, clients: list[RpcLedger], networks: Networks | None, seed: int) -> None:
        self.producers, self.clients, self.networks = producers, clients, networks
        self.drawn = Draws.of(seed)
        self.council = COUNCIL
        self.acknowledged: dict[bytes, TxResult] = {}
        self.halts: list[bytes] = []
        """Names that stand on the ledger (`davy.protocol.recorded.model_name`)."""
        self.nonces: dict[bytes, int] = {}
        """By sender: how many transactions of it were acknowledged."""

    def client(self, n: int) -> RpcLedger:
        return self.clients[n - 1]

    async def open_market(self) -> None:
        """Register and stake, and weigh once there are permits; at the end an epoch was paid, and each later one is."""
        for hotkey in (*VALIDATORS, *MINERS):
            await self._done(COLDKEY, registration(self.producers.chain, PUBLIC, hotkey))
        for public, _ in VALIDATORS:
            await self._done(COLDKEY, AddStake(public, STAKE))
        for ledger in self.clients:  # a hotkey that one does not know yet is turned down by it
            await _comes(lambda ledger=ledger: may_weigh(ledger))
        neurons = (await self.clients[0].metagraph(NETUID)).neurons
        for n, validator in enumerate(VALIDATORS):
            await self._done(validator, weights(neurons, (1 + n, 2 - n)))
        await _comes(lambda: self._is_paid(self.clients[0]))

    async def _is_paid(self, ledger: RpcLedger) -> bool:
        return pays_miners(await ledger.epoch(NETUID, await running_epoch(ledger) - 1))

    async def send(self, whole: anyio.Event) -> None:
        """Hand transactions in, at one drawn at a time, until told; the last one is seen through."""
        while not whole.is_set():
            await self.act(COLDKEY, load(self.nonces[PUBLIC]))

    async def act(self, sender: KeyPair, action: Action) -> TxResult:
        """Sign one transaction with the sender's next nonce and see it acknowledged."""
        public, secret = sender
        nonce = self.nonces.get(public, 0)
        body = encode(TxBody(1, self.producers.chain, public, nonce, action))
        raw = encode(SignedTx(1, body, sign(secret, Domain.TX, body)))
        result = self.acknowledged[tx_hash(raw)] = await self._through(raw)
        self.nonces[public] = nonce + 1
        return result

    async def _done(self, sender: KeyPair, action: Action) -> None:
        result = await self.act(sender, action)
        assert result.code == 0, (action, result)

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


async def _comes(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a ledger says that something is so."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            with suppress(Unreachable, Refused):
                if await holds():
                    return
            await anyio.sleep(0.1)


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
        producers.make(COUNT, (*options, "--subnet", SUBNET))
        try:
            producers.start(*range(1, COUNT + 1))
            async with AsyncExitStack() as clients:
                ledgers = [
                    await clients.enter_async_context(RpcLedger(producers.url(n), producers.chain))
                    for n in range(1, COUNT + 1)
                ]
                net = Net(producers, ledgers, networks, seed)
                await net.open_market()
                yield net
        finally:
            producers.stop()
