"""Coordinators that lie: what one signer answers them; and what a LIFT must name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest

from davy.keyholders import standing
from davy.keyholders.claims import LeavesStanding
from davy.keyholders.desk import Matter
from davy.keyholders.messages import (
    Answer,
    Ask,
    Commit,
    Committed,
    Consider,
    Declined,
    Finished,
    Noted,
    Released,
    Sign,
    Waiting,
    Willing,
)
from davy.killswitch.frost import SigningPackage, signing_package
from davy.killswitch.group import identifier
from davy.protocol.encoding import encode
from davy.protocol.errors import (
    DavyError,
    Expired,
    Malformed,
    Misconfigured,
    Misdirected,
    Refused,
    Replayed,
    Unauthorised,
)
from davy.protocol.limits import DAY_MS, MAX_MATTERS, SIGNER_SKEW_MS
from davy.protocol.order import (
    Drill,
    Global,
    GroupKey,
    Halt,
    Lease,
    Lift,
    Miner,
    Models,
    Order,
    order_id,
    reason_digest,
)
from davy.protocol.signing import Domain, prefix
from tests.keyholders.stage import MODEL, REASON, Person, Stage, propose

pytestmark = pytest.mark.anyio
SOME = Models((MODEL,), (), ())


class Rig:
    """Bob as a signer, carol and dave as coordinators who hold shares of their own."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.alice, self.bob, self.carol, self.dave, _ = stage.people

    async def ask(self, ask: Ask, sender: Person | None = None) -> Answer:
        return await self.bob.attendant.answer((sender or self.carol).key, ask)

    async def agreed(self, order: Order, sender: Person | None = None) -> bytes:
        assert isinstance(await self.ask(propose(order), sender), Willing)
        return order_id(encode(order))

    async def package(self, order: Order, attempt: bytes, sender: Person | None = None) -> SigningPackage:
        """A right package of alice, bob and the coordinator."""
        who = sender or self.carol
        i = order_id(encode(order))
        commitments: list[Any] = []
        for person in (self.alice, self.bob, who):
            if not isinstance(await person.attendant.answer(who.key, propose(order)), Willing):
                raise AssertionError
            said = await person.attendant.answer(who.key, Commit(i, attempt, who.stage.generation))
            assert isinstance(said, Committed)
            commitments.append(said.commitments)
        _, public = (await self.bob.office()).keys.of(GroupKey.HALT)
        return signing_package(public, prefix(Domain.ORDER) + encode(order), commitments)


@pytest.fixture
async def rig() -> Rig:
    return Rig(await Stage().start())


A, B = b"\1" * 16, b"\2" * 16


async def test_a_right_package_is_signed_once(rig: Rig) -> None:
    order = rig.bob.order()
    package = await rig.package(order, A)
    i = order_id(encode(order))
    assert isinstance(await rig.ask(Sign(i, A, package)), Released)
    assert rig.bob.journal.kept == {i: encode(order)}
    with pytest.raises(Replayed):
        await rig.ask(Sign(i, A, package))


async def test_another_message_under_an_agreed_order(rig: Rig) -> None:
    order = rig.bob.order()
    package = await rig.package(order, A)
    swapped = msgspec.structs.replace(package, message=prefix(Domain.ORDER) + encode(rig.bob.order()))
    with pytest.raises(Misdirected, match="not the one agreed to"):
        await rig.ask(Sign(order_id(encode(order)), A, swapped))
    with pytest.raises(Replayed):
        await rig.ask(Sign(order_id(encode(order)), A, package))


async def test_the_same_bytes_in_another_domain(rig: Rig) -> None:
    order = rig.bob.order()
    package = await rig.package(order, A)
    swapped = msgspec.structs.replace(package, message=prefix(Domain.TX) + encode(order))
    with pytest.raises(Misdirected, match="not the one agreed to"):
        await rig.ask(Sign(order_id(encode(order)), A, swapped))


