"""Subtensor's own arithmetic of an epoch, in native Rust, beside davy's: `bench.incentive --peers` times it.

Two files of a checkout of subtensor are built, unchanged, with the crate in `bench/subtensor`, whose `main.rs` calls
their functions in the order of run_epoch.rs; cargo fetches what they need. All of it lies in a temporary folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

import numpy as np

from davy.incentive.fixed_point import ONE_BITS, PPM, U16, BondFormat, Int64
from davy.incentive.mechanism import BondState, EpochInputs, Params
from davy.incentive.registry import mechanism

FOLDER = Path(__file__).parent / "subtensor"
OURS = {"Cargo.toml": "Cargo.toml", "src/main.rs": "main.rs", "safe-math/Cargo.toml": "safe-math.toml"}
THEIRS = {
    "src/math.rs": "pallets/subtensor/src/epoch/math.rs",
    "safe-math/src/lib.rs": "primitives/safe-math/src/lib.rs",
}
BUILD_S = 900
NEAR = 1 << 8
"""Units of 2^-30 by which its incentive, of shares that each lost some, may differ from davy's."""


def build(checkout: Path, folder: Path) -> Path:
    """The program, built in `folder` for the processor at hand."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise SystemExit("subtensor is built by cargo, and there is none: leave its folder out of the peers")
    for name in ("src", "safe-math/src"):
        (folder / name).mkdir(parents=True)
    for name, source in OURS.items():
        shutil.copyfile(FOLDER / source, folder / name)
    for name, source in THEIRS.items():
        if not (checkout / source).exists():
            raise SystemExit(f"{checkout / source} does not exist: the head of bench/incentive.py says how to fetch it")
        shutil.copyfile(checkout / source, folder / name)
    done = subprocess.run(
        [cargo, "build", "--release", "--quiet"],
        cwd=folder,
        env=os.environ | {"RUSTFLAGS": "-C target-cpu=native", "CARGO_TARGET_DIR": str(folder / "target")},
        capture_output=True,
        text=True,
        timeout=BUILD_S,
    )
    if done.returncode:
        raise SystemExit(f"subtensor's arithmetic could not be built:\n{done.stderr[-3000:]}")
    return folder / "target" / "release" / "epoch"


def words(held: Int64, x: EpochInputs, p: Params) -> str:
    """One epoch of a single run as the program reads it; `held` are bonds in u16."""
    rows, columns = x.weights.shape
    of_rows = np.stack([x.stake, x.permits.astype(np.int64), x.last_update], axis=-1)
    numbers = [
        np.array([rows, columns, PPM - p.moving_average]),
        of_rows,
        x.registered_at,
        x.previous_epoch,
        x.weights,
        held,
    ]
    return " ".join(str(number) for array in numbers for number in array.reshape(-1).tolist())


class Native:
    """A process that computes one epoch each time it is called; `clock` is the time that it spent, in ns."""

    def __init__(self, program: Path, x: EpochInputs, p: Params) -> None:
        held = np.random.default_rng(3).integers(0, U16 + 1, x.weights.shape)
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ns = 0
        theirs = np.array(self._ask(words(held, x, p)).split(), dtype=np.int64) >> (32 - ONE_BITS)
        form = Params(moving_average=p.moving_average, bond_format=BondFormat.U16)
        ours = mechanism("yuma3").epoch(BondState(held), x, form)[1].incentive
        if (off := int(np.abs(ours - theirs).max())) > NEAR:
            raise SystemExit(f"subtensor's incentive is {off} units of 2^-30 off davy's: it computed something else")

    def _ask(self, line: str) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("it was started with pipes")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def __call__(self) -> None:
        self.ns = int(self._ask("again"))

    def clock(self) -> int:
        return self.ns

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
