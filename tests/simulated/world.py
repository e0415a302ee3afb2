"""Three validators and twelve miners on one ledger, over a network that delays and loses messages: from one seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from davy.ledger.submit import send
from davy.miners.admission import Admission, Rules
from davy.miners.backend import AsksOthers, Backend, Neighbourhood
from davy.miners.chain_view import ChainView
from davy.miners.node import MinerNode
from davy.miners.server import MinerHandler
from davy.network.brake_routes import BrakeRoutes
from davy.network.memory import MemoryNetwork
from davy.network.node_brake import NodeBrake, open_brake
from davy.network.signed import RequestVerifier
from davy.network.signed_client import SignedClient
from davy.protocol.chain import EpochRecord, Metagraph
from davy.protocol.genesis import Allocation, Genesis, GenesisSubnet
from davy.protocol.limits import EMISSION_PARTS, chain_parameters, hyperparameters
from davy.protocol.manifest import Manifest, ModelClass
from davy.protocol.ports import Handler, Ports
from davy.protocol.signing import Domain
from davy.protocol.transaction import (
    AddStake,
    Endpoint,
    Register,
    RegisterModel,
    consent_bytes,
)
from davy.protocol.words import TOKEN, KeyRole
from davy.validators.challenger import Challenger
from davy.validators.examiner import Examiner, Means, Pace
from davy.validators.node import ValidatorNode
from tests.simulated.clock import VirtualClock
from tests.simulated.guess import Guess, Guesser, NoCorpus
from tests.simulated.ledger import SimulatedClient, SimulatedLedger
from tests.twins import MemoryStore, SeededEntropy, SeededKeys
from tests.twins.keyholders import Keyholders

NETUID = 1
TEMPO = 8


@dataclass(frozen=True)
class Setting:
    """What a history is made of; everything else follows from the seed."""

    seed: int = 1
    miners: int = 12
    validators: int = 3
    epochs: int = 7
    loss: float = 0.02
    delay_ms: tuple[float, float] = (5.0, 80.0)
    block_ms: int = 500
    commit_reveal: int = 1
    challenges: int = 5
    knowledge: tuple[float, ...] = ()
    """Of each miner; spread evenly from 0 to 1 if not given."""
    gateways: int = 0
    """Hotkeys with a little stake that are no validators."""
    permits: int = 8
    """As many with the most stake get one."""
    keyheld: bool = False
    """Whether `tests.twins.keyholders.Keyholders` can halt this chain."""


@dataclass
class Node:
    """One hotkey's things."""

    name: str
    keys: SeededKeys
    store: MemoryStore
    entropy: SeededEntropy
    client: SimulatedClient

    @property
    def hotkey(self) -> bytes:
        return self.keys.public(KeyRole.HOTKEY)

    @property
    def coldkey(self) -> bytes:
        return self.keys.public(KeyRole.COLDKEY)