async def test_another_signer_set(rig: Rig) -> None:
    order = rig.bob.order()
    package = await rig.package(order, A)
    without = msgspec.structs.replace(package, commitments=package.commitments[:1] + package.commitments[2:])
    with pytest.raises(Misdirected, match="does not hold the commitments"):
        await rig.ask(Sign(order_id(encode(order)), A, without))


async def test_too_few_signers(rig: Rig) -> None:
    order = rig.bob.order()
    package = await rig.package(order, A)
    two = msgspec.structs.replace(package, commitments=package.commitments[:2])
    with pytest.raises(Malformed):
        await rig.ask(Sign(order_id(encode(order)), A, two))


async def test_commitments_of_an_earlier_attempt(rig: Rig) -> None:
    order = rig.bob.order()
    old = await rig.package(order, A)
    await rig.package(order, B)
    i = order_id(encode(order))
    with pytest.raises(Misdirected, match="does not hold the commitments"):
        await rig.ask(Sign(i, B, old))
    with pytest.raises(Replayed):
        await rig.ask(Sign(i, A, old))


async def test_two_coordinators_at_once_do_not_meet(rig: Rig) -> None:
    mine, yours = rig.bob.order(), rig.bob.order()
    first = await rig.package(mine, A, rig.carol)
    second = await rig.package(yours, A, rig.dave)
    crossed = msgspec.structs.replace(first, commitments=second.commitments)
    with pytest.raises(DavyError):
        await rig.ask(Sign(order_id(encode(mine)), A, crossed), rig.carol)
    assert isinstance(await rig.ask(Sign(order_id(encode(yours)), A, second), rig.dave), Released)
    with pytest.raises(Replayed):
        await rig.ask(Sign(order_id(encode(mine)), A, first), rig.dave)


async def test_two_coordinators_at_once_both_succeed() -> None:
    stage = await Stage().start()
    done: list[bytes] = []

    async def one(person: Person) -> None:
        done.append((await person.complete(person.order())).order.id)

    async with anyio.create_task_group() as tasks:
        for person in stage.people:
            tasks.start_soon(one, person)
    assert len(set(done)) == 5


async def test_the_other_key(rig: Rig) -> None:
    order = rig.bob.order()
    package = await rig.package(order, A)
    lift, _ = (await rig.bob.office()).roster.lift, None
    with pytest.raises(Misdirected, match="another key"):
        await rig.ask(Sign(order_id(encode(order)), A, msgspec.structs.replace(package, group_key=lift)))


async def test_without_a_yes_nothing_is_committed_or_signed(rig: Rig) -> None:
    rig.bob.yes_to = ()
    await rig.bob.start()
    order = rig.bob.order()
    i = order_id(encode(order))
    with pytest.raises(Expired):
        await rig.ask(Commit(i, A, rig.bob.stage.generation))
    assert await rig.ask(propose(order)) == Waiting()
    with pytest.raises(Unauthorised):
        await rig.ask(Commit(i, A, rig.bob.stage.generation))
    rig.bob.desk.decide(i.hex(), False)
    assert isinstance(await rig.ask(propose(order)), Declined)
    with pytest.raises(Unauthorised):
        await rig.ask(Commit(i, A, rig.bob.stage.generation))


async def test_a_yes_is_to_these_bytes_alone(rig: Rig) -> None:
    order = rig.bob.order()
    await rig.agreed(order)
    other = msgspec.structs.replace(order, end=order.end + 1)
    with pytest.raises(Expired):
        await rig.ask(Commit(order_id(encode(other)), A, rig.bob.stage.generation))


async def test_a_restart_forgets_every_yes(rig: Rig) -> None:
    order = rig.bob.order()
    i = await rig.agreed(order)
    await rig.bob.start()
    with pytest.raises(Expired):
        await rig.ask(Commit(i, A, rig.bob.stage.generation))


