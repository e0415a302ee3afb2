"""Orders on the ledger: each once, from anybody, bounded, provable both ways, and nothing else stops a block."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.killswitch.brake import first_state, head, record, take
from davy.killswitch.naming import subject_names
from davy.killswitch.scope import ModelFacts, Subject
from davy.ledger.rules import brake as brake_rules
from davy.ledger.rules import transactions
from davy.ledger.rules.accounts import credit
from davy.ledger.rules.brake import brake_of
from davy.ledger.rules.halts import ask
from davy.ledger.rules.machine import Machine
from davy.ledger.rules.records import ABSENCES, BRAKE, DRILLS, HALTED, ORDERS, ROSTERS, AbsenceRecord
from davy.ledger.rules.state import State
from davy.protocol import order as orders
from davy.protocol import transaction
from davy.protocol.encoding import encode
from davy.protocol.errors import Malformed, TxCode
from davy.protocol.genesis import Genesis
from davy.protocol.limits import DAY_MS, MAX_BLOCK_ORDERS, MAX_BRAKE_PAGE
from davy.protocol.manifest import ModelClass, model_id
from davy.protocol.order import (
    Drill,
    Global,
    GroupKey,
    Halt,
    Heartbeat,
    Install,
    Lease,
    Lift,
    Lower,
    Miner,
    Models,
    Raise,
    Subnet,
    Target,
)
from davy.protocol.recorded import (
    GLOBAL_NAME,
    BrakePage,
    OrderRecord,
    SubjectFacts,
    file_name,
    miner_name,
    model_name,
    registrant_name,
    subnet_name,
)
from davy.protocol.transaction import BrakeOrder, RaiseClass, RegisterModel, Transfer
from davy.protocol.words import Moment
from tests.ledger.rules.world import World, genesis, id_of, manifest, pub
from tests.twins.keyholders import Keyholders

HALT_ALL = Halt(Global(), GroupKey.HALT)


def give(w: World, *raws: bytes) -> list[TxCode]:
    return [TxCode(r.code) for r in w.apply([encode(BrakeOrder(raw)) for raw in raws]).results]


def test_an_order_needs_no_sender_and_is_recorded_once(world: World) -> None:
    raw = world.order(HALT_ALL)
    assert give(world, raw, raw) == [TxCode.OK, TxCode.EXISTS]
    assert give(world, raw) == [TxCode.EXISTS]
    row = world.machine.state.need(ORDERS, id_of(raw), "")
    assert (row.order, row.height, row.number) == (raw, 1, 0)
    assert {world.account(name).nonce for name in ("ann", "ben", "owner")} == {0}


def test_an_order_under_other_signatures_is_the_same_order(world: World) -> None:
    raw = world.order(HALT_ALL)
    signed, _ = orders.open_order(raw)
    assert give(world, raw) == [TxCode.OK]
    again = encode(orders.SignedOrder(1, signed.order, (bytes(64),)))
    assert give(world, again) == [TxCode.EXISTS], "no signature of a known order is looked at"


@pytest.mark.parametrize(
    ("code", "make"),
    [
        (TxCode.WRONG_CHAIN, lambda w: w.keyholders.sign(w.keyholders.order(bytes(32), HALT_ALL, 0, DAY_MS))),
        (TxCode.NOT_FOUND, lambda w: w.order(HALT_ALL, by=Keyholders(0, "strangers"))),
        (TxCode.NOT_FOUND, lambda w: w.order(HALT_ALL, by=Keyholders(1))),
        (TxCode.NOT_ENABLED, lambda w: w.order(Heartbeat(bytes(32)))),
        (TxCode.BAD_SIGNATURE, lambda w: w.order(HALT_ALL)[:-1] + b"\0"),
        (TxCode.BAD_SIGNATURE, lambda w: w.order(Lift((bytes(32),)))[:-1] + b"\0"),
        (TxCode.MALFORMED, lambda w: w.order(HALT_ALL, 8 * DAY_MS)),
        (TxCode.MALFORMED, lambda w: b"junk"),
        (TxCode.MALFORMED, lambda w: b""),
        (TxCode.WRONG_TIME, lambda w: w.order(Drill(Global()), 1, issued=3)),
    ],
)
def test_what_changes_nothing_is_refused_at_the_door_and_in_a_block(world: World, code: TxCode, make: object) -> None:
    raw = make(world)  # type: ignore[operator]
    before = {k: v for k, v in world.rows.items() if k[:1] not in (b"\x03", b"\x02", b"r")}
    assert world.machine.check_tx(encode(BrakeOrder(raw))).code is code
    assert give(world, raw) == [code]
    assert {k: v for k, v in world.rows.items() if k[:1] not in (b"\x03", b"\x02", b"r")} == before


def test_a_heartbeat_and_a_lift_need_the_right_key(world: World) -> None:
    k = world.keyholders
    k.secrets[GroupKey.LIFT] = k.secrets[GroupKey.HALT]
    for action in (Lift((bytes(32),)), Lease((bytes(32),)), Lower((bytes(32),), ()), Halt(Global(), GroupKey.LIFT)):
        assert give(world, world.order(action)) == [TxCode.BAD_SIGNATURE]


def test_the_door_says_what_a_block_would_and_changes_nothing(world: World) -> None:
    raw = world.order(HALT_ALL)
    before, brake = world.machine.state.need(BRAKE, b"", ""), brake_of(world.machine.state)
    said = world.machine.check_tx(encode(BrakeOrder(raw)))
    assert (said.code, said.order, said.sender) == (TxCode.OK, id_of(raw), b"")
    assert world.machine.state.need(BRAKE, b"", "") is before
    assert brake_of(world.machine.state) is brake
    assert world.machine.state.get(ORDERS, id_of(raw)) is None
    assert give(world, raw) == [TxCode.OK]
    assert world.machine.check_tx(encode(BrakeOrder(raw))).code is TxCode.EXISTS


def test_a_signature_is_verified_for_unknown_orders_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[bytes] = []

    def counting(raw: bytes, *rest: object) -> object:
        verified.append(raw)
        return orders.verify_order(raw, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(brake_rules, "verify_order", counting)
    raw = world.order(HALT_ALL)
    world.machine.check_tx(encode(BrakeOrder(raw)))
    assert give(world, raw, raw, raw) == [TxCode.OK, TxCode.EXISTS, TxCode.EXISTS]
    world.machine.check_tx(encode(BrakeOrder(raw)))
    assert verified == [raw], "once, at the door"


def test_a_block_looks_at_so_many_orders_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []
    monkeypatch.setattr(brake_rules, "open_order", lambda raw: looked.append(raw) or orders.open_order(raw))
    junk = [n.to_bytes(2, "big") for n in range(MAX_BLOCK_ORDERS)]
    codes = give(world, *junk, world.order(HALT_ALL))
    assert codes == [TxCode.MALFORMED] * MAX_BLOCK_ORDERS + [TxCode.TOO_EXPENSIVE]
    assert len(looked) == MAX_BLOCK_ORDERS
    assert give(world, world.order(HALT_ALL)) == [TxCode.OK]


@given(st.lists(st.binary(max_size=60), max_size=4), st.data())
def test_no_bytes_in_an_order_s_place_stop_a_block(noise: list[bytes], data: st.DataObject) -> None:
    w = World()
    good = bytearray(
        w.order(data.draw(st.sampled_from([HALT_ALL, Lift((bytes(32),)), Raise(Models((bytes(32),), (), ()))])))
    )
    places = st.integers(0, len(good) - 1)
    for at, changed in data.draw(st.dictionaries(places, st.integers(1, 255), min_size=1, max_size=3)).items():
        good[at] ^= changed
    raws = [encode(BrakeOrder(x)) for x in (*noise, bytes(good))]
    raws += [raws[-1][:-1], raws[-1] + b"\0", encode(BrakeOrder(b""))[:-2]]
    codes = {TxCode(r.code) for r in w.apply(raws).results}
    assert codes <= {TxCode.MALFORMED, TxCode.BAD_SIGNATURE, TxCode.WRONG_CHAIN, TxCode.NOT_FOUND, TxCode.MISMATCH}
    assert not brake_of(w.machine.state).orders
    for raw in raws:
        assert w.machine.check_tx(raw).code in codes


def breaks(*_: object) -> None:
    raise ZeroDivisionError


def mints(s: State, *_: object) -> None:
    credit(s, pub("ann"), 1)


def writes_what_nobody_reads_back(s: State, *_: object) -> None:
    s.put(ABSENCES, pub("ann"), AbsenceRecord(0))


@pytest.mark.parametrize(
    ("room", "name", "broken"),
    [
        (brake_rules, "forget", breaks),
        (transactions, "brake_order", writes_what_nobody_reads_back),
        (transactions, "brake_order", mints),
    ],
)
def test_a_bug_in_recording_stops_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch, room: ModuleType, name: str, broken: Callable[..., None]
) -> None:
    monkeypatch.setattr(room, name, broken)
    raws = [encode(BrakeOrder(world.order(HALT_ALL))), world.tx("ann", Transfer(pub("ben"), 1))]
    result = world.machine.apply_block(1, 1_250, raws)
    assert [r.code for r in result.results] == [TxCode.INTERNAL, TxCode.OK]
    assert len(result.faults) == 1
    world.rows = dict(world.machine.rows())
    world.check()


def test_presence_and_absence_of_a_halt_are_proved_by_name(world: World) -> None:
    names = {
        GLOBAL_NAME: Global(),
        subnet_name(1): Subnet(1),
        miner_name(pub("hot")): Miner(pub("hot")),
        model_name(b"m" * 32): Models((b"m" * 32,), (), ()),
        file_name(b"f" * 32): Models((), (b"f" * 32,), ()),
        registrant_name(b"r" * 32): Models((), (), (b"r" * 32,)),
    }
    assert [world.halted(name) for name in names] == [None] * 6
    for name, target in names.items():
        i = world.halt(target)
        found = world.halted(name)
        assert found is not None
        assert (found.halt, found.ends, found.until) == (i, world.machine.time - 250 + DAY_MS, 2**63 - 1)
        assert sum(world.halted(other) is not None for other in names) == 1
        world.lift(i)
        assert world.halted(name) is None


def test_of_several_halts_the_last_to_end_stands_for_a_name(world: World) -> None:
    long, short = world.halt(Global(), 5 * DAY_MS), world.halt(Global(), DAY_MS)
    assert (found := world.halted(GLOBAL_NAME)) is not None
    assert found.halt == long
    world.lift(long)
    assert (found := world.halted(GLOBAL_NAME)) is not None
    assert found.halt == short


@pytest.mark.parametrize("target", [Global(), Subnet(1), Subnet(2), Miner(pub("hot")), Models((b"m" * 32,), (), ())])
def test_of_halts_that_end_together_the_one_that_was_given_first_stands(world: World, target: Target) -> None:
    world.block(8)
    now = world.machine.time
    world.halt(target, DAY_MS, issued=now - 1_000)
    first = world.halt(target, DAY_MS + 1_000, issued=now - 2_000)
    world.halt(target, DAY_MS - 1_000, issued=now)
    (name,) = {key[1:] for key in world.rows if key[:1] == HALTED.tag}
    assert (found := world.halted(name)) is not None
    assert (found.halt, found.ends) == (first, now - 1_000 + DAY_MS)


def test_the_names_of_a_subject_are_all_that_need_be_looked_up(world: World) -> None:
    """A verdict of Halted comes with a record at one of the names, and none without."""
    facts = ModelFacts(b"m" * 32, frozenset({b"f" * 32}), b"r" * 32)
    parent, sibling = ModelFacts(b"p" * 32, frozenset(), b"q" * 32), ModelFacts(b"s" * 32, frozenset(), b"r" * 32)
    x = Subject(1, b"h" * 32, facts, (parent,), (sibling,))
    for target in (
        Global(), Subnet(1), Miner(b"h" * 32), Models((b"p" * 32,), (), ()), Models((b"s" * 32,), (), ()),
        Models((), (b"f" * 32,), ()), Models((), (), (b"q" * 32,)), Subnet(2), Miner(b"x" * 32),
        Models((b"x" * 32,), (), ()),
    ):  # fmt: skip
        i = world.halt(target)
        halted = (
            type(ask(world.machine.state, Moment(world.machine.height, world.machine.time), x)).__name__ == "Halted"
        )
        assert halted == any(world.halted(name) for name in set(subject_names(x)))
        world.lift(i)


def test_the_next_roster_takes_office_and_there_is_no_second(world: World) -> None:
    halt = world.halt(Global())
    nexts = [Keyholders(1, name) for name in ("", "rivals")]
    raws = [world.order(Install(k.roster, world.keyholders.digest, (halt,)), to=k) for k in nexts]
    assert give(world, *raws) == [TxCode.OK, TxCode.EXISTS]
    assert world.machine.state.need(ROSTERS, b"\1", "") == nexts[0].roster
    assert brake_of(world.machine.state).succession.rivals == ()
    assert give(world, world.order(Lift((halt,)), by=nexts[1])) == [TxCode.NOT_FOUND]
    assert give(world, world.order(Lift((halt,)), by=nexts[0])) == [TxCode.OK]
    assert world.halted(GLOBAL_NAME) is None


def test_a_chain_without_keyholders_takes_no_orders() -> None:
    g = genesis()
    w = World(Genesis(g.version, g.note, g.time, g.parameters, g.producers, g.allocations, g.subnets, ()))
    assert give(w, w.order(HALT_ALL)) == [TxCode.NOT_FOUND]


def test_the_brake_is_that_of_the_blocks_and_a_restored_machine_has_it(world: World) -> None:
    first = world.halt(Global())
    world.lift(first)
    world.halt(Miner(pub("hot")), authority=GroupKey.LIFT)
    m = world.machine
    again = Machine.restore(world.genesis, world.rows.items(), m.height, m.time)
    assert brake_of(again.state) == brake_of(m.state)
    rows = [m.state.need(ORDERS, i, "") for i in brake_of(m.state).orders]
    taken = take(first_state(world.genesis), [r.order for r in rows])
    joined = record(taken.state, {i: m.state.need(ORDERS, i, "").time for i in brake_of(m.state).orders})
    assert joined == brake_of(m.state)
    assert head(joined) == m.state.need(BRAKE, b"", "").head


@pytest.mark.parametrize("spoil", ["order", "time", "missing"])
def test_rows_whose_orders_are_not_the_brake_s_are_refused(world: World, spoil: str) -> None:
    i = world.halt(Global())
    row = world.machine.state.need(ORDERS, i, "")
    changed = {
        "order": [OrderRecord(world.order(HALT_ALL), row.height, row.time, row.number)],
        "time": [OrderRecord(row.order, row.height, row.time + 1, row.number)],
        "missing": [],
    }[spoil]
    rows = {k: v for k, v in world.rows.items() if k != ORDERS.tag + i}
    for put in changed:
        rows[ORDERS.tag + i] = encode(put)
    with pytest.raises(Malformed):
        Machine.restore(world.genesis, rows.items(), world.machine.height, world.machine.time)


def test_a_full_brake_keeps_a_bounded_set_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("davy.killswitch.brake.MAX_BRAKE_ORDERS", 3)
    raws = sorted((world.order(Halt(Miner(bytes([n]) * 32), GroupKey.HALT)) for n in range(6)), key=id_of)
    assert give(world, *raws[:4]) == [TxCode.OK] * 4, "one more than is kept shows that it is full"
    assert give(world, raws[4]) == [TxCode.FULL]
    world.refused(TxCode.HALTED, "cat", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
    successor = Keyholders(1)
    install = world.order(Install(successor.roster, world.keyholders.digest, ()), to=successor)
    assert give(world, install) == [TxCode.OK]


def test_what_can_matter_no_more_makes_room_and_is_not_taken_again(world: World) -> None:
    lease = world.order(Lease((b"m" * 32,)), DAY_MS)
    assert give(world, lease) == [TxCode.OK]
    m = world.machine
    later = m.time + 5 * DAY_MS
    halt = world.order(HALT_ALL, issued=later)
    result = m.apply_block(m.height + 1, later, [encode(BrakeOrder(halt)), encode(BrakeOrder(lease))])
    assert [r.code for r in result.results] == [TxCode.OK, TxCode.WRONG_TIME]
    assert m.state.get(ORDERS, id_of(lease)) is None
    world.rows = dict(m.rows())
    world.check()


def test_drills_are_recorded_apart_and_the_oldest_that_is_over_makes_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brake_rules, "MAX_DRILLS", 3)
    before = world.machine.state.need(BRAKE, b"", "")
    first = world.command(Drill(Global()), 1_000)
    drills = [world.order(Drill(Global())) for _ in range(4)]
    assert give(world, *drills[:2]) == [TxCode.OK] * 2
    assert give(world, drills[2]) == [TxCode.FULL], "three run"
    world.block(4)
    assert give(world, *drills[2:], drills[0]) == [TxCode.OK, TxCode.FULL, TxCode.EXISTS]
    assert world.machine.state.get(DRILLS, first) is None
    said = world.machine.state.need(BRAKE, b"", "")
    assert (said.head, said.recorded, said.orders) == (before.head, before.recorded, 0)
    world.ok("cat", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))


def test_orders_are_asked_for_by_number_in_pages(world: World) -> None:
    raws = [world.order(Drill(Miner(bytes([n]) * 32))) for n in range(40)]
    raws += [world.order(Halt(Miner(bytes([n]) * 32), GroupKey.HALT)) for n in range(MAX_BRAKE_PAGE)]
    give(world, *raws[:60])
    give(world, *raws[60:])
    page = world.query("/brake", bytes(8), BrakePage)
    assert [r.order for r in page.orders] == raws[:MAX_BRAKE_PAGE]
    assert page.more
    rest = world.query("/brake", MAX_BRAKE_PAGE.to_bytes(8, "big"), BrakePage)
    assert [r.order for r in rest.orders] == raws[MAX_BRAKE_PAGE:]
    assert not rest.more
    assert page.brake == rest.brake == world.machine.state.need(BRAKE, b"", "")
    assert not world.query("/brake", page.brake.next.to_bytes(8, "big"), BrakePage).orders


def test_what_a_hotkey_serves_is_told_as_the_brake_is_asked(world: World) -> None:
    world.ok("cat", RegisterModel(manifest("parent"), (), ModelClass.ORDINARY))
    parent = model_id(manifest("parent"))
    world.ok("dan", RegisterModel(manifest("sibling"), (), ModelClass.ORDINARY))
    world.ok("dan", RegisterModel(manifest("child"), (parent,), ModelClass.ORDINARY))
    world.register("eve", "eve-hot")
    world.ok("eve-hot", world.serving("child"))
    told = world.query("/subject", b"\0\1" + pub("eve-hot"), SubjectFacts)
    assert [f.id for f in told.model] == [model_id(manifest("child"))]
    assert [f.id for f in told.ancestors] == [parent]
    assert {f.id for f in told.siblings} == {model_id(manifest("child")), model_id(manifest("sibling")), b""}
    assert [f.registrant for f in told.siblings if not f.id] == [pub("eve")]
    assert not told.systemic
    world.ok("dan", RaiseClass(model_id(manifest("child"))))
    assert world.query("/subject", b"\0\1" + pub("eve-hot"), SubjectFacts).systemic
    other = world.query("/subject", b"\0\1" + pub("eve-hot") + parent, SubjectFacts)
    assert [f.id for f in other.model] == [parent]


def test_only_whole_envelopes_are_orders() -> None:
    raw = encode(BrakeOrder(b"x"))
    assert transaction.is_brake_order(raw)
    assert transaction.open_brake_order(raw) == b"x"
    w = World()
    assert not transaction.is_brake_order(w.tx("ann", Transfer(pub("ben"), 1)))
