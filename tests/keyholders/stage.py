"""Five keyholders in one process: each with keys, journal, vault, desk and door of its own, over memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any

import anyio

from davy.keyholders.assembly import found
from davy.keyholders.circle import Circle, Holder
from davy.keyholders.coordinator import OVER_A_NETWORK, Completed, Means, Party, Waits, completed, gather
from davy.keyholders.desk import HOLD_MS, Desk, Matter
from davy.keyholders.founding import Founder
from davy.keyholders.keys import Holdings, Office, first_holdings, generation_id, open_holdings
from davy.keyholders.mending import Mender
from davy.keyholders.messages import Answer, Ask, Consider
from davy.keyholders.server import Attendant, Door
from davy.keyholders.signer import Signer
from davy.keyholders.standing import SteadyJournal, named_ids
from davy.keyholders.voice import MemberKeys, OwnVoice, RemoteVoice, Voice
from davy.killswitch.group import Identifier, identifier
from davy.network.memory import MemoryNetwork, no_delay
from davy.network.signed_client import SignedClient
from davy.protocol.encoding import encode
from davy.protocol.errors import Busy, Misconfigured, NoSuchKey, StoreFailed
from davy.protocol.limits import DAY_MS
from davy.protocol.order import GroupKey, Halt, Models, Order, OrderAction, VerifiedOrder, reason_digest
from davy.protocol.roster import Roster, roster_digest
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole, PublicKey
from tests.twins import LoopClock, MemoryStore, SeededEntropy, SeededKeys
from tests.twins.dealer import deal

NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")
CHAIN = bytes(range(32))
REASON = "it answers with other people's mail"
MODEL = b"\x07" * 32
KINDS = (
    "halt", "extend", "drill", "raise", "lower", "lift", "lease", "heartbeat", "install", "dkg", "refresh", "repair",
)  # fmt: skip


class MemoryJournal:
    """As `davy.host.journal`; `full` refuses."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.whole: dict[bytes, bytes] = {}
        self.full = False
        self.drilled: bytes | None = None

    async def keep(self, order: bytes, body: bytes) -> None:
        if self.full:
            raise Misconfigured("the disk is full; free some space")
        self.kept[order] = body

    async def keep_signed(self, order: bytes, signed: bytes) -> None:
        if self.full:
            raise StoreFailed("the disk is full; free some space")
        self.whole[order] = signed

    async def drop(self, order: bytes) -> None:
        self.kept.pop(order, None)
        self.whole.pop(order, None)

    async def keep_drill(self, signed: bytes) -> None:
        self.drilled = signed

    async def drill(self) -> bytes | None:
        return self.drilled

    async def orders(self) -> list[bytes]:
        return list(self.kept.values())

    async def signed(self) -> list[bytes]:
        return list(self.whole.values())


class MemoryVault:
    """As `davy.host.shares`, unencrypted; a `slow` one takes so many seconds to write."""

    def __init__(self) -> None:
        self.bodies: dict[bytes, bytes] = {}
        self.full = False
        self.slow = 0.0

    async def keep(self, roster: bytes, body: bytes) -> None:
        await anyio.sleep(self.slow)
        if roster in self.bodies:
            raise Misconfigured("there are shares of this roster already")
        self.bodies[roster] = body

    async def replace(self, roster: bytes, old: bytes, new: bytes) -> None:
        await anyio.sleep(self.slow)
        if self.full:
            raise StoreFailed("the disk is full; free some space")
        if self.bodies[roster] != old:
            raise Busy("another process changed it")
        self.bodies[roster] = new

    async def open(self, roster: bytes) -> bytes:
        if roster not in self.bodies:
            raise NoSuchKey("there are none")
        return self.bodies[roster]