async def test_a_yes_is_worth_nothing_after_five_minutes(rig: Rig) -> None:
    order = rig.bob.order()
    package = await rig.package(order, A)
    await anyio.sleep(SIGNER_SKEW_MS / 1000 + 1)
    with pytest.raises(Expired):
        await rig.ask(Sign(order_id(encode(order)), A, package))
    assert not rig.bob.journal.kept


async def test_a_stranger_asks_for_nothing(rig: Rig) -> None:
    with pytest.raises(Unauthorised):
        await rig.bob.attendant.answer(b"\3" * 32, propose(rig.bob.order()))


async def test_a_whole_order_is_checked_before_it_is_believed(rig: Rig) -> None:
    done = await rig.carol.complete(rig.carol.order())
    forged = done.order.raw[:-1] + bytes([done.order.raw[-1] ^ 1])
    with pytest.raises(Refused):
        await rig.ask(Finished(forged))
    assert not rig.bob.journal.whole
    rig.bob.yes_to = ()
    await rig.bob.start()
    order = done.order.order
    rig.bob.hold_ms = 0
    assert await rig.ask(propose(order)) == Waiting()
    for _ in range(2):
        assert await rig.ask(Finished(done.order.raw)) == Noted()
    assert rig.bob.desk.undecided() == [], "what is signed needs no answer any more"
    assert [o.id for o in rig.bob.finished] == [done.order.id]


