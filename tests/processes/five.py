"""Five keyholders as processes with homes of their own, and the runbooks whose commands they type.

These are docs/halt.md and docs/keyholders.md; no two of their headings are the same.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.ports import free_ports
from tests.processes.shells import PATIENCE_S, ROOT, Shell, environment, shell, typed

NAMES = ("alice", "bob", "carol", "dave", "erin")
RECORDED = {"route": "ledger", "to": "", "reached": True, "told": "recorded in a block"}
"""What is said of an order that the ledger took."""


def runbook(page: str) -> dict[str, list[str]]:
    """The commands of a page, by heading."""
    text = (ROOT / "docs" / page).read_text()
    sections = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    blocks: dict[str, list[str]] = {}
    for heading, body in zip(sections[1::2], sections[2::2], strict=True):
        blocks[heading] = [
            line for block in re.findall(r"```\n(.*?)\n```", body, re.DOTALL) for line in block.splitlines()
        ]
    return blocks


CHANGES = runbook("keyholders.md")
HALT = runbook("halt.md")
BOOK = HALT | CHANGES
TYPED: set[tuple[str, str]] = set()
"""Commands of the runbooks that were typed, with their headings."""


def line(heading: str, begins: str, **words: str) -> str:
    """A command of the runbook, whole or as it begins, with a keyholder's own words in place of those in capitals."""
    whole = [command for command in BOOK[heading] if command == begins]
    (found,) = whole or [command for command in BOOK[heading] if command.startswith(begins)]
    TYPED.add((heading, found))
    for name, word in words.items():
        assert re.search(rf"\b{name}\b", found), (name, found)
        found = re.sub(rf"\b{name}\b", word, found)
    return found


class Table:
    """The five, in a folder; each with `DAVY_HOME` of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = free_ports(5)
        self.address = {n: f"127.0.0.1:{p}" for n, p in zip(NAMES, ports, strict=True)}
        self.lines: dict[str, str] = {}
        self.words: dict[str, str] = {}
        self.serving: dict[str, Shell] = {}
        self.chain: Shell | None = None
        """Its ledger, where that is one process."""
        self._open: dict[str, ExitStack] = {}

    def env(self, name: str) -> dict[str, str]:
        own = {"DAVY_PASSWORD": f"of {name}", "DAVY_HOME": str(self.folder / name)}
        return {**environment(self.folder), **own, "DAVY_NETWORK": str(self.folder / "network.json")}

    def type(self, name: str, *lines: str) -> str:
        return typed([f"cd {self.folder}", *lines], self.env(name))

    def refused(self, name: str, command: str) -> str:
        """A command that fails with one sentence and exit code 2; the sentence."""
        done = subprocess.run(
            ["bash", "-euc", f"cd {self.folder}; {command}"], env=self.env(name), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        assert done.returncode == 2, done
        assert done.stdout == ""
        last = done.stderr.splitlines()[-1]
        assert last.startswith("davy: "), done.stderr
        assert "Traceback" not in done.stderr
        return last

    def write_lines(self) -> None:
        (self.folder / "lines").write_text("".join(f"{line}\n" for line in self.lines.values()))

    def serve(self, *names: str, options: str = "") -> None:
        for name in names:
            self._start(name, options)
        for name in names:
            self.serving[name].wait_for(f"{name} listens at {self.address[name]}")

    def _start(self, name: str, options: str) -> None:
        opened = ExitStack()
        command = line("Once, before", "davy keyholder serve")
        log = self.folder / f"{name}.log"
        lines = [f"cd {self.folder}", f"exec {command} {options}"]
        self.serving[name] = opened.enter_context(shell(lines, self.env(name), log))
        self._open[name] = opened

    def stop(self, name: str) -> None:
        del self.serving[name]
        self._open.pop(name).close()

    def kill(self, name: str) -> None:
        os.kill(self.serving[name].pid, signal.SIGKILL)
        self.stop(name)

    def close(self) -> None:
        for name in list(self._open):
            self.stop(name)

    def coordinate(self, name: str, command: str) -> Coordinating:
        return Coordinating(self, name, command)


class Coordinating:
    """A command that waits for others, as it runs."""

    def __init__(self, table: Table, name: str, command: str) -> None:
        self.log = table.folder / f"{name}.coordinating"
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                ["bash", "-euc", f"cd {table.folder}; exec {command}"], env=table.env(name),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=out, text=True,
            )  # fmt: skip

    def says(self, words: str) -> bool:
        return words in self.log.read_text()

    def result(self, code: int = 0) -> dict[str, Any]:
        out, _ = self._process.communicate(timeout=PATIENCE_S)
        assert self._process.returncode == code, self.log.read_text()
        return json.loads(out)

    def finished(self) -> None:
        self._process.communicate(timeout=PATIENCE_S)
        assert self._process.returncode == 0, self.log.read_text()

    def refusal(self) -> str:
        """One sentence, exit code 2, nothing on standard output."""
        out, _ = self._process.communicate(timeout=PATIENCE_S)
        assert (self._process.returncode, out) == (2, ""), self.log.read_text()
        return self.log.read_text().splitlines()[-1]

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()
