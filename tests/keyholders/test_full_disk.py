"""Keyholders whose disk takes nothing: they still sign what stops, and nothing that permits."""

from __future__ import annotations

import pytest

from davy.keyholders import standing
from davy.keyholders.messages import Declined, Released, Sign, Willing
from davy.keyholders.standing import opened
from davy.protocol.encoding import encode
from davy.protocol.errors import DavyError, Refused, Replayed
from davy.protocol.order import Drill, Extend, GroupKey, Halt, Lease, Lift, Lower, OrderAction, Raise, order_id
from tests.keyholders.stage import MODEL, Stage, propose
from tests.keyholders.test_coordinators import SOME, A, Rig

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


async def test_whoever_coordinates_hears_why_a_keyholder_with_a_full_disk_signs_no_lease(rig: Rig) -> None:
    rig.bob.journal.full = rig.bob.store.full = True
    rig.stage.away(4)
    with pytest.raises(DavyError):
        await rig.alice.complete(rig.alice.order(Lease((MODEL,))))
    assert [what for name, what in rig.stage.said if name == "bob" and "disk takes no order" in what]
