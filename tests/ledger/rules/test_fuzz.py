"""Nothing that stands in a block stops a node or parts two of them: noise, well-formed malice, replays, any order.

Nor does anything that an engine reports with it: who voted twice, and whose vote is missing.

``FUZZ_EXAMPLES`` says how many histories are played; `make fuzz` plays more, under another seed each time.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from davy.ledger.rules import absences, block, transactions
from davy.ledger.rules.conservation import places
from davy.ledger.rules.machine import BlockResult, Machine
from davy.ledger.rules.producers import convict_producer, note_absences
from davy.ledger.rules.records import HOTKEYS, ISSUANCE, HotkeyRecord, ProducerRecord
from davy.ledger.rules.state import State
from davy.protocol.errors import TxCode
from davy.protocol.limits import chain_parameters, hyperparameters
from davy.protocol.manifest import ModelClass
from davy.protocol.order import Global, GroupKey, Halt, Lift, Miner
from davy.protocol.transaction import Action, OpenBudget, RegisterModel, SetTake, open_tx
from davy.protocol.words import TOKEN, Moment
from tests.ledger.rules.hostile import (
    PRODUCERS,
    SENDERS,
    action_of,
    actions,
    bent,
    good,
    order_envelopes,
    pools,
    reports,
)
from tests.ledger.rules.world import World, genesis, id_of, manifest, pub

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "30"))
MET: Counter[TxCode | str] = Counter()
"""What became of transactions, and of producers."""


@pytest.fixture(autouse=True)
def _soon_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(absences, "LONGEST_ABSENCE", 2)


@cache
def begun() -> tuple[World, list[bytes]]:
    """A market in which there is something to lose, and orders that were given and not handed in."""
    h = hyperparameters(tempo=3, immunity=0, max_uids=5, max_validators=3, registrations_an_epoch=3)
    w = World(genesis(h=h, p=chain_parameters(unbonding=2, burn_low=3), producers=PRODUCERS))
    for cold in ("ann", "ben", "cat", "dan"):
        w.register(cold, f"{cold}-hot")
        w.stake(cold, f"{cold}-hot", 100 * TOKEN)
    w.ok("cat", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
    w.ok("dan", RegisterModel(manifest("two"), (), ModelClass.SYSTEMIC))
    w.ok("cat-hot", w.serving("one"))
    w.ok("ann", OpenBudget(pub("ann-hot"), 1, 3, 1, TOKEN), w.lending("ann-hot", {"ben-hot": 7}))
    halts = [w.order(Halt(target, GroupKey.HALT)) for target in (Global(), Miner(pub("ben-hot")))]
    return w, [*halts, w.order(Lift(tuple(sorted(map(id_of, halts)))))]


def restored(w: World) -> Machine:
    return Machine.restore(w.genesis, w.rows.items(), w.machine.height, w.machine.time)


KINDS = st.lists(
    st.sampled_from([*["any"] * 8, *["good"] * 4, "noise", "bent", "again", "order"]), min_size=4, max_size=12
)


def draw_block(data: st.DataObject, orders: list[bytes], nonces: dict[str, int], sent: list[bytes]) -> list[bytes]:
    """Transactions of one block; `nonces` are those that their senders will have if all are included."""
    w, _ = begun()
    block: list[bytes] = []
    for kind in data.draw(KINDS):
        known = sent + block
        if kind in ("any", "good"):
            hostile = st.tuples(st.sampled_from(SENDERS), actions(w))
            name, action = data.draw(good(w) if kind == "good" else hostile)
            nonce = nonces.setdefault(name, w.account(name).nonce) + data.draw(st.sampled_from([0] * 9 + [1]))
            nonces[name] += 1
            block.append(w.tx(name, action, nonce=nonce))
        elif kind == "order":
            block.append(data.draw(st.sampled_from(order_envelopes(orders))))
        elif kind == "noise" or not known:
            block.append(data.draw(st.binary(max_size=60)))
        elif kind == "again":
            block.append(data.draw(st.sampled_from(known)))
        else:
            at, by = data.draw(st.tuples(st.integers(0, 999), st.integers(0, 254)))
            block.append(bent(data.draw(st.sampled_from(known)), at, by))
    return data.draw(st.permutations(block)) if data.draw(st.integers(0, 3)) == 3 else block


UNHURRIED = [HealthCheck.too_slow, HealthCheck.data_too_large]


def history(data: st.DataObject) -> None:
    """One node is handed all of it before, backwards and twice, and restarts; the other sees it in the block."""
    w, orders = begun()
    one, other = restored(w), restored(w)
    rows = dict(w.rows)
    sent: list[bytes] = []
    nonces: dict[str, int] = {}
    for _ in range(data.draw(st.integers(2, 6))):
        block = draw_block(data, orders, nonces, sent)
        evidence = data.draw(reports(2)) if data.draw(st.integers(0, 2)) == 2 else []
        mine = apply_to_both(one, other, block, evidence, data.draw(reports(9)))
        MET.update(TxCode(r.code) for r in mine.results)
        rows = {k: v for k, v in (rows | mine.changes.puts).items() if k not in mine.changes.deletes}
        sent += block
        if data.draw(st.booleans()):
            other = Machine.restore(w.genesis, rows.items(), other.height, other.time)
            assert other.app_hash == one.app_hash
    conserves(one)
    for record in one.state.records.values():
        if isinstance(record, ProducerRecord):
            MET["convicted"] += bool(record.convicted)
            MET["silent"] += bool(record.left and not record.leaves and not record.convicted)


def apply_to_both(
    one: Machine, other: Machine, block: list[bytes], evidence: Sequence[bytes] = (), absent: Sequence[bytes] = ()
) -> BlockResult:
    """Apply a block to two machines, of which one was handed all of it before, backwards and twice: they do the same.

    Nothing goes wrong inside.
    """
    for raw in (*reversed(block), *block):
        other.check_tx(raw)
    mine = one.apply_block(one.height + 1, one.time + 250, block, evidence, absent)
    theirs = other.apply_block(other.height + 1, other.time + 250, block, evidence, absent)
    assert (mine.results, mine.app_hash, mine.changes) == (theirs.results, theirs.app_hash, theirs.changes)
    assert not mine.faults
    assert TxCode.INTERNAL not in {TxCode(r.code) for r in mine.results}
    return mine


def conserves(one: Machine) -> None:
    counted = places(one.state.records.values())
    told = one.state.need(ISSUANCE, b"", "")
    assert {f: getattr(told, f) for f in counted} == counted | {"height": one.height}
    assert told.issued == sum(getattr(told, f) for f in told.__struct_fields__[2:-1])


def played(**how: Any) -> Callable[[], None]:
    """A history for each example."""
    chosen = settings(database=None, deadline=None, suppress_health_check=UNHURRIED, max_examples=EXAMPLES, **how)
    return seed(int(os.environ.get("FUZZ_SEED", "8")))(chosen(given(data=st.data())(history)))


play = played()


def test_nothing_in_a_block_stops_a_node_or_parts_two() -> None:
    MET.clear()
    play()
    assert MET[TxCode.OK] > EXAMPLES // 4, "most of it must not be turned down at the first look"
    assert len(MET) > 9, MET
    assert MET["convicted"] > 3, "and what an engine reports must come to something"
    assert MET["silent"] > 3


def test_a_rule_with_a_bug_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a rule that raises nor one whose effect depends on what the node did before the block goes unnoticed."""

    def raises(s: State, at: Moment, sender: bytes, x: SetTake) -> None:
        raise ZeroDivisionError

    heard: list[bytes] = []

    def remembers(s: State, at: Moment, sender: bytes, x: SetTake) -> None:
        heard.append(sender)
        s.put(HOTKEYS, x.hotkey, HotkeyRecord(x.hotkey, len(heard), 0, (), (), ()))

    quick = played(phases=[Phase.generate], report_multiple_bugs=False)
    for rule in (raises, remembers):
        with monkeypatch.context() as patch:
            patch.setattr(transactions, "RULES", {**transactions.RULES, SetTake: rule})
            with pytest.raises(AssertionError):
                quick()


@pytest.mark.parametrize("part", ["convict_producer", "note_absences"])
def test_what_an_engine_reports_is_looked_at_with_care(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Whoever takes all that is reported for addresses of producers is found out."""

    def strict(addresses: Sequence[bytes]) -> None:
        assert all(len(a) == 20 for a in addresses)

    def convicts(s: State, at: Moment, called: bytes) -> None:
        strict([called])
        convict_producer(s, at, called)

    def notes(s: State, absent: Sequence[bytes]) -> None:
        strict(absent)
        note_absences(s, absent)

    monkeypatch.setattr(block, part, {"convict_producer": convicts, "note_absences": notes}[part])
    with pytest.raises(AssertionError):
        played(phases=[Phase.generate], report_multiple_bugs=False)()


@seed(8)
@settings(max_examples=5, database=None, deadline=None, suppress_health_check=UNHURRIED)
@given(data=st.data())
def test_every_action_can_be_made_up(data: st.DataObject) -> None:
    """And what is made up is read as it was written."""
    w, _ = begun()
    for kind in get_args(Action):
        made = data.draw(action_of(kind, pools(w)))
        assert isinstance(made, kind)
        assert open_tx(w.tx("ann", made, nonce=0))[1].action == made
