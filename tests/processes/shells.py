"""Shells as a person has them: each with a home of its own, words typed into it, and what came of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 900.0
"""For anything to come about on a machine that is busy; no test measures how long it takes."""


def typed_in_readme() -> dict[str, list[str]]:
    """The commands of the README's section on separate shells, by shell."""
    text = (ROOT / "README.md").read_text()
    section = text.split("## Try it in separate shells")[1].split("\n## ")[0]
    found = re.findall(r"^(Shell \d):.*?```\n(.*?)```", section, re.MULTILINE | re.DOTALL)
    return {name: block.strip().splitlines() for name, block in found}


def with_options(lines: Sequence[str], command: str, options: str) -> list[str]:
    """The same lines with options after one of them, which must stand there as it is."""
    assert lines.count(command) == 1, (command, lines)
    return [f"{line} {options}" if line == command else line for line in lines]


def environment(home: Path) -> dict[str, str]:
    """A person's, with `davy` on the path and nothing of davy's set."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DAVY_")}
    return {**kept, "HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}"}


def typed(lines: Sequence[str], env: dict[str, str], *, before: Sequence[str] = ()) -> str:
    """Type lines into a shell, wait for all of them, and return what was printed."""
    done = subprocess.run(
        [*before, "bash", "-euc", "\n".join(lines)],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, f"{lines}: {done.stdout}{done.stderr}"
    return done.stdout


class Shell:
    """A shell whose last line stays: what it printed, and whether it is still there."""

    def __init__(self, lines: Sequence[str], started: subprocess.Popen[bytes], log: Path) -> None:
        self.lines, self._started, self._log = lines, started, log

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def printed(self) -> str:
        return self._log.read_text(errors="replace")

    def check(self) -> None:
        """It has not ended."""
        assert self._started.poll() is None, f"{self.lines} ended with {self._started.returncode}: {self.printed}"

    def wait_for(self, words: str) -> None:
        """Wait until these words were printed."""
        wait_until(lambda: words in self.printed, self)


@contextmanager
def shell(lines: Sequence[str], env: dict[str, str], log: Path, *, before: Sequence[str] = ()) -> Iterator[Shell]:
    """Type lines into a shell and leave it running; at the end Ctrl-C, to it and what it started."""
    with log.open("wb") as out:
        started = subprocess.Popen(
            [*before, "bash", "-euc", "\n".join(lines)],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Shell(lines, started, log)
    finally:
        _end(started)


def _end(started: subprocess.Popen[bytes]) -> None:
    for number, patience in ((signal.SIGINT, 60), (signal.SIGTERM, 30), (signal.SIGKILL, 30)):
        try:
            os.killpg(started.pid, number)  # a session of its own: its process group has its id
            started.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            started.wait(patience)
        return


def wait_until(true: Callable[[], bool], *shells: Shell, patience: float = PATIENCE_S) -> None:
    """Wait for something to come about, while these shells run."""
    until = time.monotonic() + patience
    while not true():
        for s in shells:
            s.check()
        assert time.monotonic() < until, "\n".join(f"{s.lines}: {s.printed}" for s in shells)
        time.sleep(0.3)
