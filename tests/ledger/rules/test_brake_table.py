"""docs/brake.md, cell by cell: the page is read, each cell tried, and without a halt everything goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import replace

from davy.ledger.rules.frozen import counted_blocks
from davy.ledger.rules.records import BONDS, NEURONS, UIDS, neuron_key, subnet_key
from davy.protocol.encoding import encode
from davy.protocol.errors import TxCode
from davy.protocol.limits import hyperparameters
from davy.protocol.manifest import Access, Identity, ModelClass
from davy.protocol.order import GroupKey, Halt, Miner
from davy.protocol.ticket import budget_id
from davy.protocol.transaction import (
    Action,
    AddStake,
    BrakeOrder,
    CloseBudget,
    CommitWeights,
    ConvictDoubleSpend,
    CreateSubnet,
    Execute,
    MoveStake,
    OpenBudget,
    Propose,
    RaiseClass,
    Register,
    RegisterModel,
    RemoveStake,
    RetireModel,
    RetireProducer,
    RevealWeights,
    Served,
    SetAccess,
    SetHyperparameters,
    SetTake,
    SetWeights,
    Transfer,
    Vote,
)
from davy.protocol.words import TOKEN
from tests.ledger.rules.stand import ONE, SCOPES, Stand
from tests.ledger.rules.world import manifest, pub

PAGE = Path(__file__).parents[3] / "docs" / "brake.md"
LONG = 30
"""Blocks of a halt: three epochs."""
SAYS = {TxCode.OK: "goes on", TxCode.HALTED: "stops"}


def table(heading: str) -> dict[tuple[str, str], str]:
    """The cells of the table under a heading, by (row, column)."""
    part = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("|")]
    columns = rows[0][1:]
    return {(row[0], column): cell for row in rows[2:] for column, cell in zip(columns, row[1:], strict=True)}


def said(w: Stand, name: str, action: Action) -> str:
    w.send(name, action)
    code = w.block()[0]
    return SAYS.get(code, code.name)


# transactions


def transfer(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat", Transfer(pub("ben"), 1))


def create_subnet(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat", CreateSubnet("new", "yuma3", hyperparameters(max_uids=8, max_validators=4)))


def set_hyperparameters(scope: str) -> str:
    """By the owner of subnet 1, and of one that cat owns."""
    w = Stand()
    h = w.subnet().hyperparameters
    w.ok("cat", CreateSubnet("new", "yuma3", h))
    w.halted_by(scope)
    change = replace(h, kappa=h.kappa - 1)
    if scope in ("miner", "model"):
        return said(w, "cat", SetHyperparameters(0, change))
    return said(w, "owner", SetHyperparameters(1, change))


def register(scope: str) -> str:
    """Of the halted hotkey on another subnet; otherwise of a new one by cat."""
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat", w.registration("cat", "cat-hot", 2) if scope == "miner" else w.registration("cat", "new"))


def serve(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat-hot", w.serving("three"))


def add_stake(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat", AddStake(pub("cat-hot"), TOKEN))


def remove_stake(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat", RemoveStake(pub("cat-hot"), TOKEN))


def move_stake(scope: str) -> str:
    """By a halted owner, between its hotkeys."""
    w = Stand()
    w.register("cat", "spare")
    w.halted_by(scope)
    return said(w, "cat", MoveStake(pub("cat-hot"), pub("spare"), TOKEN))


def set_take(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat", SetTake(pub("cat-hot"), 1))


def commit_weights(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    epoch = w.subnet().epoch
    return said(w, "cat-hot", CommitWeights(1, epoch, w.commitment("cat-hot", w.fair, epoch)))


def reveal_weights(scope: str) -> str:
    w = Stand()
    epoch = w.commit("cat-hot", w.fair)
    w.end_epoch()
    w.halted_by(scope)
    return said(w, "cat-hot", RevealWeights(1, epoch, w.fair, bytes(32)))


def set_weights(scope: str) -> str:
    w = Stand(commit_reveal=0)
    w.halted_by(scope)
    return said(w, "cat-hot", SetWeights(1, w.fair))


def register_model(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat", RegisterModel(manifest("new"), (), ModelClass.ORDINARY))


def raise_class(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat", RaiseClass(ONE))


def set_access(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat", SetAccess(ONE, Access.ADMITTED, (), ()))


def attest_stop(scope: str) -> str:
    w = Stand()
    order = w.halt(Miner(pub("dan-hot")))
    return said(w, "cat", w.attestation(w.halted_by(scope) or order))


def convict_served_after_halt(scope: str) -> str:
    w = Stand()
    order = w.halt(Miner(pub("dan-hot")))
    w.halted_by(scope)
    w.block(12)
    return said(w, "cat", w.evidence(order, "dan-hot", w.machine.height))


def set_children(scope: str) -> str:
    w = Stand()
    asked = w.lending("cat-hot", {"dan-hot": 1})
    w.halted_by(scope)
    return said(w, "cat", asked)


def retire_model(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat", RetireModel(ONE))


def rotate_hotkey(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat", w.rotation("cat", "cat-hot", "fresh"))


def announce_coldkey_swap(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat", w.announcement("cat", "new"))


def execute_coldkey_swap(scope: str) -> str:
    w = Stand()
    w.ok("cat", w.announcement("cat", "new"))
    w.halted_by(scope)
    w.block(40)
    return said(w, "cat", w.execution("cat", "new"))


def open_budget(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "cat", OpenBudget(pub("cat-hot"), 1, 1, 1, TOKEN))


def with_a_budget() -> tuple[Stand, bytes]:
    w = Stand()
    i = budget_id(w.chain, pub("cat"), w.account("cat").nonce)
    w.ok("cat", OpenBudget(pub("cat-hot"), 1, 1, 1, TOKEN))
    return w, i


def close_budget(scope: str) -> str:
    w, i = with_a_budget()
    w.halted_by(scope)
    return said(w, "cat", CloseBudget(i))


def convict_double_spend(scope: str) -> str:
    w, i = with_a_budget()
    w.halted_by(scope)
    tickets = (w.ticket("cat-hot", i, 0, "ann-hot"), w.ticket("cat-hot", i, 0, "ben-hot"))
    return said(w, "cat", ConvictDoubleSpend(*tickets))


def register_producer(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    return said(w, "eve", w.joining("eve", "fifth"))


def retire_producer(scope: str) -> str:
    w = Stand()
    w.ok("eve", w.joining("eve", "fifth"))
    w.halted_by(scope)
    return said(w, "eve", RetireProducer(pub("fifth")))


def brake_order(scope: str) -> str:
    w = Stand()
    order = w.halt(Miner(pub("dan-hot")))
    w.halted_by(scope)
    w.lift(order)
    again = w.order(Halt(Miner(pub("dan-hot")), GroupKey.HALT))
    return SAYS[TxCode(w.apply([encode(BrakeOrder(again))]).results[0].code)]


# deadlines


def end_of_the_epoch(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    epoch = w.subnet().epoch
    w.block(LONG)
    return "freezes" if w.subnet().epoch == epoch else "goes on"


def reveal(scope: str) -> str:
    """A commit whose epoch to reveal in would have been over when the halt ended."""
    w = Stand()
    epoch = w.commit("cat-hot", w.fair)
    order = w.halted_by(scope)
    w.block(LONG)
    if order:
        w.lift(order)
    if w.subnet().epoch == epoch:
        w.end_epoch()
    w.send("cat-hot", RevealWeights(1, epoch, w.fair, bytes(32)))
    code = w.block()[0]
    seat = w.machine.state.need(NEURONS, neuron_key(1, w.neuron("cat-hot").uid), "")
    assert not (code is TxCode.OK and seat.unrevealed)
    return {TxCode.OK: "freezes", TxCode.NOT_FOUND: "goes on"}.get(code, code.name)


def activity(scope: str) -> str:
    w = Stand(activity_cutoff=20)
    w.vote()
    w.halted_by(scope)
    w.block(LONG)
    return "freezes" if w.neuron("ann-hot").active else "goes on"


def immunity(scope: str) -> str:
    w = Stand(immunity=LONG)
    w.register("cat", "cat-new")
    w.halted_by(scope)
    w.block(LONG)
    seat = w.machine.state.need(NEURONS, neuron_key(1, w.neuron("cat-new").uid), "")
    counted = counted_blocks(w.running(), seat.registered_at, seat.frozen, w.machine.height)
    assert counted in (1, LONG + (scope != "nothing")), "the block of the order itself counts"
    return "freezes" if counted < LONG else "goes on"


def pruning(scope: str) -> str:
    """Whether cat, who earned nothing and is the oldest of those, goes when somebody registers in a full subnet."""
    w = Stand(max_uids=5)
    w.register("cat", "spare")
    for name in ("cat", "dan"):
        w.ok(name, RemoveStake(pub(f"{name}-hot"), dict(w.account(name).stakes)[pub(f"{name}-hot")]))
    w.end_epoch()
    w.halted_by(scope)
    w.send("eve", w.registration("eve", "eve-hot"))
    w.block()
    gone = w.machine.state.get(UIDS, subnet_key(1) + pub("cat-hot")) is None
    return "goes on" if gone else "freezes"


def bonds(scope: str) -> str:
    w = Stand()
    w.vote()
    w.halted_by(scope)
    before = w.machine.state.get(BONDS, subnet_key(1))
    w.block(LONG)
    return "freezes" if w.machine.state.get(BONDS, subnet_key(1)) == before else "goes on"


def unbonding(scope: str) -> str:
    w = Stand()
    w.ok("cat", RemoveStake(pub("cat-hot"), TOKEN))
    w.halted_by(scope)
    free = w.account("cat").free
    w.block(40)
    return "goes on" if w.account("cat").free == free + TOKEN else "freezes"


def review_of_a_model(scope: str) -> str:
    w = Stand()
    w.ok("eve", RegisterModel(manifest("new"), (), ModelClass.ORDINARY))
    order = w.halted_by(scope)
    w.block(4)
    if order:
        w.lift(order)
    return said(w, "dan-hot", w.serving("new"))


# payments


def what_a_block_mints_for_the_subnet(scope: str) -> str:
    w = Stand()
    w.halted_by(scope)
    before = w.issuance()
    w.block()
    after = w.issuance()
    moved = (after.issued - before.issued, after.unminted - before.unminted)
    return {(TOKEN, 0): "goes on", (0, TOKEN): "not minted"}[moved]


def paid(scope: str, hotkey: str) -> tuple[int, int]:
    """What a hotkey got at the end of an epoch in which all found cat and dan equal, and what was not minted of it."""
    w = Stand()
    w.vote()
    w.halted_by(scope)
    before, epoch = w.issuance().unminted, w.subnet().epoch
    w.block(w.subnet().next_epoch_at - w.machine.height)
    if w.subnet().epoch == epoch:
        return 0, w.issuance().unminted - before
    return w.neuron(hotkey).emission, w.issuance().unminted - before


def incentive_and_dividends_of_the_halted(scope: str) -> str:
    emission, unminted = paid(scope, "cat-hot")
    assert (emission > 0) == (unminted == 0)
    return "goes on" if emission else "not minted"


def of_its_rivals(scope: str) -> str:
    emission, unminted = paid(scope, "dan-hot")
    if not emission:
        return "not minted" if unminted else "lost"
    return "goes on" if abs(emission - paid("nothing", "dan-hot")[0]) <= 1 else "changed"  # the odd unit of rounding


def the_owner_s_cut(scope: str) -> str:
    def cut(scope: str) -> int:
        w = Stand()
        w.vote()
        w.halted_by(scope)
        before = w.account("owner").free
        w.block(w.subnet().next_epoch_at - w.machine.height)
        return w.account("owner").free - before

    return {cut("nothing"): "goes on", 0: "not minted"}[cut(scope)]


TABLES: dict[str, tuple[Callable[[str], str], ...]] = {
    "Transactions": (
        transfer, create_subnet, set_hyperparameters, register, serve, add_stake, remove_stake, move_stake, set_take,
        commit_weights, reveal_weights, set_weights,
        register_model, raise_class, set_access, attest_stop, convict_served_after_halt, set_children, retire_model,
        rotate_hotkey, announce_coldkey_swap, execute_coldkey_swap, open_budget, close_budget, convict_double_spend,
        register_producer, retire_producer, brake_order,
    ),
    "Deadlines": (end_of_the_epoch, reveal, activity, immunity, pruning, bonds, unbonding, review_of_a_model),
    "Payments": (
        what_a_block_mints_for_the_subnet, incentive_and_dividends_of_the_halted, of_its_rivals, the_owner_s_cut,
    ),
}  # fmt: skip
TRIALS = {t.__name__: t for trials in TABLES.values() for t in trials}


def trial_of(row: str) -> str:
    return row.replace("'", "_").replace(" ", "_")


CELLS = [(row, column, cell) for heading in TABLES for (row, column), cell in table(heading).items()]


@pytest.mark.parametrize(("row", "column", "cell"), CELLS, ids=[f"{row}-{column}" for row, column, _ in CELLS])
def test_the_page_says_what_happens(row: str, column: str, cell: str) -> None:
    assert TRIALS[trial_of(row)](column) == cell


@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS.keys())
def test_without_a_halt_everything_goes_on(trial: Callable[[str], str]) -> None:
    assert trial("nothing") == "goes on"


def test_the_tables_are_whole() -> None:
    for heading, trials in TABLES.items():
        cells = table(heading)
        assert {trial_of(row) for row, _ in cells} == {t.__name__ for t in trials}
        assert {column for _, column in cells} == SCOPES.keys() - {"nothing"}
        assert len(cells) == 4 * len(trials)
    done = {*get_args(Action)} - {Propose, Vote, Execute}
    actions = {str(kind.__struct_config__.tag) for kind in done} | {"brake_order"}
    assert {row for row, _ in table("Transactions")} == actions


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("kind", [Propose, Vote, Execute])
def test_what_is_not_enabled_is_so_whatever_is_halted(kind: type, scope: str) -> None:
    w = Stand()
    w.halted_by(scope)
    assert said(w, "cat", kind(b"")) == "NOT_ENABLED"


def test_the_sample_serves_and_registers_as_said() -> None:
    w = Stand()
    assert Served(1, ONE, Identity.FILES) in w.serving("one").models
    assert isinstance(w.registration("cat", "new"), Register)
