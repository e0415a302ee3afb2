"""Keyholders whose disk takes nothing: they still sign what stops, and nothing that permits."""

from __future__ import annotations

import pytest

from davy.keyholders import standing
from davy.keyholders.coordinator import tell
from davy.keyholders.messages import (
    Answer,
    Commit,
    Committed,
    Consider,
    Declined,
    Finished,
    Invite,
    Joined,
    Released,
    Sign,
    Willing,
)
from davy.keyholders.standing import opened
from davy.keyholders.succession import roster_in_office
from davy.keyholders.voice import Reply, Request
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import DavyError, Misdirected, Refused, Replayed, StoreFailed
from davy.protocol.limits import MAX_CEREMONY_BYTES
from davy.protocol.order import Drill, Extend, GroupKey, Halt, Lease, Lift, Lower, OrderAction, Raise, order_id
from davy.protocol.ports import Response, SignedRequest
from davy.protocol.roster import roster_digest
from tests.keyholders.stage import MODEL, Person, Stage, propose
from tests.keyholders.test_coordinators import SOME, A, Rig
from tests.keyholders.two_rosters import Two

pytestmark = pytest.mark.anyio


@pytest.fixture
async def rig() -> Rig:
    return Rig(await Stage().start())


@pytest.mark.parametrize("action", [Lease((MODEL,)), Lower((MODEL,), ())], ids=["lease", "lower"])
async def test_a_share_that_permits_is_not_released_before_it_is_written_down(rig: Rig, action: OrderAction) -> None:
    order = rig.bob.order(action)
    package = await rig.package(order, A)
    rig.bob.journal.full = True
    with pytest.raises(Refused, match="disk takes no order"):
        await rig.ask(Sign(order_id(encode(order)), A, package))
    rig.bob.journal.full = False
    with pytest.raises(Replayed):
        await rig.ask(Sign(order_id(encode(order)), A, package))


@pytest.mark.parametrize("kind", [Halt, Extend, Raise])
async def test_a_share_that_stops_is_released_though_the_disk_is_full(
    rig: Rig, kind: type[OrderAction], caplog: pytest.LogCaptureFixture
) -> None:
    halt = encode(rig.bob.order())
    for person in rig.stage.people:
        await person.journal.keep(order_id(halt), halt)
    made = {Halt: Halt(SOME, GroupKey.HALT), Extend: Extend(order_id(halt), opened(halt).end), Raise: Raise(SOME)}
    order = rig.bob.order(made[kind], end=opened(halt).end + 1 if kind is Extend else None)
    i = order_id(encode(order))
    package = await rig.package(order, A)
    rig.bob.journal.full = True
    assert isinstance(await rig.ask(Sign(i, A, package)), Released)
    assert i not in rig.bob.journal.kept
    said = [r.getMessage() for r in caplog.records if r.name == standing.__name__]
    assert len(said) == 1
    assert i.hex()[:16] in said[0]
    assert "the disk is full; free some space" in said[0]
    rig.bob.journal.full = False
    assert isinstance(await rig.ask(propose(rig.bob.order())), Willing)
    assert rig.bob.journal.kept[i] == encode(order), "what was only in memory is written once there is room"


async def test_a_halt_that_the_disk_did_not_take_is_named_by_the_next_lift(rig: Rig) -> None:
    order = rig.bob.order()
    package = await rig.package(order, A)
    rig.bob.journal.full = True
    assert isinstance(await rig.ask(Sign(order_id(encode(order)), A, package)), Released)
    other = encode(rig.alice.order())
    answer = await rig.ask(propose(rig.alice.order(Lift((order_id(other),))), [other]))
    assert isinstance(answer, Declined)
    assert answer.standing == (encode(order),)


@pytest.mark.parametrize("action", [Halt(SOME, GroupKey.HALT), Drill(SOME)], ids=["halt", "drill"])
async def test_keyholders_with_full_disks_halt(rig: Rig, action: OrderAction) -> None:
    rig.stage.away(3, 4)
    for person in rig.stage.people:
        person.journal.full = person.store.full = True
    done = await rig.alice.complete(rig.alice.order(action))
    assert set(done.signers) == {"alice", "bob", "carol"}


@pytest.mark.parametrize("restarted", [False, True], ids=["at once", "after a restart"])
async def test_a_lift_is_not_signed_before_it_is_written_down(rig: Rig, restarted: bool) -> None:
    halt = rig.bob.order()
    for person in rig.stage.people:
        await person.journal.keep(order_id(encode(halt)), encode(halt))
    if restarted:
        await rig.bob.start()
    order = rig.bob.order(Lift((order_id(encode(halt)),)))
    i = order_id(encode(order))
    package = await rig.package(order, A)
    rig.bob.journal.full = True
    with pytest.raises(Refused, match="disk takes no order"):
        await rig.ask(Sign(i, A, package))
    assert i not in rig.bob.journal.kept
    rig.bob.journal.full = False
    with pytest.raises(Replayed):
        await rig.ask(Sign(i, A, package))


