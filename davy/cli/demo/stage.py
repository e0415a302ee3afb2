"""Real processes for the demo: each is `davy …`, with its own home and log, ended by its process id."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
from anyio import to_thread

from davy.protocol.errors import DavyError, Misconfigured

PASSWORD: Final = "demo"
_GRACE_S: Final = 5.0
_YIELDS: Final = 10


class StageFailed(DavyError):
    """A process of the demo did not do what the demo needs; `said` is its own sentence, if it said one."""

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


class Stage:
    """A folder, and the processes that run in it.

    Parameters
    ----------
    root
        Empty folder for homes and logs.
    threads
        Compute threads a process may use: many share two cores.
    """

    def __init__(self, root: Path, *, threads: int = 1) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.network = root / "network.json"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self._yielding: frozenset[str] = frozenset()
        first = os.getpid() * 101
        self._ports = iter([10_000 + n % 22_000 for n in range(first, first + 22_000)])
        self._environment = {
            **os.environ,
            "DAVY_NETWORK": str(self.network),
            "DAVY_PASSWORD": PASSWORD,
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": "1",
            "GOMAXPROCS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "NO_COLOR": "1",
        }
        self.peak_bytes = 0

    def home(self, name: str) -> Path:
        """Where a node keeps what is its own."""
        return self.root / name

    def free_addresses(self, count: int) -> list[str]:
        """Addresses on this machine where nobody listens; each is given once.

        Linux gives ports from 32,768 on to whoever asks for any; these are below, each demo looks from another one on.
        """
        found: list[str] = []
        while len(found) < count:
            port = next(self._ports, 0)
            if not port:
                raise StageFailed(
                    f"there are no {count} free ports between 10,000 and 32,000; close what listens there"
                )
            with suppress(OSError), socket.create_server(("127.0.0.1", port)):
                found.append(f"127.0.0.1:{port}")
        return found

    async def do(self, *words: str, home: str | None = None) -> Any:
        """Run `davy … --json` to its end and return what it printed, as values.

        Raises
        ------
        StageFailed
            It ended with an error; the message is its own sentence.
        """
        command = [*_davy(), *words, "--json"]
        environment = self._with_home(home)
        run = partial(subprocess.run, command, env=environment, capture_output=True, stdin=subprocess.DEVNULL)
        done: subprocess.CompletedProcess[bytes] = await to_thread.run_sync(run)
        if done.returncode:
            told = done.stderr.decode(errors="replace").strip().splitlines() or ["(no message)"]
            said = told[-1].removeprefix("davy: ")
            raise StageFailed(f"`davy {' '.join(words)}` ended with {done.returncode}: {said}", said)
        lines = done.stdout.decode().strip().splitlines()
        return json.loads(lines[-1]) if lines else None

    def start(self, name: str, *words: str, yields: bool = False) -> None:
        """Start `davy …` and leave it running; its output goes to `<name>.log`.

        Parameters
        ----------
        yields
            It computes much, and lets others go first: where cores are few, blocks would be followed too late.
        """
        self._commands[name] = list(words)
        self._yielding = self._yielding | {name} if yields else self._yielding - {name}
        self._processes[name] = self._spawn(name, words)

    def amend(self, name: str, option: str, value: str) -> None:
        """Change an option's value for the next start of a process."""
        words = self._commands[name]
        words[words.index(option) + 1] = value

    def restart(self, name: str) -> None:
        """Start a process that has ended again, with the same words. It yields to nobody: the story waits for it."""
        self._yielding -= {name}
        self._processes[name] = self._spawn(name, self._commands[name])

    async def until_said(self, name: str, words: str, patience_s: float = 60.0) -> str:
        """Wait until a process has written some words; return the line they stand in.

        Raises
        ------
        StageFailed
            It ended, or said nothing of the kind in time.
        """
        log = self.root / f"{name}.log"
        with anyio.move_on_after(patience_s):
            while True:
                for line in log.read_text(errors="replace").splitlines():
                    if words in line:
                        return line
                if self._processes[name].poll() is not None:
                    break
                await anyio.sleep(0.05)
        raise StageFailed(f"{name} did not say '{words}': {self.last_words(name)}")

    async def end(self, name: str) -> None:
        """End a process politely, and take it off the stage."""
        process = self._processes.pop(name)
        process.terminate()
        await to_thread.run_sync(process.wait)

    def kill(self, name: str) -> None:
        """End a process as a power cut would: SIGKILL, by its id."""
        process = self._processes[name]
        process.kill()
        process.wait()

    def interrupt(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process by its id."""
        self._processes[name].send_signal(number)

    def check(self) -> None:
        """Look whether every process still runs, and how much memory they hold together.

        Raises
        ------
        StageFailed
            One has ended that nobody ended; the message holds the last line of its log.
        """
        total = 0
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise StageFailed(f"{name} has ended with {process.returncode}: {self.last_words(name)}")
            total += _resident(process.pid)
        self.peak_bytes = max(self.peak_bytes, total)

    def last_words(self, name: str) -> str:
        """The last line a process wrote."""
        lines = (self.root / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "(it wrote nothing)"

    async def close(self) -> None:
        """End every process: politely first, after a grace by SIGKILL."""
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        with anyio.move_on_after(_GRACE_S, shield=True):
            for process in self._processes.values():
                await to_thread.run_sync(process.wait, abandon_on_cancel=True)
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def _spawn(self, name: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.root / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*_davy(), *words],
                env=self._with_home(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if name in self._yielding:
            os.setpriority(os.PRIO_PROCESS, process.pid, min(19, os.nice(0) + _YIELDS))
        return process

    def _with_home(self, name: str | None) -> Mapping[str, str]:
        return self._environment if name is None else {**self._environment, "DAVY_HOME": str(self.home(name))}


def _davy() -> list[str]:
    script = Path(sys.executable).with_name("davy")
    if not script.exists():
        raise Misconfigured(f"there is no command {script}: install davy into this environment first")
    return [str(script)]


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds for itself, by /proc; 0 where there is none."""
    try:
        _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
    except (OSError, ValueError):
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
