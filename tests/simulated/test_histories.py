"""Whole histories in virtual time. Each line of what must hold is said over what the ledger paid."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from trio._core import _run  # pyright: ignore[reportMissingImports] - hidden by stubs that libp2p brings

from tests.simulated.play import play, whole
from tests.simulated.world import NETUID, Setting, World

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread and no address: what reaches for one fails."""

    def refused(*_: object, **__: object) -> Any:
        raise AssertionError("a simulated history reached for the machine")

    monkeypatch.setattr(anyio.to_thread, "run_sync", refused)
    for name in ("bind", "connect", "connect_ex", "sendto"):  # trio itself keeps a pair of them to be woken by
        monkeypatch.setattr(socket.socket, name, refused)


def test_one_seed_is_one_history_in_any_process() -> None:
    told = []
    for hash_seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulated.play", "7"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        )
        assert b"s of processor time" in done.stderr
        told.append(json.loads(done.stdout))
    assert told[0] == told[1] == told[2]
    assert not told[0]["torch"]
    assert play(Setting(seed=8), whole)["digest"] != told[0]["digest"]


def test_what_makes_a_history_repeatable_is_still_there() -> None:
    assert hasattr(_run, "_r")
    assert _run._ALLOW_DETERMINISTIC_SCHEDULING in (True, False)  # pyright: ignore[reportPrivateUsage]


def test_better_miners_earn_more_and_ignorant_ones_nothing() -> None:
    knowledge = (0.0,) * 4 + (0.15,) * 4 + (1.0,) * 4
    # With 24 challenges one history's ratio is from 1.3 to 6; two together are what is claimed.
    told = [play(Setting(seed=seed, challenges=24, knowledge=knowledge), whole)["miners"] for seed in (1, 2)]
    paid = [sum(t[f"miner-{i}"] for t in told) for i in range(12)]
    ignorant, middling, knowing = sum(paid[:4]), sum(paid[4:8]), sum(paid[8:])
    assert ignorant == 0
    assert knowing > 1.5 * middling > 0


def test_every_validator_votes_under_loss_and_delay() -> None:
    told = play(Setting(seed=7, loss=0.06, challenges=16), whole)  # more loss, and nobody is worth more than nothing
    assert {"validator-0", "validator-1", "validator-2"} == set(told["voters"][-1])


async def _unrevealed(world: World) -> list[bytes]:
    await world.run()
    left = []
    for node in world.validators:
        raw = await node.store.get(f"sealed/2/{NETUID}".encode())
        left.append(raw or b"")
    return left


def test_a_validator_keeps_what_it_will_have_to_reveal() -> None:
    assert all(play(Setting(seed=6), _unrevealed))


@pytest.mark.parametrize(("cut_off", "paid"), [(("validator-0",), True), (("validator-0", "validator-1"), False)])
def test_who_is_reached_by_a_majority_of_stake_is_paid_and_nobody_else(cut_off: tuple[str, ...], paid: bool) -> None:
    async def cut(world: World) -> Any:
        for validator in cut_off:
            for miner in world.miners[:4]:
                world.net.cut(validator, miner.name)
        return await whole(world)

    told = play(Setting(seed=9, miners=8, challenges=16, epochs=9, knowledge=(1.0,) * 8), cut)
    hidden = [told["miners"][f"miner-{i}"] for i in range(4)]
    assert (sum(hidden) > 0) == paid
    assert sum(told["miners"].values()) > 0
