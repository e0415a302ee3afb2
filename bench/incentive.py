"""Median CPU time of an epoch: the reference, the compiled path, and peers that whoever runs this has fetched.

    python -m bench.incentive [--peers FOLDER] [--against FOLDER] [--write docs/bench-incentive.md]

CPU time of the process, so that other work on the machine counts little; two threads are timed by the clock, and the
better tenth is given beside the median. Weights and stake are random, one validator of eight has no permit, one miner
of ten registered since. Inputs are checked before the clock starts; the door has its own line. Each line's cases take
turns, ten times each, so that a busy spell of the machine hits all of them.

Peers are not part of davy. FOLDER holds what was fetched into it, one of them or both:

    git clone https://github.com/bactensor/yuma-simulation FOLDER/yuma-simulation
    git clone --depth 1 https://github.com/opentensor/subtensor FOLDER/subtensor

The first is the torch simulator in float32 (torch comes with `make install`). Of the second the arithmetic of an epoch
is built by cargo, which takes a minute; see `bench/native.py`. A folder without either is an error.

`--against` is another checkout of davy, of an older commit for instance: its paths take turns with these in each line.

    git worktree add FOLDER COMMIT
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns, process_time_ns
from typing import Any, NamedTuple

import numpy as np

from bench.native import Native, build
from bench.older import older
from davy.incentive.accelerated import accelerated
from davy.incentive.bonds import store
from davy.incentive.fixed_point import ONE, U16, BondFormat
from davy.incentive.mechanism import BondState, EpochInputs, Mechanism, Params
from davy.incentive.registry import mechanism

THREADS = 2
SECONDS = 6
"""For each line, and at least three turns."""
IN_A_ROW = 10
Work = Callable[[], object]


class Timing(NamedTuple):
    """µs a run."""

    median: float
    low_tenth: float


def timed(cases: dict[str, tuple[Work, int, Callable[[], int]]], seconds: float = SECONDS) -> dict[str, Timing]:
    """Cases (what to do, for how many runs, by which clock) in turn; of each turn all but the first time counts.

    The first one finds the caches full of another case's numbers, and the first of all compiles.
    """
    taken: dict[str, list[float]] = {name: [] for name in cases}
    end = perf_counter_ns() + int(seconds * 1e9)
    while perf_counter_ns() < end or len(next(iter(taken.values()))) < 3 * IN_A_ROW:
        for name, (work, runs, clock) in cases.items():
            work()
            for _ in range(IN_A_ROW):
                start = clock()
                work()
                taken[name].append((clock() - start) / 1e3 / runs)
    return {name: Timing(statistics.median(v), sorted(v)[len(v) // 10]) for name, v in taken.items()}


def inputs(rng: np.random.Generator, runs: int, rows: int, columns: int) -> EpochInputs:
    """`runs` runs in a batch, or a single one without a batch axis."""
    front = (runs,) if runs > 1 else ()
    x = EpochInputs.unmasked(
        rng.integers(0, U16 + 1, (*front, rows, columns)), rng.integers(1, 2**54 // rows, (*front, rows))
    )
    return EpochInputs(
        weights=x.weights,
        stake=x.stake,
        permits=np.arange(rows) % 8 != 7,
        last_update=np.full(rows, 1000, dtype=np.int64),
        registered_at=np.where(np.arange(columns) % 10 == 9, 990, 0),
        earliest_commit=x.earliest_commit,
        self_column=np.arange(rows, dtype=np.int64) if rows == columns else x.self_column,
        halted=x.halted,
        now=np.asarray(1100, dtype=np.int64),
        previous_epoch=np.asarray(980, dtype=np.int64),
        owner_row=x.owner_row,
    )


def torch_simulator(folder: Path, x: EpochInputs) -> Work:
    """An epoch of the simulator's Yuma3 on one thread, on the same weights and stake, masks apart."""
    import torch

    path = folder / "src" / "yuma_simulation" / "_internal" / "yumas.py"
    spec = importlib.util.spec_from_file_location("yumas", path)
    if spec is None or spec.loader is None or not path.exists():
        raise SystemExit(f"{path} does not exist: the head of bench/incentive.py says how to fetch it")
    yumas: Any = importlib.util.module_from_spec(spec)
    sys.modules["yumas"] = yumas
    spec.loader.exec_module(yumas)
    torch.set_num_threads(1)
    weights = torch.tensor(x.weights / U16, dtype=torch.float32)
    stake = torch.tensor(x.stake / x.stake.sum(), dtype=torch.float32)
    held = torch.rand_like(weights)
    rows, columns = x.weights.shape
    config = yumas.YumaConfig()
    return lambda: yumas.Yuma3(weights, stake, columns, rows, False, B_old=held, config=config)


