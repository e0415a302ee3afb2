"""Two rosters in one process: today's five, and five who are to follow: carol, dave and erin stay, two others come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import anyio
import msgspec

from davy.keyholders.circle import Circle, Holder
from davy.keyholders.coordinator import Completed, Party, Signed, completed, tell
from davy.keyholders.keys import Office, first_holdings, open_holdings
from davy.keyholders.messages import Answer, Ask, Consider
from davy.keyholders.signer import Signer
from davy.keyholders.standing import SteadyJournal, in_force, known
from davy.keyholders.succession import Installing, install, roster_in_office
from davy.keyholders.voice import Voice
from davy.killswitch.group import Identifier, identifier
from davy.protocol.encoding import encode
from davy.protocol.genesis import chain_id
from davy.protocol.order import GroupKey, Install, Order, OrderAction, order_id, reason_digest
from davy.protocol.roster import Roster, roster_digest
from davy.protocol.transaction import Endpoint
from davy.protocol.words import PublicKey
from tests.keyholders.stage import REASON, Person, Stage, complete
from tests.killswitch.story import genesis
from tests.twins import SeededEntropy, SeededKeys
from tests.twins.dealer import deal

STAY = (2, 3, 4)


class Near:
    """A keyholder that is asked in this process by `asking`; `bend` may change its answers, `slow` delays them."""

    def __init__(self, asking: PublicKey, signer: Signer, person: Person) -> None:
        self.name, self.key, self._asking, self._signer = person.name, person.key, asking, signer
        self.bend: Callable[[Answer], Answer] = lambda answer: answer
        self.slow = 0.0

    async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
        await anyio.sleep(self.slow)
        return self.bend(await self._signer.answer(self._asking, ask))  # type: ignore[arg-type]


class Seats:
    """`davy.keyholders.keys.Offices` of one person, from the genesis and what it heard."""

    def __init__(self, two: Two, person: Person) -> None:
        self._two, self._person = two, person

    async def in_office(self) -> tuple[bytes, Roster]:
        return self._two.chain, roster_in_office(self._two.genesis, await self._person.journal.signed())

    async def office(self) -> Office:
        return await self.accession((await self.in_office())[1])

    async def accession(self, roster: Roster) -> Office:
        raw = await self._person.vault.open(roster_digest(roster))
        return Office(self._two.chain, roster, open_holdings(raw, self._person.key))


class Side(NamedTuple):
    """One roster's people, in the order of their keys."""

    roster: Roster
    circle: Circle
    people: list[Person]
    signers: list[Signer]


class Two:
    """Both rosters; `coordinator` stands in both."""

    def __init__(self, stage: Stage) -> None:
        assert stage.roster is not None
        self.stage = stage
        self.genesis = genesis((stage.roster,))
        self.chain = chain_id(self.genesis)
        self.coordinator = stage.people[STAY[0]]
        self.old = self._side(stage.roster, stage.circle, stage.people)
        self.new = self._follow()

    def _side(self, roster: Roster, circle: Circle, people: list[Person]) -> Side:
        names = {p.key: p.name for p in self.stage.people}
        signers = [
            Signer(
                circle, Seats(self, p), desk=p.desk, journal=SteadyJournal(p.journal), clock=self.stage.clock,
                entropy=p.entropy, names=names, finished=p.finished.append,
            )
            for p in people
        ]  # fmt: skip
        return Side(roster, circle, people, signers)

    def _follow(self) -> Side:
        come = [self._newcomer(name, seed) for name, seed in (("frank", 200), ("grace", 201))]
        people = sorted([*(self.stage.people[n] for n in STAY), *come], key=lambda p: p.key)
        circle = Circle(tuple(Holder(p.name, p.endpoint, p.key) for p in people))
        dealt = {GroupKey.HALT: deal(3, 5, SeededEntropy(3)), GroupKey.LIFT: deal(4, 5, SeededEntropy(4))}
        halt, lift = (dealt[k].public for k in GroupKey)
        roster = Roster(1, 1, halt.group_key, lift.group_key, 3, 4, circle.keys)
        for n, person in enumerate(people, 1):
            keys = [(dealt[k].keys[identifier(n)], dealt[k].public) for k in GroupKey]
            person.vault.bodies[roster_digest(roster)] = encode(first_holdings(roster, keys[0], keys[1]))
        return self._side(roster, circle, people)

    def _newcomer(self, name: str, seed: int) -> Person:
        person = Person(self.stage, name, SeededKeys(seed), Endpoint(name, 7400, bytes(32), b""))
        person.make_desk()
        return person

    def voices(self, side: Side) -> dict[Identifier, Near]:
        return {
            identifier(n): Near(self.coordinator.key, signer, p)
            for n, (p, signer) in enumerate(zip(side.people, side.signers, strict=True), 1)
        }

    async def proposal(self, **changes: Any) -> Installing:
        """What the coordinator's command proposes."""
        k = await known(self.coordinator.journal)
        now = self.stage.clock.now()
        named = in_force(k, now)
        carried = tuple(sorted(map(order_id, named)))
        old = self.old.roster
        order = Order(
            1, self.chain, old.epoch, roster_digest(old), Install(self.new.roster, roster_digest(old), carried),
            reason_digest(REASON), now, 0, self.coordinator.entropy.bytes(16),
        )  # fmt: skip
        return Installing(encode(msgspec.structs.replace(order, **changes)), REASON, tuple(named))

    async def party(self, side: Side, voices: Mapping[Identifier, Voice] | None = None) -> Party:
        office = await Seats(self, self.coordinator).accession(side.roster)
        return Party(office, voices or self.voices(side))

    async def install(
        self, what: Installing | None = None, *, old: Any = None, new: Any = None, **how: Any
    ) -> Completed:
        what = what or await self.proposal()
        signed = await self.signatures(what, old, new, **how)
        return completed((await self.party(self.old)).office, what.order, signed)

    async def signatures(self, what: Installing, old: Any = None, new: Any = None, **how: Any) -> list[Signed]:
        before, after = await self.party(self.old, old), await self.party(self.new, new)
        return await install(before, after, what, self.coordinator.means(), **how)

    async def sign(self, side: Side, action: OrderAction, *, end: int = 0, named: Sequence[bytes] = ()) -> Completed:
        """One roster's order, told to all of it."""
        now = self.stage.clock.now()
        order = Order(
            1, self.chain, side.roster.epoch, roster_digest(side.roster), action, reason_digest(REASON), now,
            end, self.coordinator.entropy.bytes(16),
        )  # fmt: skip
        party = await self.party(side)
        done = await complete(party, Consider(encode(order), REASON, tuple(named)), self.coordinator.means())
        await tell(party.voices, done.order.raw)
        return done

    def restart(self, **policy: Any) -> None:
        """Everybody once more, with fresh desks."""
        people = {p.key: p for side in (self.old, self.new) for p in side.people}
        for person in people.values():
            for name, value in policy.items():
                setattr(person, name, value)
            person.make_desk()
        self.old, self.new = (self._side(side.roster, side.circle, side.people) for side in (self.old, self.new))

    def signer(self, name: str) -> Signer:
        """Of one of the next roster."""
        return next(s for p, s in zip(self.new.people, self.new.signers, strict=True) if p.name == name)

    def everybody(self) -> Sequence[tuple[Person, Signer]]:
        return [pair for side in (self.old, self.new) for pair in zip(side.people, side.signers, strict=True)]
