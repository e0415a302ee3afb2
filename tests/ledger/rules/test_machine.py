"""The machine: nothing in a block stops it, what goes wrong is undone, and its state can be stored and proved."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from davy.ledger.rules import block, machine, transactions
from davy.ledger.rules.accounts import credit
from davy.ledger.rules.door import Door
from davy.ledger.rules.machine import Machine
from davy.ledger.rules.records import (
    ABSENCES,
    ACCOUNTS,
    ANSWERS,
    ATTESTATIONS,
    CHAIN,
    COMING,
    COMMITS,
    CONVICTIONS,
    DRILLS,
    HALTED,
    LEFT,
    MAX_RECORD_BYTES,
    ORDERS,
    PRODUCERS,
    PRODUCING,
    RUNNING,
    SEATING,
    TABLES,
    TAKEN,
    UNBONDINGS,
    WEIGHTS,
    AbsenceRecord,
    WeightsRecord,
    neuron_key,
    subnet_key,
)
from davy.ledger.rules.state import State
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Malformed, Refused, TxCode, TxFailed
from davy.protocol.genesis import Allocation, Genesis, GenesisSubnet
from davy.protocol.limits import MAX_BLOCK_TXS, MAX_TX_BYTES, chain_parameters, hyperparameters
from davy.protocol.manifest import ModelClass
from davy.protocol.order import GroupKey, Halt, Miner
from davy.protocol.proof import verify_absence, verify_presence
from davy.protocol.transaction import BrakeOrder, RegisterModel, Transfer, tx_hash
from davy.protocol.words import MAX_SUPPLY, TOKEN, Moment
from tests.ledger.rules.test_determinism import told
from tests.ledger.rules.world import FAST, SMALL, World, genesis, manifest, market, pub

Rule = Callable[[State, Moment, bytes, Any], None]


def with_rule(monkeypatch: pytest.MonkeyPatch, rule: Rule) -> None:
    monkeypatch.setattr(transactions, "RULES", {**transactions.RULES, Transfer: rule})


def raises_halfway(s: State, at: Moment, sender: bytes, x: Transfer) -> None:
    credit(s, x.to, x.amount)
    credit(s, x.to, x.amount)  # what stands before the first write must come back, not what stood before the last
    raise KeyError("a bug")


def mints(s: State, at: Moment, sender: bytes, x: Transfer) -> None:
    credit(s, x.to, x.amount)


def writes_what_nothing_encodes(s: State, at: Moment, sender: bytes, x: Transfer) -> None:
    s.put(ABSENCES, x.to, AbsenceRecord(1 << 64))


def writes_what_nobody_reads_back(s: State, at: Moment, sender: bytes, x: Transfer) -> None:
    s.put(ABSENCES, x.to, AbsenceRecord(0))


def writes_too_much(s: State, at: Moment, sender: bytes, x: Transfer) -> None:
    row = bytes(MAX_RECORD_BYTES)
    s.put(WEIGHTS, neuron_key(1, 0), WeightsRecord(1, row, 0))


def test_an_answer_is_kept_for_its_block_only(world: World) -> None:
    world.register("ann", "hot")
    first = world.machine.query("/metagraph", b"\0\1")
    assert world.machine.query("/metagraph", b"\0\1") is first
    world.block()
    assert world.metagraph().height == world.machine.height
    world.register("ben", "hotter")
    assert {n.hotkey for n in world.metagraph().neurons} == {pub("hot"), pub("hotter")}
    restored = Machine.restore(world.machine.genesis, list(world.machine.rows()), world.machine.height, 0)
    assert restored.query("/metagraph", b"\0\1") == world.machine.query("/metagraph", b"\0\1")


BUGS: list[Rule] = [raises_halfway, mints, writes_what_nothing_encodes, writes_what_nobody_reads_back, writes_too_much]


@pytest.mark.parametrize("rule", BUGS)
def test_a_rule_with_a_bug_is_undone_and_the_rest_of_the_block_stands(
    world: World, monkeypatch: pytest.MonkeyPatch, rule: Rule
) -> None:
    with_rule(monkeypatch, rule)
    before = world.account("ben")
    broken = world.tx("ann", Transfer(pub("ben"), 5))
    fine = world.tx("cat", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
    m = world.machine
    result = m.apply_block(1, 1_250, [broken, fine])
    assert [r.code for r in result.results] == [TxCode.INTERNAL, TxCode.OK]
    assert len(result.faults) == 1
    assert world.account("ben") == before
    assert world.account("ann").nonce == 1
    world.rows = dict(m.rows())
    world.check()


def test_a_decoder_with_a_bug_stops_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(raw: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(transactions, "open_tx", broken)
    raw = world.tx("ann", Transfer(pub("ben"), 5))
    assert world.machine.check_tx(raw).code is TxCode.INTERNAL
    assert [r.code for r in world.machine.apply_block(1, 1, [raw]).results] == [TxCode.INTERNAL]


@pytest.mark.parametrize("where", ["brake_order", "signs_for", "admit"])
def test_a_bug_behind_the_door_turns_one_away_and_stops_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """An engine stops at an exception, and what waits in one goes to all others."""
    transfer, order = (
        world.tx("ann", Transfer(pub("ben"), 5)),
        encode(BrakeOrder(world.order(Halt(Miner(pub("x")), GroupKey.HALT)))),
    )
    before = dict(world.machine.state.records)

    def broken(error: type[Exception]) -> Rule:
        def rule(*_: object, **__: object) -> None:
            if where == "brake_order":
                world.machine.state.put(CHAIN, b"", replace(world.machine.state.need(CHAIN, b"", ""), faults=9))
            raise error

        return rule

    place = Door if where == "admit" else machine
    raw = order if where == "brake_order" else transfer
    monkeypatch.setattr(place, where, broken(ZeroDivisionError))
    assert world.machine.check_tx(raw).code is TxCode.INTERNAL
    assert dict(world.machine.state.records) == before
    monkeypatch.setattr(place, where, broken(MemoryError))
    with pytest.raises(MemoryError):
        world.machine.check_tx(raw)
    monkeypatch.undo()
    assert world.machine.check_tx(raw).code is TxCode.OK


@pytest.mark.parametrize("where", ["signs_for", "known_sender", "advance_nonce", "check_order"])
def test_a_bug_before_a_rule_stops_no_block(world: World, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    raws = [
        world.tx("ann", Transfer(pub("ben"), 5)),
        encode(BrakeOrder(world.order(Halt(Miner(pub("x")), GroupKey.HALT)))),
    ]
    before = world.account("ann"), world.account("ben")

    def broken(s: State, *_: object, **__: object) -> None:
        credit(s, pub("ben"), 5)
        raise ZeroDivisionError

    monkeypatch.setattr(transactions, where, broken)
    result = world.machine.apply_block(1, 1_250, raws)
    wrong = [where != "check_order", where == "check_order"]
    assert [r.code == TxCode.INTERNAL for r in result.results] == wrong
    assert len(result.faults) == 1
    monkeypatch.undo()
    assert where == "check_order" or (world.account("ann"), world.account("ben")) == before
    world.rows = dict(world.machine.rows())


@pytest.mark.parametrize("name", ["pay_unbonded", "accrue", "run_epoch"])
def test_a_part_of_a_block_with_a_bug_is_undone_counted_and_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    w = market()
    w.block(9)
    m, before = w.machine, w.metagraph()

    def broken(s: State, at: Moment, *rest: int) -> None:
        credit(s, pub("eve"), 5)
        raise ZeroDivisionError

    monkeypatch.setattr(block, name, broken)
    result = m.apply_block(m.height + 1, m.time, [w.tx("ann", Transfer(pub("ben"), 1))])
    assert [r.code for r in result.results] == [TxCode.OK]
    assert len(result.faults) == 1
    assert m.state.need(CHAIN, b"", "").faults == 1
    assert w.account("eve").free == 1_000 * TOKEN
    running = m.state.need(RUNNING, subnet_key(1), "")
    assert running.epoch == before.subnet.epoch + 1
    if name == "run_epoch":
        assert running.skipped == 1
        assert running.pending == before.subnet.pending + TOKEN, "it is paid at the next epoch"
    monkeypatch.undo()
    w.rows = dict(m.rows())
    if name != "accrue":  # which loses a block of the schedule
        w.block(10)
        assert w.record(running.epoch).minted == running.pending + 10 * TOKEN


def test_a_brake_that_cannot_say_stops_the_subnets_and_no_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that tripped the verdict would otherwise stop the chain at every block after it, its LIFT too."""
    w = market()
    w.block(9)
    m, before = w.machine, w.metagraph()

    def broken(s: State, at: Moment) -> frozenset[int]:
        raise ZeroDivisionError

    monkeypatch.setattr(block, "halted_subnets", broken)
    result = m.apply_block(m.height + 1, m.time, [w.tx("ann", Transfer(pub("ben"), 1))])
    assert [r.code for r in result.results] == [TxCode.OK]
    assert {fault.split(":")[0] for fault in result.faults} == {"the brake's verdict on subnets"}
    running = m.state.need(RUNNING, subnet_key(1), "")
    assert (running.epoch, running.pending) == (before.subnet.epoch, before.subnet.pending), "nothing is minted or ends"
    monkeypatch.undo()
    w.rows = dict(m.rows())
    w.block(10)
    assert m.state.need(RUNNING, subnet_key(1), "").epoch > before.subnet.epoch


