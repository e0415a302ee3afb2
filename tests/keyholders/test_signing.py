"""Signatures: who is away, slow or hostile never blocks t others; a coordinator that lies gets nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest

from davy.keyholders.desk import Matter
from davy.keyholders.messages import (
    Answer,
    Ask,
    Commit,
    Committed,
    Consider,
    Declined,
    Noted,
    Released,
    Sign,
    Waiting,
    Willing,
)
from davy.killswitch import frost
from davy.killswitch.group import identifier
from davy.killswitch.keys import PublicKeyPackage
from davy.protocol.encoding import encode
from davy.protocol.errors import (
    Busy,
    DavyError,
    Expired,
    Malformed,
    Refused,
    Unreachable,
)
from davy.protocol.limits import DAY_MS
from davy.protocol.order import (
    Drill,
    Extend,
    Global,
    GroupKey,
    Halt,
    Heartbeat,
    Lease,
    Lift,
    Lower,
    Miner,
    Models,
    Raise,
    Subnet,
    verify_order,
)
from tests.keyholders.blockers import Late
from tests.keyholders.stage import CHAIN, MODEL, Bent, Person, Stage, halt, propose

pytestmark = pytest.mark.anyio

SOME = Models((MODEL,), (), ())
ACTIONS = [
    halt(), halt(authority=GroupKey.LIFT), Halt(Global(), GroupKey.HALT), Halt(Subnet(3), GroupKey.HALT),
    Halt(Miner(MODEL), GroupKey.HALT), Drill(SOME), Raise(SOME), Heartbeat(MODEL), Lease((MODEL,)), Lower((MODEL,), ()),
]  # fmt: skip


@pytest.mark.parametrize("action", ACTIONS, ids=lambda a: type(a).__name__.lower())
async def test_any_keyholder_coordinates_any_order(action: Any) -> None:
    stage = await Stage().start()
    person = stage.people[3]
    done = await person.complete(person.order(action))
    lifting = isinstance(action, Lease | Lower) or action == halt(authority=GroupKey.LIFT)
    assert len(done.signers) == (4 if lifting else 3)
    assert stage.roster is not None
    assert verify_order(done.order.raw, stage.roster, CHAIN).order.action == action


async def test_extend_and_lift_name_orders_that_signers_are_shown() -> None:
    stage = await Stage().start()
    alice = stage.people[0]
    first = await alice.complete(alice.order())
    named = [encode(first.order.order)]
    for person in stage.people:
        person.journal.kept.clear()
    extend = alice.order(Extend(first.order.id, first.order.order.end), end=first.order.order.end + 1000)
    await alice.complete(propose(extend, named))
    stage.orders.clear()
    with pytest.raises(Refused, match="send it along"):
        await alice.complete(alice.order(Lift((b"\1" * 32,))))
    await alice.complete(propose(alice.order(Lift((first.order.id,))), named))


async def test_a_screen_says_what_the_signer_knows_of_the_allowance() -> None:
    stage = Stage()
    for person in stage.people:
        person.yes_to, person.decide = (), lambda _: True
    await stage.start()
    alice = stage.people[0]
    first = (await alice.complete(alice.order())).order
    for person in stage.people[:2]:
        await person.journal.keep_signed(first.id, first.raw)
    extend = alice.order(Extend(first.id, first.order.end), end=first.order.end + DAY_MS)
    await alice.complete(extend)
    screens = [person.seen[1].screen for person in stage.people]
    assert all("by the orders known here 1 days 0 hours are used before this" in text for text in screens), "its HALT's"
    await stage.clock.sleep_until(first.order.end)
    await alice.complete(alice.order())
    told = ["1 days 0 hours are used" in p.seen[2].screen for p in stage.people]
    assert told == [True, True, False, False, False]


async def test_two_of_five_cannot_halt_three_can() -> None:
    stage = await Stage().start()
    stage.away(2, 3, 4)
    with pytest.raises(Expired, match="2 of the 3 keyholders needed said yes; no answer from carol, dave, erin"):
        await stage.people[0].complete(stage.people[0].order())
    await stage.people[4].start()
    assert set((await stage.people[0].complete(stage.people[0].order())).signers) == {"alice", "bob", "erin"}


async def test_three_of_five_cannot_lift_four_can() -> None:
    stage = await Stage().start()
    alice = stage.people[0]
    first = await alice.complete(alice.order())
    stage.away(3, 4)
    with pytest.raises(Expired):
        await alice.complete(alice.order(Lift((first.order.id,))))
    await stage.people[3].start()
    assert len((await alice.complete(alice.order(Lift((first.order.id,))))).signers) == 4


async def test_too_many_noes_end_it_at_once_and_say_who() -> None:
    stage = Stage()
    for n in (1, 2, 3):
        stage.people[n].yes_to, stage.people[n].decide = (), lambda _: False
    await stage.start()
    with pytest.raises(Refused, match="bob: its keyholder said no"):
        await stage.people[0].complete(stage.people[0].order())
    assert anyio.current_time() < 60


async def test_who_comes_late_still_counts() -> None:
    stage = Stage()
    stage.people[2].yes_to = ()
    await stage.start()
    stage.away(3, 4)
    late: list[Matter] = []
    stage.people[2].decide = late.append  # pyright: ignore[reportAttributeAccessIssue]

    async def wake() -> None:
        await anyio.sleep(200)
        late[0].decide(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wake)
        done = await stage.people[0].complete(stage.people[0].order())
        assert set(done.signers) == {"alice", "bob", "carol"}


# --- keyholders that are hostile


def wrong_share(ask: Ask, answer: Answer) -> Answer:
    if isinstance(answer, Released):
        return Released(msgspec.structs.replace(answer.share, share=b"\2" + bytes(31)))
    return answer


def share_beyond_the_order(ask: Ask, answer: Answer) -> Answer:
    if isinstance(answer, Released):
        return Released(msgspec.structs.replace(answer.share, share=b"\xff" * 32))
    return answer


def anothers_share(ask: Ask, answer: Answer) -> Answer:
    if isinstance(answer, Released):
        return Released(msgspec.structs.replace(answer.share, identifier=identifier(1)))
    return answer


def no_points(ask: Ask, answer: Answer) -> Answer:
    if isinstance(answer, Committed):
        return Committed(msgspec.structs.replace(answer.commitments, hiding=b"\1" + bytes(31)))
    return answer


def anothers_commitments(ask: Ask, answer: Answer) -> Answer:
    if isinstance(answer, Committed):
        return Committed(msgspec.structs.replace(answer.commitments, identifier=identifier(1)))
    return answer


@pytest.mark.parametrize(
    "cheat", [wrong_share, share_beyond_the_order, anothers_share, no_points, anothers_commitments]
)
async def test_who_sends_what_is_wrong_is_named_and_the_others_sign(cheat: Callable[[Ask, Answer], Answer]) -> None:
    stage = Stage()
    dave = stage.people[3]
    dave.yes_to = ()
    await stage.start()
    stage.away(4)
    alice = stage.people[0]
    voices = alice.voices()
    voices[identifier(2)] = Bent(voices[identifier(2)], after=cheat)

    def name(who: str, what: str) -> None:
        stage.said.append((who, what))
        if who == "bob" and "not asked again" in what:
            dave.seen[0].decide(True)  # who had no reason to hurry, as long as there were three

    stage.told = name  # pyright: ignore[reportAttributeAccessIssue]
    done = await alice.complete(alice.order(), voices)
    assert done.culprits == ("bob",)
    assert set(done.signers) == {"alice", "carol", "dave"}


class Silent:
    """Says yes, and then nothing in the rounds of one kind."""

    def __init__(self, person: Person, kinds: tuple[type[Ask], ...]) -> None:
        self.name, self.key, self._inner, self._kinds = person.name, person.key, person.attendant, kinds
        self._coordinator = person.stage.people[0].key

    async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
        if isinstance(ask, self._kinds):
            await anyio.sleep(patience_ms / 1000)
            raise Unreachable("nothing")
        return await self._inner.answer(self._coordinator, ask)


@pytest.mark.parametrize("kind", [Consider, Commit, Sign])
async def test_who_is_silent_in_a_round_costs_that_round(kind: type[Ask]) -> None:
    stage = await Stage().start()
    alice = stage.people[0]
    voices = alice.voices()
    for n in (1, 2):
        voices[identifier(n + 1)] = Silent(stage.people[n], (kind,))
    done = await alice.complete(alice.order(), voices)
    assert set(done.signers) == {"alice", "dave", "erin"}
    assert anyio.current_time() < 20


async def test_who_is_wrong_is_named_at_once_though_another_is_silent() -> None:
    stage = await Stage().start()
    alice = stage.people[0]
    voices = alice.voices()
    sent: list[Answer] = []

    def wrong(ask: Ask, answer: Answer) -> Answer:
        sent.extend([answer] if isinstance(answer, Released) else [])
        return wrong_share(ask, answer)

    voices[identifier(2)] = Bent(voices[identifier(2)], after=wrong)
    voices[identifier(3)] = Silent(stage.people[2], (Sign,))
    for n in (4, 5):
        voices[identifier(n)] = Late(voices[identifier(n)])  # so that the first round is of those two
    done = await alice.complete(alice.order(), voices)
    assert done.culprits == ("bob",)
    assert set(done.signers) == {"alice", "dave", "erin"}
    assert len(sent) == 1


async def test_a_coordinator_works_a_package_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a hash and some products for each signer, so once for each share would be quadratic."""
    worked_out: list[frost.SigningPackage] = []
    derive = frost.derive

    def counted(public: PublicKeyPackage, package: frost.SigningPackage) -> frost.Derived:
        worked_out.append(package)
        return derive(public, package)

    monkeypatch.setattr(frost, "derive", counted)
    stage = await Stage().start()
    done = await stage.people[0].complete(stage.people[0].order())
    assert len(worked_out) == len(done.signers) + 1
    assert len(set(worked_out)) == 1


