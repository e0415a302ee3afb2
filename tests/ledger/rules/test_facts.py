"""What orders can know of a model follows from proved rows, and from nothing that a ledger leaves out or bends."""

from collections.abc import Callable
from itertools import count

import pytest
from msgspec.structs import replace

from davy.ledger.rules.facts import Shown, keys_read, subject_facts
from davy.ledger.rules.records import MODELS, SUBNETS, RegisteredModel, SubnetRecord, subnet_key
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Malformed, Refused, TxFailed
from davy.protocol.limits import (
    MAX_ANCESTORS,
    MAX_LINEAGE,
    MAX_MODEL_FILES,
    MAX_MODELS_A_REGISTRANT,
    MAX_NAME_CHARS,
    MAX_RESULT_BYTES,
    MAX_SUBJECT_ROWS,
    hyperparameters,
)
from davy.protocol.manifest import Manifest, ModelClass, ModelFile, model_id
from davy.protocol.recorded import ProvedRow, SubjectFacts, SubjectRows
from davy.protocol.transaction import RaiseClass, RegisterModel
from davy.protocol.words import INT63
from tests.ledger.rules.world import World, genesis, manifest, pub

PARENT, CHILD, OTHER = (model_id(manifest(name)) for name in ("parent", "child", "other"))
PLACE = b"\0\1" + pub("eve-hot")
Rows = tuple[ProvedRow, ...]


def served(systemic: int = 0) -> World:
    """Eve serves dan's model, or would without a LEASE. He made it from cat's, and has another one."""
    w = World(genesis(h=hyperparameters(tempo=10, systemic=systemic)))
    w.ok("cat", RegisterModel(manifest("parent"), (), ModelClass.ORDINARY))
    w.ok("dan", RegisterModel(manifest("child"), (PARENT,), ModelClass.ORDINARY))
    w.ok("dan", RegisterModel(manifest("other"), (), ModelClass.ORDINARY))
    w.register("eve", "eve-hot")
    if not systemic:
        w.ok("eve-hot", w.serving("child"))
    return w


def rows(w: World, model: bytes = CHILD) -> Rows:
    told = w.query("/subject_rows", PLACE + model, SubjectRows)
    assert told.height == w.machine.height
    return told.rows


def read(shown: Rows, model: bytes | None = CHILD) -> SubjectFacts:
    return subject_facts(Shown(shown), 0, 1, pub("eve-hot"), model)


def test_rows_say_what_the_ledger_says() -> None:
    w = served()
    for model in (b"", PARENT, OTHER):
        told = rows(w, model)
        assert replace(read(told, model or None), height=w.machine.height) == w.query(
            "/subject", PLACE + model, SubjectFacts
        )
        assert Shown(told).app_hash == w.machine.app_hash
    facts = read(rows(w))
    assert [f.id for f in facts.ancestors] == [PARENT]
    assert {f.id for f in facts.siblings} == {CHILD, OTHER, b""}
    assert not facts.systemic


@pytest.mark.parametrize("systemic", [0, 1])
def test_the_class_is_the_subnets_or_the_models(systemic: int) -> None:
    w = served(systemic)
    assert read(rows(w)).systemic == bool(systemic)
    w.ok("dan", RaiseClass(CHILD))
    assert read(rows(w)).systemic


def test_no_row_can_be_left_out_and_each_is_read() -> None:
    told = rows(served())
    assert len({row.key for row in told}) == len(told) == 8
    for n in range(len(told)):
        with pytest.raises(Refused, match="leaves out a row"):
            read(told[:n] + told[n + 1 :])
    with pytest.raises(Refused):
        Shown(())


def test_the_rows_of_one_model_say_nothing_of_another() -> None:
    w = served()
    with pytest.raises(Refused, match="leaves out a row"):
        read(rows(w, PARENT))
    with pytest.raises(Refused, match="leaves out a row"):
        read(rows(w), PARENT)
    with pytest.raises(Refused, match="leaves out a row"):
        subject_facts(Shown(rows(w)), 0, 1, pub("cat-hot"), CHILD)