@dataclass
class World:
    """A network that can be watched: everything that happened is in `journal`, in order."""

    setting: Setting
    genesis: Genesis
    ledger: SimulatedLedger
    net: MemoryNetwork
    miners: list[Node]
    validators: list[Node]
    gateways: list[Node]
    clock: VirtualClock
    journal: list[str] = field(default_factory=list[str])
    sources: dict[str, Callable[[World, Node], Any]] = field(default_factory=dict[str, Callable[["World", Node], Any]])
    """A strategy in place of an examination, by validator name."""

    changed: Callable[[Means], Means] = field(default=lambda means: means)
    """What is switched off in every examiner."""
    wrapped: Callable[[str, Handler], Handler] = field(default=lambda name, handler: handler)
    """What stands before a miner's handler."""
    cheats: dict[str, Callable[[Backend], Backend]] = field(default_factory=dict[str, Callable[[Backend], Backend]])
    """What a miner makes of its model, by name."""
    door: Callable[[str, Handler], Handler] = field(default=lambda name, handler: handler)
    """What stands before all that a miner answers, the brake's routes too."""
    braked: Callable[[str, NodeBrake], NodeBrake] = field(default=lambda name, brake: brake)
    """What is switched off in a node's brake."""
    backend: Callable[[float], Any] = field(default=lambda knowledge: Guesser(knowledge))
    is_over: bool = False
    """Set by a story that has told all; a halted network has no more epochs."""
    brakes: dict[str, NodeBrake] = field(default_factory=dict[str, NodeBrake])
    endpoints: dict[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    running: dict[str, anyio.CancelScope] = field(default_factory=dict[str, anyio.CancelScope])
    backends: dict[str, Guesser] = field(default_factory=dict[str, Guesser])
    examiners: dict[str, Any] = field(default_factory=dict[str, Any])

    async def run(self, *stories: Callable[[], Any]) -> list[EpochRecord]:
        """Play the history to its last epoch, with what else happens in it; return what every epoch paid."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.ledger.run)
            async with anyio.create_task_group() as joining:
                for i, node in enumerate(self.miners):
                    joining.start_soon(self._join_miner, i, node, tasks)
                for node in self.validators:
                    joining.start_soon(self._join_validator, node, tasks)
                for node in self.gateways:
                    joining.start_soon(self._join_gateway, node)
            for story in stories:
                tasks.start_soon(story)
            while not self.is_over and (await self.metagraph()).subnet.epoch < self.setting.epochs:
                await self.ledger.next_block()
            tasks.cancel_scope.cancel()
        records = [await self._record(n) for n in range(self.setting.epochs)]
        return [r for r in records if r is not None]

    async def metagraph(self) -> Metagraph:
        """The subnet as the ledger has it now, without a network in between."""
        return await self._direct().metagraph(NETUID)

    def digest(self) -> str:
        """SHA-256 over every header and every line of the journal: two histories are one iff it is equal."""
        h = hashlib.sha256()
        for header in self.ledger.headers:
            h.update(header)
        for line in self.journal:
            h.update(line.encode() + b"\n")
        return h.hexdigest()

    async def _record(self, epoch: int) -> EpochRecord | None:
        return await self._direct().epoch(NETUID, epoch)

    def _direct(self) -> SimulatedClient:
        return SimulatedClient(self.ledger, _at_once)

    async def _register(self, node: Node) -> None:
        consent = node.keys.sign(
            KeyRole.HOTKEY, Domain.CONSENT, consent_bytes(self.ledger.chain, node.coldkey, node.hotkey)
        )
        action = Register(NETUID, node.hotkey, consent, 1_000 * TOKEN)
        self._note(node, await send(node.client, node.keys, KeyRole.COLDKEY, action))

    async def _join_miner(self, i: int, node: Node, tasks: anyio.abc.TaskGroup) -> None:
        self._tasks = tasks
        await self._register(node)
        backend = self.backend(self.knowledge(i))
        self.backends[node.name] = backend
        manifest = _named(backend.manifest(), node.name)
        registered = RegisterModel(manifest, (), ModelClass.ORDINARY)
        self._note(node, await send(node.client, node.keys, KeyRole.COLDKEY, registered))
        await self.start_miner(node)

    async def start_miner(self, node: Node) -> None:
        """Start a miner on what its store holds, as after a crash."""
        backend = self.backends[node.name]
        manifest = _named(backend.manifest(), node.name)
        served: Backend = _WithManifest(backend, manifest)
        if node.name in self.cheats:
            served = self.cheats[node.name](_WithManifest(backend, manifest))
        if isinstance(served, AsksOthers):
            await served.join(Neighbourhood(node.keys, node.client, self.clock, node.entropy, NETUID))
        endpoint = Endpoint(node.name, 1, hashlib.sha256(node.name.encode()).digest(), b"")
        self.endpoints[node.name] = endpoint
        view = ChainView(1, 60_000)
        brake = await self.brake(node)
        admission = Admission(Rules(rate=1_000.0, burst=1_000), self.clock)
        verifier = RequestVerifier(node.hotkey, self.ledger.chain, self.clock, node.store)
        await verifier.open()
        handler = MinerHandler(
            keys=node.keys,
            chain=self.ledger.chain,
            verifier=verifier,
            clock=self.clock,
            entropy=node.entropy,
            view=view,
            admission=admission,
            guard=brake.guard,
            heard=brake.peers.heard,
            backend=served,
        )
        routes = BrakeRoutes(brake.guard, self.wrapped(node.name, handler), self.clock)
        self.net.serve(endpoint, self.door(node.name, routes))
        miner = MinerNode(
            self.ports(node),
            [NETUID],
            endpoint=endpoint,
            handler=handler,
            view=view,
            admission=admission,
            brake=brake,
        )
        self._start(node, miner.run)

    async def _join_gateway(self, node: Node) -> None:
        await self._register(node)
        self._note(node, await send(node.client, node.keys, KeyRole.COLDKEY, AddStake(node.hotkey, 10 * TOKEN)))

    async def _join_validator(self, node: Node, tasks: anyio.abc.TaskGroup) -> None:
        await self._register(node)
        self._note(node, await send(node.client, node.keys, KeyRole.COLDKEY, AddStake(node.hotkey, 1_000 * TOKEN)))
        self._tasks = tasks
        await self.start_validator(node)

    async def start_validator(self, node: Node) -> None:
        """Start a validator on what its store holds, as after a crash."""
        brake = await self.brake(node)
        source = self.sources[node.name](self, node) if node.name in self.sources else await self._examiner(node, brake)
        validator = ValidatorNode([NETUID], self.ports(node), source, brake)
        self.examiners[node.name] = source
        self._start(node, validator.run)

    def _start(self, node: Node, life: Callable[[], Any]) -> None:
        scope = self.running[node.name] = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await life()

        self._tasks.start_soon(run)

    def crash(self, node: Node) -> None:
        """End a node where it stands; its store keeps what was put, and nothing else stays."""
        self.running[node.name].cancel()
        if node.name in self.endpoints:
            self.net.stop(self.endpoints[node.name])
        node.store = node.store.copy()

    def ports(self, node: Node) -> Ports:
        """All that a node is handed."""
        transport = self.net.transport(node.name)
        return Ports(node.keys, node.client, self.clock, node.entropy, node.store, transport)

    async def brake(self, node: Node) -> NodeBrake:
        """Open a node's brake on what its store holds."""
        brake = await open_brake(self.genesis, self.ports(node))
        self.brakes[node.name] = self.braked(node.name, brake)
        return self.brakes[node.name]

    async def _examiner(self, node: Node, brake: NodeBrake) -> Examiner:
        transport = self.net.transport(node.name)
        client = SignedClient(node.keys, self.ledger.chain, transport, self.clock, node.entropy)
        challenger = Challenger(client, self.clock, await node.client.head(), brake)
        means = Means(
            Guess(), NoCorpus(), challenger, (), brake, node.client, node.store, node.entropy, self.clock, _here
        )
        pace = Pace(self.setting.challenges, TEMPO * self.setting.block_ms, 1_500, 64, self.setting.challenges)
        return Examiner([NETUID], node.hotkey, self.changed(means), pace)

    def knowledge(self, i: int) -> float:
        """How good a miner is."""
        given = self.setting.knowledge
        return given[i] if given else i / max(1, self.setting.miners - 1)

    def _note(self, node: Node, result: Any) -> None:
        assert result.code == 0, result
        self.journal.append(f"{self.clock.now()} {node.name} {result.height} {result.code}")


def build(setting: Setting, clock: VirtualClock) -> World:
    """Make keys, genesis and network; nothing runs yet."""
    rng = random.Random(setting.seed)
    seeds = iter(lambda: rng.getrandbits(63), None)
    names = [*(f"miner-{i}" for i in range(setting.miners)), *(f"validator-{i}" for i in range(setting.validators))]
    names += [f"gateway-{i}" for i in range(setting.gateways)]
    keys = {name: SeededKeys(next(seeds)) for name in names}
    genesis = _genesis(setting, list(keys.values()), clock.now())
    ledger = SimulatedLedger(genesis, clock, setting.block_ms)
    net = MemoryNetwork(
        clock, setting.loss, lambda r: r.uniform(*setting.delay_ms), random.Random(next(seeds)), sleep=clock.sleep
    )
    carry_rng = random.Random(next(seeds))

    async def carry() -> None:
        await clock.sleep(carry_rng.uniform(*setting.delay_ms) / 1000)

    nodes = [
        Node(name, keys[name], MemoryStore(), SeededEntropy(next(seeds)), SimulatedClient(ledger, carry))
        for name in names
    ]
    after = setting.miners + setting.validators
    return World(
        setting, genesis, ledger, net, nodes[: setting.miners], nodes[setting.miners : after], nodes[after:], clock
    )


def _genesis(setting: Setting, everybody: list[SeededKeys], time: int) -> Genesis:
    wants = hyperparameters(
        tempo=TEMPO,
        immunity=1_000,
        activity_cutoff=1_000,
        max_uids=32,
        max_validators=setting.permits,
        commit_reveal=setting.commit_reveal,
    )
    owner = everybody[0].public(KeyRole.COLDKEY)
    subnet = GenesisSubnet(NETUID, owner, "guess", "yuma3", wants, EMISSION_PARTS)
    granted = sorted((k.public(KeyRole.COLDKEY), 10_000 * TOKEN) for k in everybody)
    allocations = tuple(Allocation(key, amount) for key, amount in granted)
    parameters = chain_parameters(unbonding=10, halving_interval=1_000)
    keyholders = (Keyholders().roster,) if setting.keyheld else ()
    return Genesis(1, "simulated", time, parameters, (bytes(32),), allocations, (subnet,), keyholders)


def _named(m: Manifest, name: str) -> Manifest:
    return Manifest(m.version, name, m.files, m.format, m.tokenizer, m.licence)


class _WithManifest:
    """A backend under a manifest of its own, so that twelve miners of one class have twelve models."""

    def __init__(self, backend: Guesser, manifest: Manifest) -> None:
        self._backend, self._manifest = backend, manifest
        self.generate, self.aclose = backend.generate, backend.aclose

    def manifest(self) -> Manifest:
        return self._manifest


async def _at_once() -> None:
    """A call that crosses no network."""


async def _here(work: Callable[[], Any]) -> Any:
    """Computes where it stands: in virtual time a computation takes none."""
    return work()
