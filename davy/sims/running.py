"""Runs in chunks: over cores, with an estimate of the time left, and in a folder that can be taken up again.

A chunk is a few runs, played together and forgotten once their numbers are kept, so memory does not grow with the runs
but by 176 bytes a run and epoch. In a folder each finished chunk is a Parquet file, written whole or not at all;
whoever calls again with the same scenario plays only what is missing.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Generic

import joblib  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
import polars as pl

from davy.incentive.accelerated import accelerated
from davy.incentive.door import BadInput
from davy.incentive.fixed_point import Int64
from davy.protocol.errors import Misconfigured
from davy.sims.catalogue import check_kind, read_experiment
from davy.sims.experiment import Scenario
from davy.sims.kinds import Experiment, Kind, at_once, play_apart, steps_of
from davy.sims.result import Result, chunk_numbers, chunk_table, parameters_json, write

_CHUNK: Final = re.compile(r"chunk-(\d{7})-(\d{7})\.parquet")
PATIENCE_S: Final = 10.0
"""For a cluster's scheduler to answer."""
_PARAMETERS: Final = "scenario.json"


def run(
    s: Kind,
    *,
    jobs: int = 1,
    chunk: int | None = None,
    folder: Path | None = None,
    progress: bool = False,
    compiled: bool = False,
    cluster: str | None = None,
) -> Result[Kind]:
    """Play a scenario or a study.

    Parameters
    ----------
    jobs
        Processes, by joblib; −1: all cores.
    chunk
        Runs played together; by default as many as a cache holds, or fewer, so that each process has some. Neither
        changes a bit of the result.
    folder
        Where finished chunks are kept and looked for.
    progress
        Whether to show a bar, with the time left, on standard error.
    compiled
        Whether the mechanism is the one that numba compiles, for the same bits: worth it for sweeps, since each process
        compiles for some seconds first.
    cluster
        Address of a Dask scheduler, such as ``tcp://10.0.0.1:8786``, over whose workers chunks are spread instead; the
        workers have this davy installed. Dask runs what its scheduler sends: give it a network of its own.

    Raises
    ------
    Misconfigured
        A chunk in the folder cannot be read, or is of another class than the catalogue has by that kind. `cluster`, and
        distributed is missing, or nobody answers there. No `jobs`. `compiled`, and that mechanism is not.
    davy.incentive.accelerated.NotInstalled
        `compiled`, and numba is missing.
    """
    return sweep(s, {}, jobs=jobs, chunk=chunk, folder=folder, progress=progress, compiled=compiled, cluster=cluster)[0]