class Line(NamedTuple):
    """A row of the table, its row against an older checkout, and the µs of subtensor's epoch."""

    row: str
    against: str
    subtensor: float | None


def line(rows: int, columns: int, name: str, p: Params, batch: int, pool: ThreadPoolExecutor, o: Others) -> Line:
    """Time every path, each a run, with the reference's single time in each."""
    rng = np.random.default_rng(1)
    one, many = inputs(rng, 1, rows, columns), inputs(rng, batch, rows, columns)
    alone = BondState(store(rng.integers(0, ONE + 1, one.weights.shape), p.bond_format))
    held = BondState(store(rng.integers(0, ONE + 1, many.weights.shape), p.bond_format))

    def paths(
        before: str,
        reference: Mechanism[BondState],
        fast: Mechanism[BondState],
        spread: Mechanism[BondState],
        p: Params,
    ) -> dict[str, tuple[Work, int, Callable[[], int]]]:
        def of(chosen: Mechanism[BondState], s: BondState, x: EpochInputs) -> Work:
            return lambda: chosen.epoch(s, x, p)

        return {
            before + "reference": (of(reference, alone, one), 1, process_time_ns),
            before + "reference, batch": (of(reference, held, many), batch, process_time_ns),
            before + "compiled": (of(fast, alone, one), 1, process_time_ns),
            before + "compiled, batch": (of(fast, held, many), batch, process_time_ns),
            before + "compiled, two threads": (of(spread, held, many), batch, perf_counter_ns),
        }

    cases = paths("", mechanism(name), accelerated(name), accelerated(name, across=pool.map, parts=THREADS), p)
    if o.against is not None:
        cases |= paths(BEFORE, *older(o.against, name, p, pool.map, THREADS))
    with ExitStack() as running:
        if o.simulator is not None and name == "yuma3" and p == Params():
            cases["torch simulator"] = (torch_simulator(o.simulator, one), 1, process_time_ns)
        if o.subtensor is not None and name == "yuma3" and p == Params():
            program = running.enter_context(Native(o.subtensor, one, p))
            cases["subtensor"] = (program, 1, program.clock)
        taken = timed(cases)
    base = taken["reference"].median
    cells = [
        f"{t.median:.0f} ({t.low_tenth:.0f}) {base / t.median:.1f}x" if (t := taken.get(case)) else "–"
        for case in CASES
    ]
    if native := taken.get("subtensor"):
        cells[-1] += f", two threads {native.median / taken['compiled, two threads'].median:.0f}x of it"
    label = f"{name} {rows} x {columns}" + (", liquid α" if p.liquid_alpha else "")
    label += ", u16 bonds" if p.bond_format is BondFormat.U16 else ""
    row, against = f"| {label} | {batch} | " + " | ".join(cells) + " |", ""
    if o.against is not None:
        turns = [(taken[BEFORE + case], taken[case]) for case in OURS]
        cells = [
            f"{old.median:.0f} → {new.median:.0f} {old.median / new.median:.1f}x"
            f" ({old.low_tenth:.0f} → {new.low_tenth:.0f} {old.low_tenth / new.low_tenth:.1f}x)"
            for old, new in turns
        ]
        against = f"| {label} | {batch} | " + " | ".join(cells) + " |"
    return Line(row, against, native.median if native else None)


BEFORE = "before: "
OURS = (
    "reference",
    "reference, batch",
    "compiled",
    "compiled, batch",
    "compiled, two threads",
)
CASES = (*OURS, "torch simulator", "subtensor")


