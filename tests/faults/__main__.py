"""The nightly run: manifests in turn, each on a chain of its own, until so many perturbations were played.

``python -m tests.faults --perturbations 200 --seed 1`` prints each scenario with its seed; what fails is played again
by ``--only NAME --seed N``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from functools import partial
from itertools import count
from pathlib import Path

import anyio

from davy.ledger.driver.cometbft.install import is_engine
from tests.faults.manifest import names, nightly_turn, read
from tests.faults.networks import available
from tests.faults.scenario import play
from tests.faults.skewed_engine import SKEWED
from tests.ledger.driver.cometbft.engines import engine

ROUNDS = 3
"""Of a manifest's steps on one chain."""


def main() -> int:
    """Play; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--perturbations", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=names())
    chosen = parser.parse_args()
    program = engine()
    if program is None:
        print("there is no engine: `make engine` builds it, and needs Go", file=sys.stderr)
        return 2
    turn = [chosen.only] if chosen.only else nightly_turn()
    if not is_engine(SKEWED):
        turn = [n for n in turn if not read(n).skewed]
        print("no engine with another clock: `make engine-skewed` builds it", file=sys.stderr)
    if not available():
        turn = [n for n in turn if not read(n).namespaces]
        print("no network namespaces here: nothing is cut off", file=sys.stderr)
    played = 0
    for number in count():
        if played >= chosen.perturbations:
            print(f"{played} perturbations; everything held")
            return 0
        name, seed = turn[number % len(turn)], chosen.seed + number
        print(f"{name}, seed {seed}", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="dv-"))
        try:
            played += anyio.run(partial(play, folder, program, read(name), seed, rounds=ROUNDS))
        except BaseException:
            print(f"homes and logs are in {folder}", file=sys.stderr)
            raise
        shutil.rmtree(folder)
    return 1


if __name__ == "__main__":
    sys.exit(main())
