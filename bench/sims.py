"""Epochs a second in a scenario with its attack on, and the retention map at full size: `python -m bench.sims`.

Epochs of both arms count. The first lines are CPU time of one process, beside the compiled mechanism alone, which takes
turns with them; those on two processes, and the map, are wall-clock time, as their goals are, and want a machine that
does nothing else. The toy of `bench.peers` ends it.

`--against FOLDER` is another checkout of davy, of an older commit for instance: its compiled scenarios take turns with
these and with the mechanism alone, in CPU time of one process, and nothing else is measured.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from bench import peers
from bench.older import imported_from
from davy.incentive.fixed_point import ONE
from davy.incentive.mechanism import EpochInputs
from davy.sims import Scenario, run, scenario
from davy.sims.play import Play, play
from davy.sims.retention import Retention, retention, retention_map

RUNS, EPOCHS = 10, 20
CASES = (("cartel", False), ("weight-copying", False), ("cartel", True))
"""Scenarios, and whether they are watched."""
CHANGED = ("market.validators", "market.miners", "start", "epochs", "watch")


def large(name: str, *, watch: bool) -> Scenario:
    return scenario(name).having(
        {"market.validators": 64, "market.miners": 192, "start": 3, "epochs": EPOCHS, "watch": watch}
    )


def alone(p: Play) -> float:
    """CPU seconds of an epoch of the mechanism alone, of all runs of a play, on what is in force there."""
    x = EpochInputs.unmasked(p.force, p.stake)
    began = process_time()
    for _ in range(EPOCHS):
        p.state, _ = p.mechanism.epoch(p.state, x, p.s.params)
    return (process_time() - began) / EPOCHS


def warmed(s: Scenario) -> Play:
    """Compiled, and with rows in force."""
    p = Play(s, range(RUNS), compiled=True)
    for t in range(s.start):
        p.epoch(t)
    return p


def turns(folder: Path, times: int) -> None:
    """The median rates of both, and the median of what one turn's time is of the other's."""
    for name, watch in CASES:
        s = large(name, watch=watch)
        before: list[float] = []
        now: list[float] = []
        bare: list[float] = []
        p = warmed(s)
        for turn in range(times + 1):  # the first one compiles
            with imported_from(folder):
                theirs = import_module("davy.sims.catalogue").scenario(name)
                theirs = theirs.having({k: v for k, v in s.parameters().items() if k in CHANGED})
                began = process_time()
                import_module("davy.sims.play").play(theirs, range(RUNS), compiled=True)
                before += [process_time() - began] * (turn > 0)
            began = process_time()
            play(s, range(RUNS), compiled=True)
            now += [process_time() - began] * (turn > 0)
            bare += [alone(p) * (s.start + EPOCHS)] * (turn > 0)
        rates = [2 * RUNS * (s.start + EPOCHS) / median(taken) for taken in (before, now, bare)]
        ratio, dearer = (median(a / b for a, b in zip(*two, strict=True)) for two in ((before, now), (now, bare)))
        told = "watched, compiled" if watch else "compiled"
        print(f"{name:16} 64 x 192, {told}: {rates[0]:.0f}, now {rates[1]:.0f} epochs/s a core, {ratio:.2f}x as fast")
        print(f"{'':16} {dearer:.2f}x the mechanism alone, which does {rates[2]:.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.sims")
    parser.add_argument("--against", type=Path, help="another checkout of davy")
    parser.add_argument("--times", type=int, default=15, help="turns of each")
    chosen = parser.parse_args()
    if chosen.against is not None:
        turns(chosen.against, chosen.times)
    else:
        absolute()


def absolute() -> None:
    for name, watch in CASES:
        s = large(name, watch=watch)
        for compiled in (False, True):
            play(s.having({"epochs": 1}), range(1), compiled=compiled)
            began = process_time()
            play(s, range(RUNS), compiled=compiled)
            took = process_time() - began
            rate = 2 * RUNS * (s.start + EPOCHS) / took
            told = f"64 x 192{', watched' if watch else ''}{', compiled' if compiled else ''}"
            beside = f", {took / (s.start + EPOCHS) / alone(warmed(s)):.2f}x the mechanism alone" if compiled else ""
            print(f"{name:16} {told:28} {rate:8.0f} epochs/s a core{beside}")
    for name in ("cartel", "weight-copying"):
        s = large(name, watch=False).having({"runs": 1000})
        run(s.having({"runs": 40}), jobs=2, compiled=True)  # the workers compile, and stay
        taken: list[float] = []
        for _ in range(3):
            began = perf_counter()
            run(s, jobs=2, compiled=True)
            taken.append(perf_counter() - began)
        rate = 2 * s.runs * (s.start + EPOCHS) / median(taken)
        print(f"{name:16} 64 x 192, compiled, 2 processes {rate:8.0f} epochs/s (goal: 20,000)")
    grid = range(101)
    began = process_time()
    retention_map(Retention(), [70], grid)
    cpu = (process_time() - began) * len(grid)
    began = perf_counter()
    kept = retention_map(Retention(), grid, grid, jobs=2)
    wall = perf_counter() - began
    print(f"retention map, 512 UIDs, {kept.size} cells: {wall:.0f} s on 2 processes (goal: < 60), {cpu:.0f} s of CPU")
    print("kept by the honest, W_H from 1 down to 0, W_C from 0 to 1:")
    for row in kept[::-10, ::10]:
        print("   " + " ".join(f"{value / ONE:.2f}" for value in row))
    print(f"retention at honest stake .6, σ .4: {retention(Retention()):.2f} (published .73)")
    peers.main()


if __name__ == "__main__":
    main()
