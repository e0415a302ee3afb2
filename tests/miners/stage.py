"""A miner in memory: keys, a clock at the event loop's pace, a chain of made-up blocks, and a caller with stake."""

import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any, NamedTuple

from davy.killswitch.guard import Guard
from davy.miners.admission import Admission, Rules
from davy.miners.backend import Backend
from davy.miners.chain_view import ChainView
from davy.miners.server import MinerHandler
from davy.miners.simple import SimpleBackend
from davy.network.brake_routes import BrakeRoutes
from davy.network.memory import MemoryNetwork, no_delay
from davy.network.signed import RequestVerifier, sign_request
from davy.protocol.chain import Head, Metagraph, Neuron, SubnetInfo
from davy.protocol.limits import hyperparameters
from davy.protocol.ports import IncomingStream, Ports, Response, SignedRequest
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor
from davy.protocol.transaction import Endpoint
from davy.protocol.words import TOKEN, KeyRole
from tests.twins import LoopClock, MemoryStore, SeededEntropy, SeededKeys
from tests.twins.brake import ANYBODY, guard_of, subject_of_manifest

CHAIN = b"\x0c" * 32
NETUID = 1


class Letters(SimpleBackend):
    """After any letter the next one of the alphabet is likely, the one after it less so; z ends it."""

    name = "letters"
    context = 200
    end = ord("z")

    def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
        now = min(max(tokens[-1], ord("a") - 1), ord("y"))
        return {now + 1: 0.6, min(now + 2, ord("z")): 0.3} if now < ord("y") else {ord("z"): 0.9}


def head(height: int) -> Head:
    return Head(height, 1_800_000_000_000 + height, bytes([height % 256]) * 32, bytes(32))


def neuron(uid: int, hotkey: bytes, stake: int = 0, **changes: Any) -> Neuron:
    fields: dict[str, Any] = {
        "uid": uid, "hotkey": hotkey, "coldkey": b"\x01" * 32, "registered_at": 0, "last_update": 0, "stake": stake,
        "permit": stake > 0, "active": True, "consensus": 0, "incentive": 0, "dividends": 0, "trust": 0,
        "validator_trust": 0, "emission": 0, "earned": 0, "endpoint": (), "model": (),
    }  # fmt: skip
    return Neuron(**{**fields, **changes})


def metagraph(height: int, *neurons: Neuron, **changes: int) -> Metagraph:
    rules = hyperparameters(**changes)
    subnet = SubnetInfo(NETUID, b"\x01" * 32, "text", "yuma3", rules, 0, 0, 20, 0, 0)
    return Metagraph(height, subnet, neurons)


class Miner(NamedTuple):
    """A handler and what stands around it."""

    handler: MinerHandler
    admission: Admission
    view: ChainView
    network: MemoryNetwork
    endpoint: Endpoint
    guard: Guard

    async def call(self, request: SignedRequest) -> Response:
        return await self.network.transport().call(self.endpoint, request, deadline=LoopClock().now() + 60_000)

    def stream(self, request: SignedRequest) -> AbstractAsyncContextManager[IncomingStream]:
        return self.network.transport().stream(self.endpoint, request, deadline=LoopClock().now() + 60_000)


MINER, VALIDATOR, STRANGER = SeededKeys(1), SeededKeys(2), SeededKeys(3)


async def start(backend: Backend, rules: Rules | None = None, guard: Guard | None = None) -> Miner:
    """A miner at height 10, where VALIDATOR has 5 tokens of stake; nobody can halt it, unless a guard is given."""
    clock = LoopClock()
    guard = guard or guard_of(MINER, clock, CHAIN)
    verifier = RequestVerifier(MINER.public(KeyRole.HOTKEY), CHAIN, clock, MemoryStore())
    await verifier.open()
    view = ChainView(slack=1, outage_ms=60_000)
    for height in range(1, 11):
        view.see(head(height), clock.now())
    admission = Admission(rules or Rules(), clock)
    admission.update(metagraph(10, neuron(0, VALIDATOR.public(KeyRole.HOTKEY), 5 * TOKEN)))
    handler = MinerHandler(
        keys=MINER, chain=CHAIN, verifier=verifier, clock=clock, entropy=SeededEntropy(), view=view,
        admission=admission, guard=guard, backend=backend,
    )  # fmt: skip
    subject = subject_of_manifest(handler.serving.manifest, MINER.public(KeyRole.HOTKEY))
    handler.serving.subjects = guard.serving = (subject,)
    handler.serving.access = ANYBODY
    network = MemoryNetwork(clock, 0.0, no_delay, Random(0))
    endpoint = Endpoint("miner", 9000, b"\x0f" * 32, b"")
    network.serve(endpoint, BrakeRoutes(guard, handler, clock))
    return Miner(handler, admission, view, network, endpoint, guard)


_nonces = Random(7)


def ask(
    body: dict[str, Any] | bytes,
    *,
    keys: SeededKeys = VALIDATOR,
    anchor: Anchor | None = None,
    recipient: SeededKeys = MINER,
) -> SignedRequest:
    """A signed request for a completion; the model's name is filled in."""
    raw = body if isinstance(body, bytes) else json.dumps({"model": "letters", **body}).encode()
    return sign_request(
        keys, method="POST", path="/v1/completions", body=raw, recipient=recipient.public(KeyRole.HOTKEY), chain=CHAIN,
        anchor=anchor or Anchor(10, head(10).hash), brake_head=EMPTY_BRAKE_HEAD, created=LoopClock().now(),
        nonce=_nonces.randbytes(16),
    )  # fmt: skip


def ports(miner: Miner, ledger: Any) -> Ports:
    """What a miner's node is handed, over the network that the miner is served on."""
    return Ports(MINER, ledger, LoopClock(), SeededEntropy(), MemoryStore(), miner.network.transport())
