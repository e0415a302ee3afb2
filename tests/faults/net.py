"""Four producers as real processes, a client and a node of each, transactions without end, orders of keyholders."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
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
from davy.protocol.manifest import ModelClass, model_id
from davy.protocol.order import GroupKey, Halt, Lift, Models, OrderAction, OrderId, open_order, order_id
from davy.protocol.recorded import model_name
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import Action, AddStake, RegisterModel, SignedTx, Transfer, TxBody, tx_hash
from davy.protocol.words import TOKEN, KeyRole, key_text
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
from tests.faults.nodes import GATEWAY, HOTKEYS, OWNER, SERVES, STOPPED, Nodes, ledger_of
from tests.ledger.driver.cometbft.engines import PATIENCE_S, Producers, until
from tests.twins.keyholders import Keyholders

COUNT = 4
PUBLIC, SECRET = bindings.crypto_sign_seed_keypair(b"alice".ljust(32, b"."))
COLDKEY = (PUBLIC, SECRET)
_A_TRY_S = 10.0
Heal = Callable[[], Awaitable[None]]
"""What ends a fault."""


class Draws(NamedTuple):
    """What a seed gives, apart: how much load there is depends on the machine, and whom a fault befalls must not."""

    victims: random.Random
    load: random.Random
    lies: random.Random

    @classmethod
    def of(cls, seed: int) -> Self:
        return cls(*(random.Random(f"{seed} {what}") for what in cls._fields))


class Hostile(NamedTuple):
    """What producers run that can be told to act against the others (`tests.faults.hostile`)."""

    before: str
    options: tuple[str, ...]


class Orders(NamedTuple):
    """Signed: one halts a model that nobody has named before, the other the model of all nodes."""

    unheard: bytes
    nodes: bytes


class Net:
    """What runs, and what was promised: transactions that were acknowledged, models that were ordered to halt."""

    def __init__(
        self, producers: Producers, clients: list[RpcLedger], nodes: Nodes, networks: Networks | None, seed: int
    ) -> None:
        self.producers, self.clients, self.nodes, self.networks = producers, clients, nodes, networks
        self.drawn = Draws.of(seed)
        self.council = COUNCIL
        self.acknowledged: dict[bytes, TxResult] = {}
        self.halts: list[bytes] = []
        """Names that stand on the ledger (`davy.protocol.recorded.model_name`)."""
        self.orders = 0
        """How many stand on the ledger."""
        self.nonces: dict[bytes, int] = {}
        """By sender: how many transactions of it were acknowledged."""
        self._acting = anyio.Lock()
        self._stands: bytes | None = None
        """The signed order that halts the nodes' model."""

    def client(self, n: int) -> RpcLedger:
        return self.clients[n - 1]

    async def open_market(self) -> None:
        """Register and stake, and weigh once there are permits; at the end an epoch was paid, and each later one is."""
        for hotkey in (*VALIDATORS, *MINERS):
            await self.done(COLDKEY, registration(self.producers.chain, PUBLIC, hotkey))
        for public, _ in VALIDATORS:
            await self.done(COLDKEY, AddStake(public, STAKE))
        for ledger in self.clients:  # a hotkey that one does not know yet is turned down by it
            await _comes(lambda ledger=ledger: may_weigh(ledger))
        neurons = (await self.clients[0].metagraph(NETUID)).neurons
        for n, validator in enumerate(VALIDATORS):
            await self.done(validator, weights(neurons, (1 + n, 2 - n)))
        await _comes(lambda: self._is_paid(self.clients[0]))

    async def start_nodes(self) -> None:
        """Register the nodes and their model, and start them; at the end each serves."""
        owner, _ = OWNER
        await self.done(COLDKEY, Transfer(owner, 10_000 * TOKEN))
        for hotkey in HOTKEYS:
            await self.done(OWNER, registration(self.producers.chain, owner, hotkey))
        await self.done(OWNER, AddStake(HOTKEYS[GATEWAY - 1][0], 10 * TOKEN))  # miners ask a caller for some
        await self.done(OWNER, RegisterModel(self.nodes.manifest(), (), ModelClass.ORDINARY))
        await self.nodes.start([self.producers.home(ledger_of(n)) / "network.json" for n in range(1, GATEWAY + 1)])

    async def _is_paid(self, ledger: RpcLedger) -> bool:
        return pays_miners(await ledger.epoch(NETUID, await running_epoch(ledger) - 1))

    async def send(self, whole: anyio.Event) -> None:
        """Hand transactions in, at one drawn at a time, until told; the last one is seen through."""
        while not whole.is_set():
            await self.act(COLDKEY, load(self.nonces[PUBLIC]))

    async def act(self, sender: KeyPair, action: Action) -> TxResult:
        """Sign one transaction with the sender's next nonce and see it acknowledged; one after the other."""
        public, secret = sender
        async with self._acting:
            nonce = self.nonces.get(public, 0)
            body = encode(TxBody(1, self.producers.chain, public, nonce, action))
            raw = encode(SignedTx(1, body, sign(secret, Domain.TX, body)))
            result = self.acknowledged[tx_hash(raw)] = await self._through(raw)
            self.nonces[public] = nonce + 1
        return result

    async def done(self, sender: KeyPair, action: Action) -> None:
        """Act, and see that it happened."""
        result = await self.act(sender, action)
        assert result.code == 0, (action, result)

    async def _through(self, raw: bytes) -> TxResult:
        with anyio.fail_after(5 * PATIENCE_S):
            while True:
                with suppress(Unreachable, Refused), anyio.move_on_after(_A_TRY_S):
                    return await deliver(self.drawn.load.choice(self.clients), raw)

    async def kill(self, whom: Sequence[int]) -> None:
        """SIGKILL to davy, and wait until the engines have ended with it."""
        self.producers.kill(*whom)
        for n in whom:
            await until(lambda n=n: self.producers.engine_of(n) is None, "an engine without its application ends")

    def sign_orders(self) -> Orders:
        """What keyholders sign while a fault lasts."""
        model = hashlib.sha256(f"model {len(self.halts)}".encode()).digest()
        self.halts.append(model_name(model))
        unheard, nodes = (self._halt(m) for m in (model, model_id(self.nodes.manifest())))
        self._stands = nodes
        return Orders(unheard, nodes)

    def _halt(self, model: bytes) -> bytes:
        return self._sign(Halt(Models((model,), (), ()), GroupKey.HALT), DAY_MS)

    def _sign(self, action: OrderAction, term: int) -> bytes:
        now = time.time_ns() // 1_000_000
        return self.council.sign(self.council.order(self.producers.chain, action, now, now + term if term else 0))

    async def hand_in(self, by: RpcLedger, *orders: bytes) -> None:
        """See orders recorded by one ledger."""
        for order in orders:
            await hand_in(by, order, patience=5 * PATIENCE_S)
            self.orders += 1

    async def bring(self, *, but: int = 0) -> None:
        """Bring the order that halts the nodes' model to all of them but one, and to no ledger; see `Nodes.bring`."""
        assert self._stands is not None
        await self.nodes.bring(self._stands, but=but)

    async def recorded(self, n: int) -> None:
        """Wait until a producer's ledger has the order that halts the nodes' model."""
        await _comes(lambda: self._is_recorded(self.client(n)))

    async def _is_recorded(self, ledger: RpcLedger) -> bool:
        return self._stands in {o.order for o in (await ledger.brake()).orders}

    async def obeyed(self) -> None:
        """Every node refuses and has its word on every ledger; then the halt is lifted, and every node serves."""
        if self._stands is None:
            return
        halted, self._stands = order_id(open_order(self._stands)[0].order), None
        await self.nodes.until_all(STOPPED)
        for ledger in self.clients:
            await _comes(lambda ledger=ledger: self._is_attested(ledger, halted))
        await self.nodes.refuse()
        await self.hand_in(self.drawn.load.choice(self.clients), self._sign(Lift((halted,)), 0))
        await self.nodes.until_all(SERVES)

    async def _is_attested(self, ledger: RpcLedger, order: OrderId) -> bool:
        return {public for public, _ in HOTKEYS} <= {a.node for a in await ledger.attestations(order)}


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
async def running(
    folder: Path, program: Path, seed: int, *, namespaces: bool, hostile: Hostile | None = None
) -> AsyncGenerator[Net]:
    """Make a chain, start its producers and nodes, and end them; with hostile ones seats change after few blocks."""
    keyholders = folder / "keyholders"
    keyholders.write_bytes(encode(COUNCIL.roster))
    cold = key_text(KeyRole.COLDKEY, PUBLIC)
    options = ("--owner", cold, "--allocate", f"{cold}=1000000", "--keyholders", str(keyholders))
    with ExitStack() as stack:
        networks = stack.enter_context(Networks(COUNT)) if namespaces else None
        producers = Producers(folder / "n", program, stack, networks)
        producers.make(COUNT, (*options, "--subnet", SUBNET), parameters="unbonding=20" if hostile else "")
        if hostile:
            producers.before, producers.options = hostile
        try:
            producers.start(*range(1, COUNT + 1))
            async with AsyncExitStack() as clients:
                ledgers = [
                    await clients.enter_async_context(RpcLedger(producers.url(n), producers.chain))
                    for n in range(1, COUNT + 1)
                ]
                net = Net(producers, ledgers, Nodes(folder / "m", stack), networks, seed)
                await net.open_market()
                await net.start_nodes()
                yield net
        finally:
            producers.stop()