async def test_a_flood_of_whole_orders_fills_no_journal_and_hides_none(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stole the HALT key signs what he likes: no more of a kind is kept than a brake keeps; all is released."""
    monkeypatch.setattr(standing, "MAX_BRAKE_ORDERS", 1)
    flood = [(await rig.alice.complete(rig.alice.order())).order for _ in range(3)]
    lease = (await rig.alice.complete(rig.alice.order(Lease((MODEL,)), end=rig.stage.clock.now() + 10_000_000))).order
    for order in (*flood, lease, *flood):
        await rig.ask(Finished(order.raw))
    assert set(rig.bob.journal.whole) == {flood[0].id, flood[1].id, lease.id}
    assert [o.id for o in rig.bob.finished] == [o.id for o in (*flood, lease)]


async def test_an_order_is_released_again_though_the_journal_takes_none(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = await rig.alice.complete(rig.alice.order())

    async def full(*_: object) -> None:
        raise Misconfigured("full")

    monkeypatch.setattr(rig.bob.journal, "keep_signed", full)
    with pytest.raises(Misconfigured):
        await rig.ask(Finished(done.order.raw))
    assert [o.id for o in rig.bob.finished] == [done.order.id]


async def test_lapsed_leases_leave_the_journal_with_the_next_one(rig: Rig) -> None:
    first = rig.alice.order(Lease((MODEL,)), end=rig.stage.clock.now() + 1_000)
    done = await rig.alice.complete(first)
    await rig.ask(Finished(done.order.raw))
    halt = await rig.alice.complete(rig.alice.order())
    await rig.ask(Finished(halt.order.raw))
    rig.stage.clock._start += 4 * DAY_MS
    lapsed = await rig.ask(Finished(done.order.raw))
    assert lapsed == Noted()
    again = rig.alice.order(Lease((MODEL,)), end=rig.stage.clock.now() + 1_000)
    await rig.ask(Finished((await rig.alice.complete(again)).order.raw))
    assert set(rig.bob.journal.whole) == {halt.order.id, order_id(encode(again))}
    assert set(rig.bob.journal.kept) <= {halt.order.id, order_id(encode(again))}


async def test_one_keyholder_cannot_fill_the_desk(rig: Rig) -> None:
    answers = [await rig.ask(propose(rig.bob.order())) for _ in range(65)]
    assert [isinstance(a, Willing) for a in answers] == [True] * 64 + [False]
    assert isinstance(answers[-1], Declined)
    assert "lie here" in answers[-1].why
    assert isinstance(await rig.ask(propose(rig.bob.order()), rig.dave), Willing)
    await anyio.sleep(SIGNER_SKEW_MS / 1000 + 1)
    assert isinstance(await rig.ask(propose(rig.bob.order())), Willing)


async def test_many_proposals_of_one_keyholder_do_not_keep_its_halt_away(rig: Rig) -> None:
    """Neither a day of ceremonies nor leases that nobody answered: the oldest of them gives way."""
    rig.bob.yes_to, rig.bob.hold_ms = (), 0
    await rig.bob.start()
    day = rig.stage.clock.now() + DAY_MS
    for n in range(MAX_MATTERS):
        rig.bob.desk.put(Matter(bytes([n]) * 32, "dkg", "", rig.carol.key, day))
    leases = [propose(rig.bob.order(Lease((MODEL,)), end=day)) for _ in range(MAX_MATTERS)]
    assert [await rig.ask(ask) for ask in leases] == [Waiting()] * MAX_MATTERS
    halt = propose(rig.bob.order())
    assert await rig.ask(halt) == Waiting()
    answer = await rig.ask(leases[0])
    assert isinstance(answer, Declined)
    assert "took its place" in answer.why
    waiting = rig.bob.desk.undecided()
    assert [m.kind for m in waiting] == ["dkg"] * MAX_MATTERS + ["lease"] * (MAX_MATTERS - 1) + ["halt"]
    rig.bob.desk.decide(order_id(halt.order).hex(), True)
    assert isinstance(await rig.ask(halt), Willing)


def _with(**changes: Any) -> Callable[[Order], Consider]:
    return lambda o: propose(msgspec.structs.replace(o, **changes))


REFUSED: dict[str, tuple[Callable[[Order], Consider], str]] = {
    "another chain": (_with(chain=b"\4" * 32), "another chain"),
    "another roster": (_with(roster=b"\4" * 32), "roster in office"),
    "another group epoch": (_with(epoch=1), "roster in office"),
    "issued before": (lambda o: propose(_moved(o, -SIGNER_SKEW_MS - 1)), "set the clock"),
    "issued ahead": (lambda o: propose(_moved(o, SIGNER_SKEW_MS + 1)), "set the clock"),
    "another reason": (lambda o: propose(o, reason="a drill"), "another reason"),
    "a control character": (lambda o: propose(o, reason="all is\x1b[2Jwell"), "all print"),
    "a bidirectional one": (lambda o: propose(o, reason="all is \u202ewell"), "all print"),
    "a second line": (lambda o: propose(o, reason="a\nb"), "all print"),
    "an empty term": (_with(end=1), "choose 1 to"),
    "a longer term": (lambda o: propose(msgspec.structs.replace(o, end=o.end + 7 * 86_400_000)), "choose 1 to"),
    "no order": (lambda o: Consider(b"\xc0", REASON, ()), "not a valid Order"),
    "a byte more": (lambda o: Consider(encode(o) + b"\0", REASON, ()), "not a valid Order"),
    "models unsorted": (_with(action=Halt(Models((b"\2" * 32, b"\1" * 32), (), ()), GroupKey.HALT)), "not sorted"),
    "a HALT that is none": (_with(action=Lift((order_id(b""),)), end=0), "send it along"),
    "too many named": (_with(action=Lift(tuple(bytes([n]) * 32 for n in range(1, 34))), end=0), "names more than"),
    "a later century": (lambda o: propose(_moved(o, 2**62)), "set the clock"),
}  # fmt: skip


def _moved(o: Order, ms: int) -> Order:
    return msgspec.structs.replace(o, issued=o.issued + ms, end=o.end + ms)


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_before_a_person_is_asked(rig: Rig, name: str) -> None:
    make, words = REFUSED[name]
    rig.bob.yes_to = ()
    await rig.bob.start()
    answer = await rig.ask(make(rig.bob.order()))
    assert isinstance(answer, Declined)
    assert words in answer.why
    assert not rig.bob.seen


async def test_an_order_that_names_what_is_no_halt(rig: Rig) -> None:
    drill = encode(rig.bob.order(Drill(SOME)))
    answer = await rig.ask(propose(rig.bob.order(Lift((order_id(drill),))), [drill]))
    assert isinstance(answer, Declined)
    assert "is no HALT" in answer.why


async def test_another_order_cannot_be_shown_in_place_of_the_named(rig: Rig) -> None:
    named, shown = encode(rig.bob.order()), encode(rig.bob.order())
    answer = await rig.ask(propose(rig.bob.order(Lift((order_id(named),))), [shown]))
    assert isinstance(answer, Declined)
    assert "send it along" in answer.why


async def test_a_lift_names_every_halt_of_its_scope_that_a_signer_released_a_share_for() -> None:
    """A coordinator keeps a finished HALT back, and would use it right after the LIFT."""
    stage = await Stage().start()
    alice, mallory = stage.people[0], stage.people[4]
    shown = await alice.complete(alice.order())
    hidden = await mallory.complete(mallory.order(Halt(Global(), GroupKey.HALT)))
    with pytest.raises(LeavesStanding) as told:
        await alice.complete(alice.order(Lift((shown.order.id,))))
    assert told.value.halts == (encode(hidden.order.order),)
    both = tuple(sorted((shown.order.id, hidden.order.id)))
    done = await alice.complete(alice.order(Lift(both)))
    assert done.order.order.action == Lift(both)


async def test_a_share_released_in_vain_counts_too() -> None:
    stage = await Stage().start()
    rig = Rig(stage)
    order = rig.bob.order()
    package = await rig.package(order, A)
    assert isinstance(await rig.ask(Sign(order_id(encode(order)), A, package)), Released)
    other = await rig.alice.complete(rig.alice.order())
    answer = await rig.ask(propose(rig.alice.order(Lift((other.order.id,))), [encode(other.order.order)]))
    assert isinstance(answer, Declined)
    assert answer.standing == (encode(order),)


async def test_a_halt_signed_between_the_yes_and_the_share_stops_the_lift() -> None:
    stage = await Stage().start()
    rig = Rig(stage)
    first = await rig.carol.complete(rig.carol.order())
    lift = rig.carol.order(Lift((first.order.id,)))
    voices = rig.carol.voices()
    second: list[bytes] = []

    class Racing:
        name, key, inner = rig.bob.name, rig.bob.key, voices[identifier(2)]

        async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
            if isinstance(ask, Sign) and not second:
                second.append(b"")
                with_bob = {i: v for i, v in rig.dave.voices().items() if v.name in ("bob", "dave", "erin")}
                await rig.dave.complete(rig.dave.order(), with_bob)
            return await self.inner.ask(ask, patience_ms=patience_ms)

    voices[identifier(2)] = Racing()
    del voices[identifier(5)]  # so that bob is needed
    with pytest.raises(LeavesStanding):
        await rig.carol.complete(lift, voices)


async def test_a_halt_of_another_scope_is_shown_as_what_stays_stopped() -> None:
    stage = await Stage().start()
    alice = stage.people[0]
    first = await alice.complete(alice.order())
    second = await alice.complete(alice.order(Halt(Miner(b"\6" * 32), GroupKey.HALT)))
    for person in stage.people:
        person.yes_to = ()
        knows = person.name in second.signers
        person.decide = lambda m, knows=knows: ("STILL STOPPED  the miner hot_" in m.screen) == knows
        await person.start()
    assert len((await alice.complete(alice.order(Lift((first.order.id,))))).signers) == 4


async def test_what_was_lifted_needs_no_naming_again() -> None:
    stage = await Stage().start()
    alice = stage.people[0]
    first = await alice.complete(alice.order())
    lift = await alice.complete(alice.order(Lift((first.order.id,))))
    for person in stage.people:
        await person.attendant.answer(alice.key, Finished(lift.order.raw))
    second = await alice.complete(alice.order())
    await alice.complete(alice.order(Lift((second.order.id,))))


def test_the_reason_of_the_stage_is_a_reason() -> None:
    assert reason_digest(REASON)
