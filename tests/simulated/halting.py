"""A market that keyholders halt, watched from outside: users hold a stream open at every miner, and say when it ended.

Three routes can be cut, each for itself: the ledger never records an order, nobody answers ``POST /brake`` of the
keyholders, no node exchanges orders with another.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import msgspec

from davy.miners.backend import Piece, Tally
from davy.network.error_responses import response_error
from davy.network.fan_out import Addressee, Spreading, Told, spread
from davy.network.openai import CompletionRequest
from davy.network.signed_client import Question, SignedClient
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Busy, DavyError, ModelHalted, NotEnabled
from davy.protocol.limits import MAX_RESULT_BYTES, MAX_SIGNED_ORDER_BYTES
from davy.protocol.order import Global, GroupKey, Halt, SignedOrder, Target, order_id
from davy.protocol.ports import Handler, Response, SignedRequest, StreamReply
from davy.protocol.receipt import Anchor, Outcome, open_receipt
from davy.protocol.recorded import AttestationPage
from davy.protocol.transaction import BrakeOrder, Endpoint, is_brake_order
from tests.simulated.guess import Guesser
from tests.simulated.play import play
from tests.simulated.world import Node, Setting, World
from tests.twins import SeededEntropy
from tests.twins.keyholders import Keyholders

ROUTES: Final = frozenset({"ledger", "fan-out", "pull"})
DAY: Final = 86_400_000
SMALL = Setting(seed=5, miners=4, validators=2, challenges=2, epochs=12, loss=0.01, keyheld=True)
SOON_MS = 15_000
ATTEMPT_MS: Final = 1_000
"""After which a message of the keyholders' is taken to be lost."""


class Patient(Guesser):
    """Takes 50 ms for a token, so that there is something to stop."""

    @asynccontextmanager
    async def generate(
        self, request: CompletionRequest, stopped: Any
    ) -> AsyncIterator[AsyncGenerator[Piece | Tally, None]]:
        async def slowly(items: AsyncIterator[Piece | Tally]) -> AsyncGenerator[Piece | Tally, None]:
            async for item in items:
                if stopped():
                    return
                yield item
                await anyio.sleep(0.05)

        async with super().generate(request, stopped) as items:
            yield slowly(items)


class Doorkeeper:
    """Lets ``/brake`` through by the routes that are open, and everything else."""

    def __init__(self, handler: Handler, routes: frozenset[str]) -> None:
        self._handler, self._routes = handler, routes

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        route = "fan-out" if request.address == "keyholder" else "pull"
        if request.path.startswith("/brake") and route not in self._routes:
            raise NotEnabled("this route is cut")
        return await self._handler.handle(request)


@dataclass
class Watch:
    """What a user saw of one miner."""

    tokens: int = 0
    halted_at: int | None = None
    """In virtual milliseconds, when a stream ended by a halt, or a request was refused for it."""
    order: bytes = b""
    outcomes: list[Outcome] = field(default_factory=list[Outcome])


@dataclass
class Halting:
    """Who halts, who watches, and which routes are open."""

    world: World
    routes: frozenset[str] = ROUTES
    keyholders: Keyholders = field(default_factory=Keyholders)
    seen: dict[str, Watch] = field(default_factory=dict[str, Watch])

    def __post_init__(self) -> None:
        self.world.backend = Patient
        self.world.door = lambda name, handler: Doorkeeper(handler, self.routes)
        take = self.world.ledger.take

        def guarded(raw: bytes) -> bytes:
            if is_brake_order(raw) and "ledger" not in self.routes:
                raise Busy("this ledger takes no orders")
            return take(raw)

        self.world.ledger.take = guarded  # type: ignore[method-assign]

    def order(self, target: Target | None = None) -> bytes:
        """A HALT of everything, unless another target is given."""
        now = self.world.clock.now()
        action = Halt(target or Global(), GroupKey.HALT)
        return self.keyholders.sign(self.keyholders.order(self.world.ledger.chain, action, now, now + DAY))

    async def deliver(self, raw: bytes, to: Callable[[Node], bool] = lambda _: True) -> list[Told]:
        """By the keyholders' routes: to the ledger, and to miners directly."""
        if "ledger" in self.routes:
            self.world.ledger.take(encode(BrakeOrder(raw)))
        nodes = [n for n in self.world.miners if to(n)]
        addressees = [Addressee(_unpinned(self.world.endpoints[n.name]), n.hotkey) for n in nodes]
        transport = self.world.net.transport("keyholder", pinned=False)
        return await spread([raw], addressees, transport, self.world.clock, how=Spreading(10_000, ATTEMPT_MS))

    async def play(self, story: Callable[[], Any]) -> None:
        """Let users watch every miner; the story begins when all of them stream."""

        async def begin() -> None:
            async with anyio.create_task_group() as tasks:
                with anyio.fail_after(240):
                    for node in self.world.miners:
                        tasks.start_soon(self.watch, node)
                    await self.until(self._all_run)
                    await story()
                tasks.cancel_scope.cancel()
            self.world.is_over = True

        await self.world.run(begin)

    def _all_run(self) -> bool:
        brakes = self.world.brakes.values()
        everybody = len(brakes) == len(self.world.miners) + len(self.world.validators)
        watched = len(self.seen) == len(self.world.miners) and all(w.tokens for w in self.seen.values())
        others = len(self.world.miners) - 1
        return everybody and watched and all(b.guard.is_open and len(b.peers.known) >= others for b in brakes)

    async def until(self, true: Callable[[], bool]) -> None:
        """Look again after each of 20 ms; virtual time costs nothing."""
        while not true():  # noqa: ASYNC110
            await anyio.sleep(0.02)

    async def watch(self, node: Node) -> None:
        """Ask one miner again and again, under a validator's key."""
        watch = self.seen[node.name] = Watch()
        name = f"user-of-{node.name}"
        keys = self.world.validators[0].keys
        transport = self.world.net.transport(name)
        client = SignedClient(keys, self.world.ledger.chain, transport, self.world.clock, SeededEntropy(len(self.seen)))
        while watch.halted_at is None:
            try:
                await self._ask(client, node, watch)
            except ModelHalted as e:
                watch.halted_at, watch.order = self.world.clock.now(), e.order
            except (DavyError, KeyError):
                await anyio.sleep(0.1)

    async def _ask(self, client: SignedClient, node: Node, watch: Watch) -> None:
        head = self.world.ledger.head_at(max(1, len(self.world.ledger.headers) - 2))
        body = {"model": node.name, "prompt": "abc", "max_tokens": 200, "stream": True}
        question = Question(
            self.world.endpoints[node.name], node.hotkey, "/v1/completions", msgspec.json.encode(body),
            Anchor(head.height, head.hash), bytes(32),
        )  # fmt: skip
        async with client.stream(question, deadline=self.world.clock.now() + 30_000) as (_, incoming):
            async for frame in incoming.frames:
                if incoming.status != 200:
                    raise response_error(Response(incoming.status, incoming.headers, frame))
                if frame.startswith(b": receipt "):
                    receipt = open_receipt(base64.b64decode(frame.removeprefix(b": receipt ")))
                    watch.outcomes.append(receipt.outcome)
                    if receipt.outcome is Outcome.HALTED:
                        watch.halted_at = self.world.clock.now()
                elif frame.startswith(b'data: {"error"'):
                    told = response_error(Response(451, (), frame.removeprefix(b"data: ")))
                    watch.order = told.order if isinstance(told, ModelHalted) else b""
                else:
                    watch.tokens += 1

    def all_halted(self) -> bool:
        """Whether every watched miner stopped, as its user saw it."""
        return all(w.halted_at is not None for w in self.seen.values())

    async def answers(self, raw: bytes, blocks: int = 8) -> set[bytes]:
        """The nodes whose answers to an order stand on the ledger some blocks later."""
        for _ in range(blocks):
            await self.world.ledger.next_block()
        asked = order_id(decode(raw, SignedOrder, limit=MAX_SIGNED_ORDER_BYTES).order) + bytes(32)
        told = await self.world.validators[0].client.query("/attestations", asked)
        return {a.node for a in decode(told, AttestationPage, limit=MAX_RESULT_BYTES).attestations}

    def heads(self) -> set[bytes]:
        """Heads of all nodes, validators too."""
        return {b.guard.head for b in self.world.brakes.values()}