class Answering:
    """Answers every question in one way."""

    def __init__(self, person: Person, answer: Answer | DavyError) -> None:
        self.name, self.key, self._answer = person.name, person.key, answer

    async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
        if isinstance(self._answer, DavyError):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    "answer",
    [Waiting(), Willing((MODEL,)), Noted(), Declined("no", ()), Malformed("x"), Busy("x"), Unreachable("x")],
    ids=lambda a: type(a).__name__,
)
async def test_two_that_answer_nonsense_do_not_block_three(answer: Answer | DavyError) -> None:
    stage = await Stage().start()
    alice = stage.people[0]
    voices = alice.voices()
    for n in (1, 2):
        voices[identifier(n + 1)] = Answering(stage.people[n], answer)
    done = await alice.complete(alice.order(), voices)
    assert set(done.signers) == {"alice", "dave", "erin"}


async def test_a_hostile_quorum_that_never_signs_comes_to_an_end() -> None:
    stage = await Stage().start()
    alice = stage.people[0]
    voices = alice.voices()
    for n in range(1, 5):
        voices[identifier(n + 1)] = Silent(stage.people[n], (Sign,))
    with pytest.raises(Refused, match="said yes and did not sign"):
        await alice.complete(alice.order(), voices)


async def test_a_restart_between_the_rounds_fails_that_attempt_and_no_more() -> None:
    stage = await Stage().start()
    stage.away(3, 4)
    alice, carol = stage.people[0], stage.people[2]
    voices = alice.voices()
    restarted = 0

    class Restarting:
        name, key, inner = carol.name, carol.key, voices[identifier(3)]

        async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
            nonlocal restarted
            if isinstance(ask, Sign) and not restarted:
                restarted += 1
                await carol.start()
            return await self.inner.ask(ask, patience_ms=patience_ms)

    voices[identifier(3)] = Restarting()
    done = await alice.complete(alice.order(), voices)
    assert restarted == 1
    assert set(done.signers) == {"alice", "bob", "carol"}
    assert ("carol", "did not answer a round") in stage.said
