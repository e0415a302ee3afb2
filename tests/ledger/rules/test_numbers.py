"""Numbers that decide what a block does and stand in no genesis: two nodes that differ in one are on two chains."""

import ast
from importlib import import_module
from pathlib import Path

import davy.ledger.rules

ROOM = Path(davy.ledger.rules.__file__).parent

FROZEN = {
    "absences.LONGEST_ABSENCE": 3_600,
    "block.WORK_A_BLOCK": 262_144,
    "block.KEY_WORK_A_BLOCK": 131_072,
    "block.EPOCH_WORK": 4_096,
    "block.KIN_WORK": 6,
    "block.NEURON_WORK": 16,
    "block.PAID_SUBNET_WORK": 3,
    "block.PAID_WORK": 96,
    "block.POSITION_WORK": 8,
    "block.MAX_EPOCH_WORK": 4_096 + 2 * 1_048_576,
    "door.LEAST_ROOM": 4,
    "door.NONCE_WINDOW": 256,
    "door.ROOM_A_SEAT": 32,
    "door.ROOM_A_TOKEN": 8,
    "door.UNBACKED_A_BLOCK": 500,
    "epoch.KEPT_EPOCHS": 64,
    "epoch.KEPT_EPOCH_BYTES": 33_554_432,
    "hyperparameters.RENEWAL": 3,
    "records.MAX_RECORD_BYTES": 67_108_864,
    "neurons.KIN_A_HOTKEY": 3_088,
    "neurons.MAX_SEATED_BY_STAKE": 64,
    "neurons.MAX_SUBNETS_A_HOTKEY": 64,
    "producers.LEAST_PRODUCERS": 4,
    "producers.MAX_PRODUCERS": 64,
    "producers.MAX_WAITING": 16,
    "producers.PRODUCERS_A_COLDKEY": 1,
    "producers.PRODUCER_BOND": 500_000_000_000,
    "rotation.WORK_A_DELEGATOR": 32,
    "stake.MAX_DELEGATORS": 128,
    "stake.MAX_PAYOUTS_A_BLOCK": 5_000,
    "state.WORK_A_COLDKEY": 16_384,
    "state.WORK_A_SUBNET": 65_536,
    "subnets.CELLS_A_BLOCK": 16_384,
    "subnets.MAX_EPOCH_CELLS": 1_048_576,
    "subnets.SURGE": 3,
    "subnets.TURNOVER": 16,
    "producers.SEATED_AFTER": 2,
    "upgrades.ABSENCES_SINCE": 4,
    "upgrades.ACCESS_SINCE": 7,
    "upgrades.ALL_WORK_COUNTS_SINCE": 8,
    "upgrades.CHANGES_TOLD_SINCE": 5,
    "upgrades.CHILDREN_LEAVE_SINCE": 8,
    "upgrades.COLDKEYS_APART_SINCE": 5,
    "upgrades.LEASES_APART_SINCE": 6,
    "upgrades.MIDDLE_TIME_SINCE": 5,
    "upgrades.NEWEST": 8,
    "upgrades.OWN_CLASS_SINCE": 8,
    "upgrades.PLACES_COST_SINCE": 8,
    "upgrades.PRODUCERS_SINCE": 3,
    "upgrades.RAISED_ARE_PRUNED_SINCE": 5,
    "upgrades.REPLACED_WHEN_RECORDED": 4,
    "upgrades.SERVED_COUNTS_SINCE": 8,
    "upgrades.SERVING_IS_WORK_SINCE": 7,
    "upgrades.SKIPPED_COUNT_SINCE": 6,
    "upgrades.TAKES_HOLD_SINCE": 8,
}


def numbers(path: Path) -> dict[str, int]:
    """The whole numbers that a module gives a public name in capitals; the others are caches of one node."""
    made: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.Assign([ast.Name(name)]) | ast.AnnAssign(ast.Name(name)) if name.isupper() and name[0] != "_":
                made.add(name)
            case _:
                pass
    values = {name: getattr(import_module(f"davy.ledger.rules.{path.stem}"), name) for name in made}
    return {f"{path.stem}.{name}": value for name, value in values.items() if type(value) is int}


def test_no_number_of_the_rules_changes_unnoticed() -> None:
    found: dict[str, int] = {}
    for path in sorted(ROOM.glob("*.py")):
        found |= numbers(path)
    assert found == FROZEN, "a change forks every chain that runs: it needs a height from which it holds"