def _unpinned(endpoint: Endpoint) -> Endpoint:
    """As an address book has it: where, and no certificate."""
    return Endpoint(endpoint.host, endpoint.port, bytes(32), b"")


async def forever() -> None:
    await anyio.sleep_forever()


def halted(routes: frozenset[str] = ROUTES, only_first: bool = False) -> dict[str, Any]:
    """Play a history in which everything is halted by these routes; tell what users saw."""

    async def story(world: World) -> dict[str, Any]:
        halting = Halting(world, routes)
        told: dict[str, Any] = {}

        async def halt() -> None:
            raw = halting.order()
            told["given"] = world.clock.now()
            told["attested"] = [
                t.is_reached for t in await halting.deliver(raw, lambda n: not only_first or n.name == "miner-0")
            ]
            with anyio.move_on_after(SOON_MS / 1000):
                await halting.until(lambda: halting.all_halted() and len(halting.heads()) == 1)
            told["halted"] = {n.name: halting.seen[n.name].halted_at for n in world.miners}
            told["orders"] = {w.order for w in halting.seen.values()} == {raw}
            told["heads"] = len(halting.heads())
            told["answers"] = await halting.answers(raw)
            told["outcomes"] = [w.outcomes[-1] for w in halting.seen.values() if w.outcomes]

        await halting.play(halt)
        return told

    return play(SMALL, story)


def restarted(*, backup: bool, cut: bool, change: Any = None) -> dict[str, Any]:
    """Halt, then start a miner anew on its disk or on a backup from before, with or without anybody to ask."""

    async def story(world: World) -> dict[str, Any]:
        halting = Halting(world)
        told: dict[str, Any] = {}

        async def halt() -> None:
            node = world.miners[0]
            before = node.store.copy()
            await halting.deliver(halting.order())
            await halting.until(halting.all_halted)
            world.crash(node)
            if backup:
                node.store = before
            if cut:
                for other in (*world.miners[1:], *world.validators):
                    world.net.cut(node.name, other.name)
                carry, node.client._carry = node.client._carry, forever  # type: ignore[assignment]
            if change is not None:
                world.braked = lambda name, brake: change(brake)
            await world.start_miner(node)
            guard = world.brakes[node.name].guard
            await anyio.sleep(3)
            told["cut off"] = verdict_of(world)
            if cut:
                world.net.heal()
                node.client._carry = carry  # pyright: ignore[reportPossiblyUnboundVariable]
                world.crash(node)
                await world.start_miner(node)
                guard = world.brakes[node.name].guard
                await halting.until(lambda: guard.is_open)
            told["healed"] = verdict_of(world)

        await halting.play(halt)
        return told

    return play(SMALL, story)


def verdict_of(world: World) -> str:
    """What the first miner's guard says of what it serves, or, before it looked that up, of its neighbour's."""
    guard = world.brakes["miner-0"].guard
    subject = (guard.serving or world.brakes["miner-1"].guard.serving)[0]
    try:
        guard.permit(subject)
    except Busy:
        return "not open"
    except Exception as e:
        return type(e).__name__
    return "permitted"