async def test_keyholders_with_full_disks_install_nobody_and_do_so_when_there_is_room() -> None:
    """Three of today's five have no room, so four of them do not sign; then those of the next roster have none."""
    two = Two(await Stage().start())
    what = await two.proposal()
    crowded = two.old.people[:2]
    for person in crowded:
        person.journal.full = True
    with pytest.raises(DavyError, match="3 of the 4"):
        await two.signatures(what)
    assert not any(order_id(what.order) in p.journal.kept for p in crowded)
    for person in crowded:
        person.journal.full = False
    newcomers = [p for p in two.new.people if p not in two.old.people]
    for person in newcomers:
        person.journal.full = True
    with pytest.raises(DavyError, match="3 of the 4"):
        await two.signatures(await two.proposal())
    for person in newcomers:
        person.journal.full = False
    done = await two.install()
    for side in (two.old, two.new):
        await tell(two.voices(side), done.order.raw)
    for person, _ in two.everybody():
        assert roster_in_office(two.genesis, await person.journal.signed()) == two.new.roster


async def test_who_has_no_room_for_an_install_releases_it_all_the_same_and_takes_it_when_told_again() -> None:
    two = Two(await Stage().start())
    done = await two.install()
    carol, signer = two.coordinator, two.old.signers[2]
    carol.journal.full = True
    with pytest.raises(StoreFailed):
        await signer.answer(carol.key, Finished(done.order.raw))
    assert [v.id for v in carol.finished] == [done.order.id]
    assert roster_in_office(two.genesis, await carol.journal.signed()) == two.old.roster
    carol.journal.full = False
    await signer.answer(carol.key, Finished(done.order.raw))
    assert roster_in_office(two.genesis, await carol.journal.signed()) == two.new.roster
    assert len(carol.finished) == 1


class Wire:
    """What passes through bob's door, for somebody to send it once more."""

    def __init__(self, bob: Person) -> None:
        self._bob, self.heard = bob, list[SignedRequest]()
        bob.stage.network.serve(bob.endpoint, self)

    async def handle(self, request: SignedRequest) -> Response:
        self.heard.append(request)
        return await self._bob.door.handle(request)

    async def again(self) -> list[Answer | DavyError]:
        """Send all of it once more, as it was."""
        said: list[Answer | DavyError] = []
        for request in self.heard.copy():
            try:
                said.append(decode((await self._bob.door.handle(request)).body, Reply, limit=MAX_CEREMONY_BYTES).answer)
            except DavyError as e:
                said.append(e)
        return said


@pytest.mark.parametrize("kind", ["halt", "lift"])
async def test_what_is_asked_again_after_a_restart_on_a_full_disk_gets_no_share(rig: Rig, kind: str) -> None:
    """The door could not write down what it had answered. Bob signs everything unseen, which is the worst case."""
    action: OrderAction = Halt(SOME, GroupKey.HALT)
    if kind == "lift":
        halt = encode(rig.alice.order())
        for person in rig.stage.people:
            await person.journal.keep(order_id(halt), halt)
        action = Lift((order_id(halt),))
    rig.stage.away(*((3, 4) if kind == "halt" else (4,)))  # as many are left as are needed
    rig.bob.store.full = True
    wire = Wire(rig.bob)
    first = await rig.alice.complete(rig.alice.order(action))
    assert "bob" in first.signers
    asked = [decode(r.body, Request, limit=MAX_CEREMONY_BYTES).ask for r in wire.heard]
    assert {Consider, Commit, Sign} <= {type(a) for a in asked}
    assert all(isinstance(said, Replayed) for said in await wire.again()), "the process itself remembers"
    assert rig.bob.store.values == {}
    await rig.bob.start()
    rig.bob.store.full = True
    said = dict(zip([type(a) for a in asked], await wire.again(), strict=True))
    assert isinstance(said[Consider], Willing), "it came in: nothing on the disk told that it had been here"
    assert isinstance(said[Commit], Committed)
    assert isinstance(said[Sign], Misdirected)


async def test_a_ceremony_that_is_asked_again_after_a_restart_on_a_full_disk_comes_to_nothing() -> None:
    stage = await Stage().start(dealt=False)
    bob = stage.people[1]
    bob.store.full = True
    wire = Wire(bob)
    roster = await stage.found()
    kept = dict(bob.vault.bodies)
    assert kept.keys() == {roster_digest(roster)}
    await bob.start()
    said = await wire.again()
    steps = [decode(r.body, Request, limit=MAX_CEREMONY_BYTES).ask for r in wire.heard]
    for step, answer in zip(steps, said, strict=True):
        if isinstance(step, Invite):
            assert isinstance(answer, Joined), "it may be asked, and its person as well"
        else:
            assert isinstance(answer, DavyError), step
    assert bob.vault.bodies == kept


async def test_whoever_coordinates_hears_why_a_keyholder_with_a_full_disk_signs_no_lease(rig: Rig) -> None:
    rig.bob.journal.full = rig.bob.store.full = True
    rig.stage.away(4)
    with pytest.raises(DavyError):
        await rig.alice.complete(rig.alice.order(Lease((MODEL,))))
    assert [what for name, what in rig.stage.said if name == "bob" and "disk takes no order" in what]