def sweep(subtensor: float | None, runs: int = 1000, epochs: int = 40, at_once: int = 8) -> list[str]:
    """So many runs of 64 x 192 over so many epochs, on two threads and on one: seconds by the clock and of CPU.

    The weights of a run stay, bonds move; `at_once` runs go through all epochs before the next ones, to stay in cache,
    and each thread has its own.
    """
    x, p = inputs(np.random.default_rng(2), at_once, 64, 192), Params()
    chosen = accelerated("yuma3")

    def play(_: int) -> None:
        s = chosen.initial(x.weights.shape)
        for _ in range(epochs):
            s = chosen.epoch(s, x, p)[0]

    play(0)
    lines: list[str] = []
    for label, threads in (("two threads", THREADS), ("one", 1)):
        with ThreadPoolExecutor(threads) as pool:
            start, worked = perf_counter_ns(), process_time_ns()
            list(pool.map(play, range(runs // at_once)))
            clock, cpu = (perf_counter_ns() - start) / 1e9, (process_time_ns() - worked) / 1e9
        each = clock * 1e6 / (runs * epochs)
        beside = f", {subtensor / each:.0f} times subtensor" if subtensor else ""
        lines.append(
            f"{runs} runs of yuma3 64 x 192 over {epochs} epochs on {label}: {clock:.2f} s, {cpu:.2f} s of CPU; "
            f"{each:.1f} µs an epoch by the clock{beside}."
        )
    return lines


class Others(NamedTuple):
    """What is timed beside: a checkout of the torch simulator, a program of subtensor's, an older checkout of davy."""

    simulator: Path | None
    subtensor: Path | None
    against: Path | None


def others(peers: Path | None, against: Path | None, temporary: Path) -> Others:
    simulator, subtensor = ((peers / name if peers else None) for name in ("yuma-simulation", "subtensor"))
    found = [folder if folder is not None and folder.is_dir() else None for folder in (simulator, subtensor)]
    if peers is not None and found == [None, None]:
        raise SystemExit(f"{peers} holds no peer: the head of bench/incentive.py says how to fetch them")
    return Others(found[0], build(found[1], temporary) if found[1] is not None else None, against)


def heading(cases: tuple[str, ...]) -> list[str]:
    return [f"| epoch of | batch | {' | '.join(cases)} |", "|---" * (len(cases) + 2) + "|"]


def table(o: Others, names: list[str]) -> list[str]:
    fixed, liquid, u16 = Params(), Params(liquid_alpha=True), Params(bond_format=BondFormat.U16)
    before = os.getloadavg()[0]
    lines, against = heading(CASES), heading(OURS)
    x = inputs(np.random.default_rng(1), 1, 64, 192)
    if o.against is not None:
        # Numba finds the types of a call's arguments quickly for the classes that it met first, and davy goes without.
        for name in names:
            before_all = older(o.against, name, fixed, map, 1)
            before_all.compiled.epoch(BondState(np.zeros(x.weights.shape, dtype=np.int64)), x, before_all.params)
    native: float | None = None  # of the first row, 64 x 192
    with ThreadPoolExecutor(THREADS) as pool:
        for rows, columns, name, p, batch in (
            (64, 192, "yuma3", fixed, 256),
            (64, 192, "yuma3", fixed, 32),
            (64, 192, "yuma3", fixed, 8),
            (64, 192, "yuma3", liquid, 32),
            (64, 192, "yuma3", u16, 32),
            (64, 192, "yuma2", fixed, 32),
            (256, 256, "yuma3", fixed, 8),
            (64, 4032, "yuma3", fixed, 4),
        ):
            if name not in names:
                continue
            found = line(rows, columns, name, p, batch, pool, o)
            lines.append(found.row)
            against.append(found.against)
            native = native or found.subtensor
            sys.stdout.write(f"{found.row}\n{found.against}\n")
            sys.stdout.flush()
    swept = sweep(native)
    door = timed({"door": (lambda: EpochInputs.unmasked(x.weights, x.stake), 1, process_time_ns)}, 1)["door"]
    if o.against is not None:
        lines += ["", "Before and now, in turn in the same run; the better tenths in brackets:", "", *against]
    lines += [
        "",
        f"{os.cpu_count()} cores; load of the last minute before {before:.1f}, after {os.getloadavg()[0]:.1f}.",
        *swept,
        f"The door, 64 x 192: {door.median:.0f} ({door.low_tenth:.0f}) µs.",
    ]
    return lines


HEAD = """# How fast an epoch is

µs a run: the median, in brackets the better tenth, and how many times as fast as the reference's single epoch. CPU
time, but two threads by the clock. Written by `python -m bench.incentive --write docs/bench-incentive.md`; the head of
`bench/incentive.py` says what is measured and how peers are fetched. numpy is the reference, which a ledger runs;
numba (`davy[fast]`) is for sweeps, has the same bits, and takes some 20 s to compile at the first epoch. Subtensor
is its own arithmetic of Yuma 3 in native Rust, the torch simulator computes in float32; both do a single epoch.

The goals, on two cores that do nothing else: 350 µs for the reference and 250 in a batch, 55 for the compiled path, 22
in a batch on two threads and 1000 for 64 x 4032; one second for 1000 runs over 40 epochs; 40 times subtensor.

"""


def main() -> None:
    """Print the table, and write it where told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="a folder with what was fetched")
    parser.add_argument("--against", type=Path, help="another checkout of davy")
    parser.add_argument("--only", action="append", choices=["yuma2", "yuma3"], help="leave the other lines out")
    parser.add_argument("--write", type=Path, help="the page to write")
    chosen = parser.parse_args()
    with TemporaryDirectory() as temporary:
        beside = others(chosen.peers, chosen.against, Path(temporary))
        found = table(beside, chosen.only or ["yuma2", "yuma3"])
    text = "\n".join(found).replace(".\n", ".\n\n") + "\n"
    sys.stdout.write(text)
    if chosen.write:
        chosen.write.write_text(HEAD + text)


if __name__ == "__main__":
    main()
