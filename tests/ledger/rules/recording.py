"""Chains as they were: raw blocks, and what each block did when it was made, to be played again by the rules of today.

``python -m tests.ledger.rules.recording NAME`` plays the stories below and writes golden/NAME.chains. A file that is
committed is never written again: it is what other people's disks hold.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from davy.ledger.rules.machine import BlockResult
from davy.protocol.encoding import encode
from davy.protocol.errors import TxCode
from davy.protocol.limits import DAY_MS
from davy.protocol.order import Global, Install
from davy.protocol.recorded import GLOBAL_NAME
from davy.protocol.transaction import BrakeOrder
from tests.ledger.rules.world import World
from tests.twins.keyholders import Keyholders

GOLDEN = Path(__file__).with_name("golden")


class Block(msgspec.Struct, array_like=True, frozen=True):
    """What went in, and what came of it."""

    time: int
    txs: list[bytes]
    codes: list[int]
    app_hash: bytes
    evidence: list[bytes] = []
    absent: list[bytes] = []


class Chain(msgspec.Struct, array_like=True, frozen=True):
    genesis: bytes
    blocks: list[Block]


def read(name: str) -> list[Chain]:
    raw = zlib.decompress((GOLDEN / f"{name}.chains").read_bytes())
    return msgspec.msgpack.decode(raw, type=list[Chain])


def play(stories: Sequence[Callable[[], Any]]) -> list[Chain]:
    """Every chain that these stories make."""
    chains: dict[int, tuple[World, Chain]] = {}
    apply = World.apply

    def recorded(
        w: World, raws: Sequence[bytes], evidence: Sequence[bytes] = (), absent: Sequence[bytes] = ()
    ) -> BlockResult:
        result = apply(w, raws, evidence, absent)
        _, chain = chains.setdefault(id(w), (w, Chain(encode(w.genesis), [])))
        codes = [r.code for r in result.results]
        block = Block(w.machine.time, list(raws), codes, result.app_hash, list(evidence), list(absent))
        chain.blocks.append(block)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(World, "apply", recorded)
        for story in stories:
            story()
    return [chain for _, chain in chains.values()]


def stories() -> list[Callable[[], Any]]:
    """Every action and every kind of order, alone and in histories."""
    from tests.ledger.rules import test_absences, test_brake_table, test_determinism, test_halts, test_histories
    from tests.ledger.rules.stand import Stand

    def history() -> None:
        chosen = settings(max_examples=3, stateful_step_count=50, database=None, deadline=None)
        run_state_machine_as_test(seed(1)(test_histories.BrakeHistory), settings=chosen)

    trials = test_brake_table.TABLES["Transactions"]
    told = [lambda t=t, scope=scope: t(scope) for t in trials for scope in ("nothing", "model")]
    told = [test_determinism.a_story, test_absences.a_story, history, *told]
    told += [lambda: kept_back_install(World()), lambda: test_halts.a_squatter(Stand(max_uids=5))]
    return told


def kept_back_install(w: World) -> None:
    """What is halted between the signing of an INSTALL and its block."""
    new = Keyholders(1)
    install = w.order(Install(new.roster, w.keyholders.digest, ()), to=new)
    w.machine.time += DAY_MS
    w.halt(Global(), 7 * DAY_MS)
    assert w.halted(GLOBAL_NAME) is not None
    assert w.apply([encode(BrakeOrder(install))]).results[0].code == TxCode.OK


if __name__ == "__main__":
    chains = play(stories())
    target = GOLDEN / f"{sys.argv[1]}.chains"
    with target.open("xb") as out:
        out.write(zlib.compress(msgspec.msgpack.encode(chains), 9))
    blocks = sum(len(c.blocks) for c in chains)
    print(f"{len(chains)} chains, {blocks} blocks, {target.stat().st_size} bytes in {target}")