def bent(row: ProvedRow) -> ProvedRow:
    """A model without its ancestors or of another class, a subnet that makes nothing systemic; else unchanged."""
    if row.key[:1] == MODELS.tag and row.value:
        r = decode(row.value[0], RegisteredModel, limit=MAX_RESULT_BYTES)
        less = replace(r.model, ancestors=(), model_class=ModelClass.ORDINARY)
        return replace(row, value=(encode(replace(r, model=less)),))
    if row.key == SUBNETS.tag + subnet_key(1):
        x = decode(row.value[0], SubnetRecord, limit=MAX_RESULT_BYTES)
        return replace(row, value=(encode(replace(x, hyperparameters=replace(x.hyperparameters, systemic=0))),))
    return row


def absent(row: ProvedRow) -> ProvedRow:
    return replace(row, value=())


@pytest.mark.parametrize("lie", [bent, absent])
def test_no_row_can_be_bent(lie: Callable[[ProvedRow], ProvedRow]) -> None:
    w = served(1)
    w.ok("dan", RaiseClass(CHILD))
    told = rows(w)
    lies = 0
    for n, row in enumerate(told):
        if lie(row) != row:
            lies += 1
            with pytest.raises(Refused, match="proof"):
                Shown((*told[:n], lie(row), *told[n + 1 :]))
    assert lies >= 2


def test_rows_are_of_one_state() -> None:
    w = served()
    before = rows(w)
    w.ok("dan", RaiseClass(CHILD))
    after = rows(w)
    by_key = {row.key: row for row in before}
    mixed = tuple(by_key[row.key] if row.key == MODELS.tag + CHILD else row for row in after)
    with pytest.raises(Refused, match="different states"):
        Shown(mixed)
    assert Shown(before).app_hash != Shown(after).app_hash


@pytest.mark.parametrize("key", [b"?" + bytes(32), MODELS.tag + bytes(31), b""])
def test_a_row_of_no_table_is_refused(key: bytes) -> None:
    told = rows(served())
    with pytest.raises(Malformed, match="of no table"):
        Shown((replace(told[0], key=key), *told[1:]))


def test_what_is_not_there_is_told_at_once() -> None:
    w = served()
    for place in (b"\0\1" + pub("nobody"), b"\0\2" + pub("eve-hot"), PLACE + bytes(32)):
        with pytest.raises(TxFailed):
            w.machine.query("/subject_rows", place)
    for place in (PLACE[:-1], PLACE + PARENT[:-1], PLACE + PARENT + b"x", b""):
        with pytest.raises(Malformed):
            w.machine.query("/subject_rows", place)


def test_reading_leaves_the_state_as_it_was() -> None:
    w = served()
    before = dict(w.machine.state.records)
    keys_read(w.machine.state, 1, pub("eve-hot"), None)
    assert w.machine.state.records == before
    assert not w.machine.state.journal
    w.check()


def test_the_largest_of_all_fits_into_one_answer() -> None:
    """As many ancestors as a model may have, as many models as two registrants may, each as long as it may be."""
    w = World()
    numbers = count()

    def longest() -> Manifest:
        n = next(numbers)
        names = [f"{i:02}{'f' * (MAX_NAME_CHARS - 2)}" for i in range(MAX_MODEL_FILES)]
        files = tuple(ModelFile(name, INT63, bytes([n, i]) * 16) for i, name in enumerate(names))
        return Manifest(1, f"{n:03}{'m' * (MAX_NAME_CHARS - 3)}", files, "s" * MAX_NAME_CHARS, bytes(32), "l" * 64)

    lineage: list[bytes] = []
    last: bytes = b""
    for owner, models in (("cat", MAX_LINEAGE), ("dan", MAX_MODELS_A_REGISTRANT), ("eve", MAX_MODELS_A_REGISTRANT)):
        actions: list[RegisterModel] = []
        for _ in range(models):
            m = longest()
            ancestors = tuple(sorted(lineage[-MAX_ANCESTORS:]))
            actions.append(RegisterModel(m, ancestors, ModelClass.ORDINARY))
            if owner == "cat":
                lineage.append(model_id(m))
            last = model_id(m) if owner == "dan" else last
        w.ok(owner, *actions)
    w.register("eve", "eve-hot")
    told = rows(w, last)
    facts = read(told, last)
    assert len(facts.ancestors) == MAX_LINEAGE
    assert len(facts.siblings) == 1 + 2 * MAX_MODELS_A_REGISTRANT
    assert len(told) == MAX_SUBJECT_ROWS - 1  # what is served is one of its registrant's
    assert len(encode(SubjectRows(0, told))) < MAX_RESULT_BYTES // 2