def sweep(
    s: Kind,
    over: Mapping[str, Sequence[Any]],
    *,
    jobs: int = 1,
    chunk: int | None = None,
    folder: Path | None = None,
    progress: bool = False,
    compiled: bool = False,
    cluster: str | None = None,
) -> list[Result[Kind]]:
    """Play a scenario or a study for every combination of values of its parameters; the last one varies fastest.

    `result.joined` makes one table of the results; the other parameters are those of `run`.

    Raises
    ------
    Misconfigured
        What `Scenario.having` refuses, and what `run` does.
    """
    scenarios = [s.having(dict(zip(over, values, strict=True))) for values in itertools.product(*over.values())]
    workers = _workers(jobs)
    if compiled:
        _check_compiled(scenarios)
    kept = [_Kept(each, None if folder is None else folder / each.digest()[:16]) for each in scenarios]
    todo = [(k, runs) for k in kept for runs in k.missing(chunk or at_once(k.scenario))]
    if chunk is None and cluster is None and len(todo) < workers:
        share = -(-sum(len(runs) for _, runs in todo) // workers)
        todo = [(k, runs) for k in kept for runs in k.missing(min(at_once(k.scenario), max(share, 1)))]
    with _bar(sum(len(runs) * steps_of(k.scenario) for k, runs in todo), shown=progress) as advance:
        work = [(i, k.scenario, r, compiled) for i, k in enumerate(kept) for r in _of(todo, k)]
        for at, runs, numbers in _played(work, min(workers, len(work)), cluster):
            kept[at].add(runs, numbers)
            advance(len(runs) * steps_of(kept[at].scenario))
    return [k.result() for k in kept]


def read(folder: Path) -> list[Result[Any]]:
    """What a folder of `run` or `sweep` holds: of each scenario the runs that are finished.

    Raises
    ------
    Misconfigured
        It holds none, or one that this version of davy plays differently.
    """
    places = sorted(p.parent for p in folder.glob(f"*/{_PARAMETERS}"))
    results: list[Result[Any]] = []
    for place in places:
        try:
            scenario = read_experiment((place / _PARAMETERS).read_bytes())
        except Misconfigured as e:
            raise Misconfigured(f"{place}: {e}") from None
        kept = _Kept(scenario, place)
        if kept.parts:
            results.append(kept.result())
    if not results:
        raise Misconfigured(f"{folder} holds no finished runs; `davy sim run NAME --folder {folder}` makes some")
    return results


class _Kept(Generic[Kind]):
    """The finished chunks of a scenario, in memory and, where there is one, in a folder."""

    def __init__(self, s: Kind, folder: Path | None) -> None:
        self.scenario, self.folder = s, folder
        self.parts: dict[range, Int64] = {}
        if folder is None:
            return
        check_kind(s)
        folder.mkdir(parents=True, exist_ok=True)
        told = folder / _PARAMETERS
        if not told.exists() or told.read_bytes() != parameters_json(s):  # `runs` may differ, and nothing else
            beside = folder / f".{_PARAMETERS}"
            beside.write_bytes(parameters_json(s))
            beside.replace(told)
        for place in sorted(folder.iterdir()):
            if named := _CHUNK.fullmatch(place.name):
                runs = range(int(named[1]), int(named[2]))
                try:
                    self.parts[runs] = chunk_numbers(s, pl.read_parquet(place), runs)
                except (pl.exceptions.PolarsError, Misconfigured) as e:
                    raise Misconfigured(f"{place} cannot be read ({str(e)[:80]}); remove it, and run again") from None

    def missing(self, chunk: int) -> list[range]:
        """Runs that are not there yet, in ranges of at most `chunk`."""
        there = {run for runs in self.parts for run in runs}
        absent = [run for run in range(self.scenario.runs) if run not in there]
        found: list[range] = []
        for run in absent:
            if found and found[-1].stop == run and len(found[-1]) < chunk:
                found[-1] = range(found[-1].start, run + 1)
            else:
                found.append(range(run, run + 1))
        return found

    def add(self, runs: range, numbers: Int64) -> None:
        self.parts[runs] = numbers
        if self.folder is not None:
            write(
                chunk_table(self.scenario, runs, numbers), self.folder / f"chunk-{runs.start:07}-{runs.stop:07}.parquet"
            )

    def result(self) -> Result[Kind]:
        """All finished runs below `scenario.runs`, in order; one that two processes played, which are equal, once."""
        order = sorted(self.parts, key=lambda runs: runs.start)
        numbers = np.concatenate([self.parts[runs] for runs in order], axis=1)
        runs = np.array([run for runs in order for run in runs], dtype=np.int64)
        each, at = np.unique(runs, return_index=True)
        wanted = each < self.scenario.runs
        return Result(self.scenario, each[wanted], numbers[:, at[wanted]])


def _of(todo: Iterable[tuple[_Kept[Any], range]], kept: _Kept[Any]) -> list[range]:
    return [runs for k, runs in todo if k is kept]


def _played(
    work: list[tuple[int, Experiment, range, bool]], jobs: int, cluster: str | None
) -> Iterator[tuple[int, range, Int64]]:
    """Chunks as they are finished, in any order."""
    if cluster is None and jobs <= 1:
        yield from itertools.starmap(play_apart, work)
        return
    with nullcontext() if cluster is None else _on_cluster(cluster):
        library: Any = joblib
        own = {"n_jobs": jobs, "initializer": _attend, "initargs": (os.getpid(),)}
        pool = library.Parallel(
            **(own if cluster is None else {"n_jobs": -1}), return_as="generator_unordered", batch_size=1
        )
        yield from pool(library.delayed(play_apart)(*each) for each in work)


def _attend(parent: int) -> None:
    """A worker leaves Ctrl-C to the process that started it, and ends with it, also where that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        threading.Event().wait(1.0)
    os._exit(1)


def _workers(jobs: int) -> int:
    """How many processes that are.

    Raises
    ------
    Misconfigured
        None.
    """
    if not jobs:
        raise Misconfigured("jobs is 0; it must be how many processes there are to be, or -1 for all cores")
    library: Any = joblib
    return jobs if jobs > 0 else library.effective_n_jobs(jobs)


def _check_compiled(of: Iterable[Experiment]) -> None:
    """Ask for each mechanism here and now, not from a worker.

    Raises
    ------
    Misconfigured
        One is not compiled.
    davy.incentive.accelerated.NotInstalled
        numba is missing.
    """
    try:
        for name in {s.mechanism for s in of if isinstance(s, Scenario)}:
            accelerated(name)
    except BadInput as e:
        raise Misconfigured(str(e)) from None


@contextmanager
def _on_cluster(address: str) -> Generator[None]:
    """Within, joblib runs on the workers of a Dask scheduler.

    Raises
    ------
    Misconfigured
        distributed is missing, or nobody answers.
    """
    if find_spec("distributed") is None:
        raise Misconfigured("a cluster needs Dask here and on its workers: pip install distributed")
    dask: Any = import_module("distributed")
    library: Any = joblib
    try:
        client = dask.Client(address, timeout=PATIENCE_S)
    except (OSError, ValueError) as e:
        raise Misconfigured(f"no Dask scheduler answers at {address[:200]} ({str(e)[:80]}); see its log") from None
    with client, library.parallel_config(backend="dask"):
        yield


@contextmanager
def _bar(total: int, *, shown: bool) -> Generator[Callable[[int], None]]:
    """Yield a function that is told how many epochs were played."""
    if not shown:
        yield _unseen
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("epochs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("epochs", total=total)
        yield partial(bar.advance, task)


def _unseen(done: int) -> None:
    """Nobody watches."""