@pytest.mark.parametrize("where", ["pay_unbonded", "accrue", "run_epoch", "halted_subnets", "rule", "open_tx"])
def test_a_node_out_of_memory_stops_where_a_bug_would_be_rolled_back(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """It is this node's trouble, not the block's: with another result than its peers' it would be on another chain."""
    w = market()
    w.block(9)

    def exhausted(*arguments: object) -> None:
        raise MemoryError

    if where == "rule":
        with_rule(monkeypatch, exhausted)
    else:
        monkeypatch.setattr(transactions if where == "open_tx" else block, where, exhausted)
    raw = w.tx("ann", Transfer(pub("ben"), 1))
    with pytest.raises(MemoryError):
        w.machine.apply_block(w.machine.height + 1, w.machine.time, [raw])


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_arbitrary_bytes_are_malformed_and_change_nothing(raws: list[bytes]) -> None:
    w = World()
    accounts = {k: v for k, v in w.rows.items() if k[:1] == ACCOUNTS.tag}
    assert {r.code for r in w.apply(raws).results} <= {TxCode.MALFORMED}
    assert {k: v for k, v in w.rows.items() if k[:1] == ACCOUNTS.tag} == accounts
    for raw in raws:
        assert w.machine.check_tx(raw).code is TxCode.MALFORMED


def test_oversized_and_too_many_are_refused_by_code(world: World) -> None:
    huge = bytes(MAX_TX_BYTES + 1)
    assert world.machine.check_tx(huge).code is TxCode.MALFORMED
    result = world.machine.apply_block(1, 1, [b""] * MAX_BLOCK_TXS + [world.tx("ann", Transfer(pub("ben"), 1))])
    assert result.results[-1].code == TxCode.TOO_EXPENSIVE
    assert world.account("ann").nonce == 0


def test_the_door_knows_chain_signature_sender_and_nonce(world: World) -> None:
    check = world.machine.check_tx
    give = Transfer(pub("ben"), 1)
    good = world.tx("ann", give)
    v = check(good)
    assert (v.code, v.sender, v.nonce, v.hash) == (TxCode.OK, pub("ann"), 0, tx_hash(good))
    assert check(world.tx("ann", give, nonce=200)).code is TxCode.OK
    assert check(world.tx("ann", give, nonce=256)).code is TxCode.WRONG_NONCE
    assert check(world.tx("ann", give, chain=bytes(32))).code is TxCode.WRONG_CHAIN
    assert check(world.tx("nobody", give, nonce=0)).code is TxCode.NOT_FOUND
    forged = bytearray(good)
    forged[-1] ^= 1
    assert check(bytes(forged)).code is TxCode.BAD_SIGNATURE
    world.apply([good])
    assert check(good).code is TxCode.WRONG_NONCE


def test_what_the_door_has_seen_changes_no_result(world: World) -> None:
    """One node was handed each transaction before, the other saw them first in the block; a forgery among them."""
    other = Machine.from_genesis(world.genesis)
    raws = [world.tx("ann", Transfer(pub("ben"), i + 1)) for i in range(5)]
    forged = bytearray(raws[2])
    forged[-1] ^= 1
    raws.insert(2, bytes(forged))
    for raw in raws * 2:
        world.machine.check_tx(raw)
    mine, theirs = world.apply(raws), other.apply_block(1, world.machine.time, raws)
    assert mine.results == theirs.results
    assert mine.app_hash == theirs.app_hash
    assert [r.code for r in mine.results] == [0, 0, TxCode.BAD_SIGNATURE, 0, 0, 0]


def test_a_block_out_of_order_is_refused_and_nothing_is_changed(world: World) -> None:
    app_hash = world.machine.app_hash
    for height in (0, 2):
        with pytest.raises(Refused):
            world.machine.apply_block(height, 1, [world.tx("ann", Transfer(pub("ben"), 1))])
    assert world.machine.app_hash == app_hash
    world.block()


def test_a_restored_machine_goes_on_as_if_nothing_had_happened() -> None:
    w = market()
    again = Machine.restore(w.genesis, w.rows.items(), w.machine.height, w.machine.time)
    assert again.app_hash == w.machine.app_hash
    for _ in range(12):
        raws = [w.tx("ann", Transfer(pub("ben"), 3))]
        here = w.apply(raws)
        there = again.apply_block(again.height + 1, w.machine.time, raws)
        assert (here.app_hash, here.results, here.changes) == (there.app_hash, there.results, there.changes)
        w.nonces.clear()
    assert again.query("/nonce", pub("ann")) == w.machine.query("/nonce", pub("ann"))


def test_rows_that_are_not_whole_are_refused() -> None:
    w = market()
    m, rows = w.machine, w.rows
    account = ACCOUNTS.tag + pub("ann")
    without = {k: v for k, v in rows.items() if k != account}
    for bad in (without, {**rows, b"?": b""}, {**rows, ACCOUNTS.tag: b""}, {**rows, account: rows[account] + b"\0"}):
        with pytest.raises(Malformed):
            Machine.restore(w.genesis, bad.items(), m.height, m.time)
    with pytest.raises(Malformed):
        Machine.restore(w.genesis, rows.items(), m.height + 1, m.time)
    with pytest.raises(Malformed):
        Machine.restore(genesis(share=7), rows.items(), m.height, m.time)


def test_every_row_is_proved_and_a_changed_byte_is_not() -> None:
    """Of a chain that holds every kind of record but those of orders and producers, which their own tests prove."""
    w = told()
    of_orders = {ORDERS, DRILLS, HALTED, ATTESTATIONS, ANSWERS, CONVICTIONS, LEFT}
    elsewhere = {*of_orders, PRODUCING, PRODUCERS, ABSENCES, SEATING, COMMITS, COMING, TAKEN, UNBONDINGS}
    assert {key[:1] for key in w.rows} | {t.tag for t in elsewhere} >= TABLES.keys()
    root = w.machine.app_hash
    for key in w.rows:
        value, proof = w.machine.prove(key)
        assert value is not None
        assert value == w.rows[key]
        verify_presence(root, key, value, proof)
        with pytest.raises(Refused):
            verify_presence(root, key, value[:-1] + bytes([value[-1] ^ 1]), proof)
        with pytest.raises(Refused):
            verify_presence(bytes(32), key, value, proof)
    nobody = ACCOUNTS.tag + pub("nobody")
    value, proof = w.machine.prove(nobody)
    assert value is None
    verify_absence(root, nobody, proof)


@pytest.mark.parametrize(
    ("path", "data", "error"),
    [
        ("/nothing", b"", TxFailed),
        ("/nonce", b"short", Malformed),
        ("/metagraph", b"\0\x09", TxFailed),
        ("/metagraph", b"\0", Malformed),
        ("/epoch", bytes(10), TxFailed),
        ("/model", bytes(32), TxFailed),
        ("/subnets", b"x", Malformed),
    ],
)
def test_a_query_for_what_is_not_there_says_so(world: World, path: str, data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        world.machine.query(path, data)


def test_the_genesis_and_its_parameters_can_be_asked_for(world: World) -> None:
    assert decode(world.machine.query("/genesis", b""), Genesis, limit=10_000) == world.genesis
    assert world.machine.query("/parameters", b"") == encode(world.genesis.parameters)


SUBNET = GenesisSubnet(1, pub("owner"), "t", "yuma3", SMALL, 600_000)
MUCH = Allocation(pub("ann"), MAX_SUPPLY)


@pytest.mark.parametrize(
    ("allocations", "subnets", "parameters"),
    [
        ((MUCH, Allocation(pub("ben"), 1)), (), FAST),
        ((Allocation(pub("ann"), 1), Allocation(pub("ann"), 1)), (), FAST),
        ((), (SUBNET, SUBNET), FAST),
        ((), (SUBNET, GenesisSubnet(2, pub("o"), "t", "yuma3", SMALL, 400_001)), FAST),
        ((), (GenesisSubnet(2, pub("o"), "t", "none", SMALL, 0),), FAST),
        ((), (GenesisSubnet(2, pub("o"), "t", "yuma3", hyperparameters(kappa=0), 0),), FAST),
        ((), (), chain_parameters(burn_low=2, burn_high=1)),
    ],
)
def test_a_genesis_that_contradicts_itself_is_refused(
    allocations: tuple[Allocation, ...], subnets: tuple[GenesisSubnet, ...], parameters: object
) -> None:
    with pytest.raises(Malformed):
        Machine.from_genesis(Genesis(1, "", 0, parameters, (pub("p"),), allocations, subnets, ()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("allocations", "subnets", "parameters"),
    [
        ((MUCH,), (), FAST),
        ((), (SUBNET, GenesisSubnet(2, pub("o"), "t", "yuma3", SMALL, 400_000)), FAST),
        ((), (), chain_parameters(burn_low=2, burn_high=2)),
    ],
)
def test_a_genesis_at_its_limits_is_taken(
    allocations: tuple[Allocation, ...], subnets: tuple[GenesisSubnet, ...], parameters: object
) -> None:
    m = Machine.from_genesis(Genesis(1, "", 0, parameters, (pub("p"),), allocations, subnets, ()))  # type: ignore[arg-type]
    assert m.apply_block(1, 1, []).faults == ()