class Person:
    """One keyholder: what survives a restart, and the process."""

    def __init__(self, stage: Stage, name: str, keys: SeededKeys, endpoint: Endpoint) -> None:
        self.stage, self.name, self.keys, self.endpoint = stage, name, keys, endpoint
        self.key = keys.public(KeyRole.KEYHOLDER)
        self.journal, self.vault, self.store = MemoryJournal(), MemoryVault(), MemoryStore()
        self.yes_to: Collection[str] = KINDS
        self.hold_ms = HOLD_MS
        self._opened: tuple[bytes, Holdings] | None = None
        self.seen: list[Matter] = []
        self.finished: list[VerifiedOrder] = []
        self.decide: Callable[[Matter], bool | None] = lambda _: None
        """For matters that no policy answers; None leaves them on the desk."""

    async def start(self) -> None:
        """A fresh process, with what was on disk."""
        entropy = self.make_desk()
        self.signer = Signer(
            self.stage.circle,
            self,
            desk=self.desk,
            journal=SteadyJournal(self.journal),
            clock=self.stage.clock,
            entropy=entropy,
            finished=self.finished.append,
        )
        founding = Founder(
            self.stage.circle,
            self.keys,
            desk=self.desk,
            vault=self.vault,
            clock=self.stage.clock,
            entropy=entropy,
        )
        self.mender = Mender(
            self.stage.circle,
            self.keys,
            self.read_roster,
            desk=self.desk,
            vault=self.vault,
            clock=self.stage.clock,
            entropy=entropy,
        )
        self.attendant = Attendant(self.signer, founding, self.mender)
        self.door = Door([(self.stage.circle, self.attendant)], self.key, self.stage.clock, self.store)
        await self.door.open()
        self.stage.network.serve(self.endpoint, self.door)
        transport = self.stage.network.transport(self.endpoint.host)
        self.client = SignedClient(
            MemberKeys(self.keys), self.stage.circle.digest, transport, self.stage.clock, entropy
        )

    def make_desk(self) -> SeededEntropy:
        self.desk = Desk(self.stage.clock, yes_to=self.yes_to, hold_ms=self.hold_ms, arrived=self._look)
        self.entropy = SeededEntropy(self.stage.rng.getrandbits(64))
        return self.entropy

    def _look(self, matter: Matter) -> None:
        self.seen.append(matter)
        decision = self.decide(matter)
        if decision is not None:
            matter.decide(decision)

    async def read_roster(self) -> Roster:
        if self.stage.roster is None:
            raise Misconfigured("there is no genesis here yet")
        return self.stage.roster

    async def in_office(self) -> tuple[bytes, Roster]:
        return CHAIN, await self.read_roster()

    async def office(self) -> Office:
        return await self.accession(await self.read_roster())

    async def accession(self, roster: Roster) -> Office:
        raw = await self.vault.open(roster_digest(roster))
        if self._opened is None or self._opened[0] != raw:
            self._opened = raw, open_holdings(raw, self.key)
        return Office(CHAIN, roster, self._opened[1])

    def voices(self) -> dict[Identifier, Voice]:
        """Everybody, as this one asks them: itself in its own process."""
        return {
            identifier(n): OwnVoice(h.name, h.key, self.attendant.answer)
            if h.key == self.key
            else RemoteVoice(h, self.client, self.stage.clock)
            for n, h in enumerate(self.stage.circle.holders, 1)
        }

    def order(self, action: OrderAction | None = None, *, end: int | None = None, **changes: Any) -> Order:
        now = self.stage.clock.now()
        assert self.stage.roster is not None
        act = action or halt()
        lasts = type(act).__name__ in ("Lift", "Raise", "Lower", "Heartbeat", "Install")
        given = {
            "version": 1,
            "chain": CHAIN,
            "epoch": self.stage.roster.epoch,
            "roster": roster_digest(self.stage.roster),
            "action": act,
            "reason": reason_digest(REASON),
            "issued": now,
            "end": end if end is not None else 0 if lasts else now + DAY_MS,
            "nonce": self.entropy.bytes(16),
        }
        return Order(**(given | changes))

    def means(self) -> Means:
        return Means(self.stage.clock, self.entropy, self.stage.told)

    async def complete(self, proposal: Consider | Order, voices: dict[Identifier, Voice] | None = None) -> Completed:
        """Coordinate; what an order names is sent along, as its coordinator's command does."""
        if isinstance(proposal, Order):
            named = [self.stage.orders[i] for i in named_ids(proposal.action) if i in self.stage.orders]
            proposal = propose(proposal, named)
        done = await complete(Party(await self.office(), voices or self.voices()), proposal, self.means())
        self.stage.orders[done.order.id] = encode(done.order.order)
        return done


