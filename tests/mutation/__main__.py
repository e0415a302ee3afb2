"""`make mutants`: does a test notice when a rule is changed? A seeded sample of small changes, each shown to the tests.

    python -m tests.mutation --seed 1 --mutants 200

A mutant lives in a copy of the tree, never in the tree itself. It is shown to one test file of its room after the
other, each in a fork of this process, which has the packages of others loaded and nothing of davy: first to those that
run the changed line, the quickest first, then to those that run another function of its file (what a function returned
may be kept, and used later). It is killed if a test fails, cannot be loaded, takes many times its
processor time, or waits for ever.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import anyio
import cryptography.x509
import msgspec
import numpy as np
import pytest
from coverage import Coverage
from hypothesis import Phase, settings

from tests.mutation.operators import Mutant, inside_functions, mutants

ROOT = Path(__file__).parents[2]
GOAL = 0.85
LEAST = 10
"""Mutants of a room, however small it is."""
LOADED = (anyio, cryptography.x509, msgspec, np)
"""Imported once for all forks."""
PROCESSOR_S = 15
"""What a test file may use beyond five times what it used on the code as it is."""
PATIENCE = 20
"""And how many times that it may last on a busy machine."""
IDLE_S = 20
"""How long it may do nothing: no test here waits so long for anything but what a mutant never does."""


class Room(NamedTuple):
    """What is changed, and the tests that must notice, as patterns; what does not exist yet is passed over."""

    sources: tuple[str, ...]
    tests: tuple[str, ...]


CLAIMS = tuple(f"davy/validators/{name}.py" for name in ("standing", "identity", "originality", "organic"))
CLAIMED = tuple(f"tests/validators/test_{name}.py" for name in ("standing", "claims", "organic"))
ROOMS = {
    "incentive": Room(("davy/incentive/*.py",), ("tests/incentive/test_*.py",)),
    "killswitch": Room(("davy/killswitch/*.py",), ("tests/killswitch/test_*.py",)),
    "ledger.rules": Room(("davy/ledger/rules/*.py",), ("tests/ledger/rules/test_*.py",)),
    "scoring": Room(("davy/tasks/*.py", *CLAIMS), ("tests/tasks/test_*.py", *CLAIMED)),
}
OUTSIDE = {"__init__.py", "calibrate.py"}
"""No rule is in the first; the second is a command that measures models for minutes, and its result is committed."""


class Reach(msgspec.Struct):
    """What a test file ran: seconds of the processor, and the lines of each file."""

    seconds: float
    lines: dict[str, list[int]]


def files(root: Path, patterns: Sequence[str]) -> list[str]:
    found = [p for pattern in patterns for p in sorted(root.glob(pattern)) if p.name not in OUTSIDE]
    return [p.relative_to(root).as_posix() for p in found]


def spread(total: int, lines: Mapping[str, int]) -> dict[str, int]:
    """Split `total` over the rooms in proportion to their lines, `LEAST` to a small one, none to an empty one."""
    small = {room: LEAST for room, n in lines.items() if 0 < total * n < LEAST * sum(lines.values())}
    large = {room: n for room, n in lines.items() if n and room not in small}
    rest, whole = total - LEAST * len(small), sum(large.values())
    parts = {room: rest * n // whole for room, n in large.items()}
    by_remainder = sorted(large, key=lambda room: -(rest * large[room] % whole))
    return small | parts | {room: parts[room] + 1 for room in by_remainder[: rest - sum(parts.values())]}


def sample(found: Sequence[Mutant], seed: int, count: int) -> list[Mutant]:
    """Those whose digest with the seed is least: an edit elsewhere does not change who is drawn."""
    drawn = sorted(found, key=lambda m: hashlib.sha256(f"{seed}\n{m.key}".encode()).digest())[:count]
    return sorted(drawn, key=lambda m: (m.path, m.begin))


class Tree:
    """A copy of the repository, in which one file at a time is another one."""

    def __init__(self, root: Path, at: Path) -> None:
        self.at, self._said = at / "davy", at / "said"
        out = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "build", "dist")
        shutil.copytree(root, self.at, symlinks=True, ignore=out)

    def reach(self, test: str, sources: Sequence[str]) -> Reach:
        """Run a test file on the code as it is; it must pass."""
        kept = self._said.with_name("reach")
        if self._fork(test, 3_600, kept, sources):
            raise SystemExit(f"{self.said}\n{test} must pass before a change can be shown to it")
        return msgspec.json.decode(kept.read_bytes(), type=Reach)

    def verdict(self, m: Mutant, tests: Mapping[str, Reach]) -> str:
        """What killed a mutant; empty if nothing did."""
        compile(m.text, m.path, "exec")
        rules = inside_functions(m.source)
        ran = {t: set(r.lines.get(m.path, ())) for t, r in tests.items()}
        near = [t for t, lines in ran.items() if lines & (rules if m.line in rules else {m.line})]
        changed = self.at / m.path
        made = changed.stat().st_mtime_ns
        changed.write_text(m.text)
        try:
            for test in sorted(near, key=lambda t: (m.line not in ran[t], tests[t].seconds)):
                code = self._fork(test, PROCESSOR_S + round(5 * tests[test].seconds))
                failed = [line.split()[1] for line in self.said.splitlines() if line.startswith(("FAILED", "ERROR "))]
                if code in (1, 2, 3) or (code == 4 and "loading conftest" in self.said):
                    return (failed or [test])[0]
                if code < 0:
                    return f"{test}, at signal {-code}"
                if code:
                    raise SystemExit(f"{self.said}\n{m.path}:{m.line}: pytest's {code} says nothing about the change")
            return ""
        finally:
            changed.write_text(m.source)
            os.utime(changed, ns=(made, made))  # so that its bytecode is still taken for its own

    @property
    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def _fork(self, test: str, seconds: int, kept: Path | None = None, sources: Sequence[str] = ()) -> int:
        """pytest's exit code, or the signal's number below zero: SIGXCPU after its `seconds` of the processor."""
        work = multiprocessing.get_context("fork").Process(target=self._pytest, args=(test, seconds, kept, sources))
        work.start()
        assert work.pid
        end, idle, before = time.monotonic() + PATIENCE * seconds, 0, 0
        while work.is_alive() and time.monotonic() < end and idle < IDLE_S:
            work.join(1)
            used = _ticks_asleep(work.pid)
            idle, before = idle + 1 if used == before >= 0 else 0, used
        work.kill()
        work.join()
        return work.exitcode or 0

    def _pytest(self, test: str, seconds: int, kept: Path | None, sources: Sequence[str]) -> None:
        with self._said.open("w") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(self.at)
        os.environ["PYTHONPATH"] = str(self.at)
        sys.path.insert(0, str(self.at))
        sys.dont_write_bytecode = kept is None  # a mutant's would be taken for the next one's
        for name in [n for n in sys.modules if n.partition(".")[0] in ("tests", "davy")]:
            del sys.modules[name]
        # Not shrunk: that it fails is enough.
        quick = settings(derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate])
        settings.register_profile("mutation", quick, max_examples=50)
        watch = Coverage(data_file=None, include=[str(self.at / f) for f in sources], config_file=False)
        if kept:
            watch.start()
        loaded = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
        options = ["-x", "-q", "--tb=line", "--timeout=0", "-p", "no:cacheprovider", "-W", loaded]
        code = int(pytest.main([*options, "--hypothesis-profile=mutation", test]))
        if kept:
            watch.stop()
            lines = {f: sorted(watch.get_data().lines(str(self.at / f)) or []) for f in sources}
            now = resource.getrusage(resource.RUSAGE_SELF)
            spent = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
            kept.write_bytes(msgspec.json.encode(Reach(spent, {f: ran for f, ran in lines.items() if ran})))
        sys.stdout.flush()
        os._exit(code)


def _ticks_asleep(pid: int) -> int:
    """What a process that sleeps has used; −1 if it would run or has children, or where the system does not say."""
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = [path for path in Path(f"/proc/{pid}/task").glob("*/children") if path.read_text()]
    except OSError:
        return -1
    return int(numbers[10]) + int(numbers[11]) if state == "S" and not children else -1


def report(shown: Sequence[tuple[str, Mutant, str]], reasons: Mapping[str, str]) -> int:
    """Print who survived, and a table; 1 if less than `GOAL` was killed."""
    for _, m, by in shown:
        if not by:
            print(f"\n{m.path}:{m.line} {m.where}\n{m.diff}\n  {reasons.get(m.key, 'NOT EXPLAINED')}")
    print(f"\n| room | mutants | killed | equivalent | survived | killed of all |\n|{'---|' * 6}")
    share = 0.0
    for room in [*dict.fromkeys(room for room, _, _ in shown), "all"]:
        here = [(m, by) for r, m, by in shown if room in (r, "all")]
        killed, equivalent = sum(bool(by) for _, by in here), sum(not by and m.key in reasons for m, by in here)
        share = killed / max(len(here), 1)
        print(f"| {room} | {len(here)} | {killed} | {equivalent} | {len(here) - killed - equivalent} | {share:.1%} |")
    return int(share < GOAL)


def explanations(root: Path) -> dict[str, str]:
    """Why no test can kill it, by the key of a mutant."""
    table = tomllib.loads((root / "tests" / "mutation" / "equivalent.toml").read_text())
    return {"\n".join((m["path"], m["where"], m["before"], m["after"])): m["reason"] for m in table["mutant"]}


def main(arguments: Sequence[str], root: Path = ROOT, rooms: Mapping[str, Room] = ROOMS) -> int:
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--only", default="", help="a room, or a part of path:line")
    options = parser.parse_args(arguments)
    reasons = explanations(root)
    texts = {room: {f: (root / f).read_text() for f in files(root, r.sources)} for room, r in rooms.items()}
    counts = spread(options.mutants, {room: "".join(t.values()).count("\n") for room, t in texts.items()})
    shown: list[tuple[str, Mutant, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(root, Path(folder))
        for room, count in counts.items():
            drawn = sample([m for f, text in texts[room].items() for m in mutants(f, text)], options.seed, count)
            drawn = [m for m in drawn if options.only in room or options.only in f"{m.path}:{m.line}"]
            tests = {t: tree.reach(t, list(texts[room])) for t in files(root, rooms[room].tests) if drawn}
            if drawn:
                print(f"{room}: {len(drawn)} changes, {len(tests)} test files that pass without", flush=True)
            for m in drawn:
                began = time.monotonic()
                by = "" if m.key in reasons else tree.verdict(m, tests)  # it would take all of the tests
                shown.append((room, m, by))
                took = f"{len(shown):4} {time.monotonic() - began:6.1f} s"
                ended = f"killed by {by}" if by else "equivalent" if m.key in reasons else "SURVIVED"
                print(f"{took}  {m.path}:{m.line} {m.where}  {ended}", flush=True)
    return report(shown, reasons)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
