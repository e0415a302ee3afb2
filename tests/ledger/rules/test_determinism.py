"""The same blocks give the same bytes in fresh processes, whatever Python's hashes of strings are."""

import os
import subprocess
import sys
from pathlib import Path

from msgspec.structs import replace

from davy.protocol.manifest import Access, ModelClass, model_id
from davy.protocol.transaction import (
    AddStake,
    MoveStake,
    OpenBudget,
    RegisterModel,
    RetireModel,
    SetAccess,
    SetHyperparameters,
    SetTake,
)
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import World, genesis, manifest, market, pub

ROOT = Path(__file__).parents[3]


def a_story() -> str:
    return told().machine.app_hash.hex()


def told() -> World:
    """Some epochs with votes, delegators, models and a second mechanism, and all that came later."""
    w = market(genesis(mechanism="yuma2"))
    w.ok("eve", *(AddStake(pub(hot), TOKEN) for hot in ("ann-hot", "ben-hot", "cat-hot")))
    w.ok("cat", *(RegisterModel(manifest(name), (), ModelClass.ORDINARY) for name in ("one", "two", "three")))
    row = w.row({"cat-hot": 3, "dan-hot": 7})
    w.register("ann", "ann-spare")
    w.ok("ann", MoveStake(pub("ann-hot"), pub("ann-spare"), 30 * TOKEN))
    w.ok("ann", SetTake(pub("ann-hot"), 7_777))
    w.ok("owner", SetHyperparameters(1, replace(w.subnet().hyperparameters, tempo=12, kappa=30_000)))
    for _ in range(3):
        epoch = w.commit("ann-hot", row)
        w.commit("ben-hot", row)
        w.end_epoch()
        w.reveal("ben-hot", row, epoch)
        w.reveal("ann-hot", row, epoch)
    w.end_epoch()
    assert w.neuron("dan-hot").incentive > w.neuron("cat-hot").incentive > 0
    later(w)
    return w


def later(w: World) -> None:
    """What came with later editions of the rules, over two epochs more."""
    w.ok("cat", SetAccess(model_id(manifest("one")), Access.NAMED, (pub("eve"),), (pub("ann-hot"),)))
    w.ok("cat", SetAccess(model_id(manifest("three")), Access.ADMITTED, (), ()))
    w.ok("ann", w.lending("ann-hot", {"ben-hot": 20_000, "cat-hot": 30_000}))
    w.ok("dan", w.lending("dan-hot", {"ben-hot": 65_535}))
    w.ok("ben", w.rotation("ben", "ben-hot", "ben-new"))
    w.ok("cat", RetireModel(model_id(manifest("two"))), OpenBudget(pub("cat-hot"), 1, 9, 3, TOKEN))
    w.ok("eve", w.announcement("eve", "eve-new"))
    w.end_epoch()
    w.ok("eve", w.execution("eve", "eve-new"))
    w.ok("dan", w.announcement("dan", "dan-new"))
    w.end_epoch()


def test_the_same_blocks_give_the_same_state_under_every_hash_seed() -> None:
    code = "from tests.ledger.rules.test_determinism import a_story; print(a_story())"
    told = a_story()
    for seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert run.stdout.strip() == told, run.stderr