async def complete(party: Party, proposal: Consider, means: Means, waits: Waits = OVER_A_NETWORK) -> Completed:
    """Have an order signed, and put together, as `davy halt` does."""
    return completed(party.office, proposal.order, [await gather(party, proposal, means, waits)])


class Stage:
    """All of them; `at` numbers are by key, as identifiers are."""

    def __init__(self, seed: int = 0, people: int = 5, halt: int = 3, lift: int = 4) -> None:
        self._terms = people, halt, lift
        self.rng = Random(seed)
        self.clock = LoopClock()
        self.network = MemoryNetwork(self.clock, 0.0, no_delay, Random(seed))
        self.said: list[tuple[str, str]] = []
        self.orders: dict[bytes, bytes] = {}
        self.roster: Roster | None = None
        self.generation = b""
        keys = sorted((SeededKeys(100 + n) for n in range(people)), key=lambda k: k.public(KeyRole.KEYHOLDER))
        endpoints = [Endpoint(f"holder{n}", 7400, bytes([n]) * 32, b"") for n in range(people)]
        self.people = [Person(self, name, k, e) for name, k, e in zip(NAMES, keys, endpoints, strict=False)]
        self.circle = Circle(tuple(Holder(p.name, p.endpoint, p.key) for p in self.people))

    async def start(self, *, dealt: bool = True) -> Stage:
        """Start everybody; with keys of a dealer, or without any."""
        if dealt:
            self.deal()
        for person in self.people:
            await person.start()
        return self

    def deal(self) -> None:
        """What a ceremony ends with, without the ceremony."""
        people, t_halt, t_lift = self._terms
        groups = {
            GroupKey.HALT: deal(t_halt, people, SeededEntropy(1)),
            GroupKey.LIFT: deal(t_lift, people, SeededEntropy(2)),
        }
        halt_public, lift_public = (groups[k].public for k in GroupKey)
        self.roster = Roster(1, 0, halt_public.group_key, lift_public.group_key, t_halt, t_lift, self.circle.keys)
        for n, person in enumerate(self.people, 1):
            halt, lift = (groups[k].keys[identifier(n)] for k in GroupKey)
            holdings = first_holdings(self.roster, (halt, halt_public), (lift, lift_public))
            person.vault.bodies[roster_digest(self.roster)] = encode(holdings)
            self.generation = generation_id(holdings.office.generation)

    async def found(self, coordinator: int = 0, voices: dict[PublicKey, Voice] | None = None, **changes: Any) -> Roster:
        person = self.people[coordinator]
        given: dict[str, Any] = {"epoch": 0, "halt_threshold": 3, "lift_threshold": 4, "patience_ms": 600_000}
        asked = voices or {v.key: v for v in person.voices().values()}
        return await found(
            self.circle, asked, clock=self.clock, entropy=person.entropy, told=self.told, **(given | changes)
        )

    def told(self, name: str, what: str) -> None:
        self.said.append((name, what))

    def away(self, *numbers: int) -> None:
        for n in numbers:
            self.network.stop(self.people[n].endpoint)


def halt(model: bytes = MODEL, authority: GroupKey = GroupKey.HALT) -> Halt:
    return Halt(Models((model,), (), ()), authority)


def propose(order: Order, named: Sequence[bytes] = (), reason: str = REASON) -> Consider:
    return Consider(encode(order), reason, tuple(named))


class Bent:
    """A voice that passes every question through a function, or answers by itself."""

    def __init__(
        self,
        inner: Voice,
        before: Callable[[Ask], Ask] = lambda a: a,
        after: Callable[[Ask, Answer], Answer] = lambda _, a: a,
    ) -> None:
        self.name, self.key, self._inner, self._before, self._after = inner.name, inner.key, inner, before, after

    async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
        return self._after(ask, await self._inner.ask(self._before(ask), patience_ms=patience_ms))
