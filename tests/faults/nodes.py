"""Nodes among the producers: miners as processes, each by the ledger of one producer, that must stop when told to.

They serve one model, whose registrant has nothing else: while it is halted nobody but they is.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
from anyio import to_thread

from davy.host.entropy import OsEntropy
from davy.host.home import Home
from davy.host.keys import QUICK, write_key
from davy.miners.loading import load_manifest
from davy.protocol.manifest import Manifest
from davy.protocol.words import KeyRole
from tests.faults.market import KeyPair, keys
from tests.ledger.driver.cometbft.engines import PATIENCE_S, Producers, davy, until
from tests.processes.mine import BACKEND, status_of

OWNER: Final = keys("owner of the nodes")
HOTKEYS: Final = tuple(keys(f"node {n}") for n in range(1, 5))
"""The first node asks the first producer's ledger, and so on."""
SERVES, STOPPED = 200, 451
_NAME: Final = "mine"
_PASSWORD: Final = "nodes"


class Nodes:
    """All of them; `stack` ends them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir()
        self._folder, self._stack = folder, stack
        self._backend = folder / "mine.py"
        self._backend.write_text(BACKEND)
        self._lives: list[subprocess.Popen[bytes]] = []
        self._told: list[dict[str, Any]] = []

    def manifest(self) -> Manifest:
        """Of the model that they serve."""
        return load_manifest(f"{self._backend}:Mine", {})

    async def start(self, producers: Producers) -> None:
        """Start them, registered as they are, and wait until each serves."""
        for n, hotkey in enumerate(HOTKEYS, 1):
            self._make_home(n, hotkey)
            words = ["miner", "--home", str(self._home(n)), "--network", str(producers.home(n) / "network.json")]
            words += ["--backend", f"{self._backend}:Mine", "--insecure-local", "0", "--json"]
            self._lives.append(self._started(n, words))
        for n in range(1, len(HOTKEYS) + 1):
            await until(lambda n=n: self._said(n), f"node {n} is ready")
            self._told.append(json.loads(self._said(n)))
        await self.until_all(SERVES)

    async def until_all(self, status: int) -> None:
        """Wait until each answers a request so."""
        for n, told in enumerate(self._told, 1):
            said = 0
            with anyio.move_on_after(PATIENCE_S):
                while (said := await to_thread.run_sync(status_of, told["local"], _NAME)) != status:
                    self._check(n)
                    await anyio.sleep(0.1)
            assert said == status, f"node {n} answers {said}, not {status}"

    async def bring(self, order: bytes) -> None:
        """Bring a signed order to all of them, and to no ledger; each attests that it obeys."""
        file, book = self._folder / "order", self._folder / "book"
        file.write_bytes(order)
        book.write_text("".join(f"{told['endpoint']}\n" for told in self._told))
        words = ["brake", "bring", "--network", str(self._folder / "none"), "--book", str(book), "--json", str(file)]
        asked = partial(subprocess.run, davy(words), check=False, capture_output=True, timeout=PATIENCE_S)
        done: subprocess.CompletedProcess[bytes] = await to_thread.run_sync(asked)
        rows = json.loads(done.stdout or b"[]")
        reached = [(row["route"], row["reached"]) for row in rows]
        assert reached == [("node", True)] * len(HOTKEYS), (rows, done.stderr)

    def _make_home(self, n: int, hotkey: KeyPair) -> None:
        home, (_, secret) = Home.create(self._home(n)), hotkey
        write_key(home.keys, KeyRole.HOTKEY, secret[:32], _PASSWORD, entropy=OsEntropy(), cost=QUICK)

    def _started(self, n: int, words: Sequence[str]) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context(self._log(n).open("ab"))
        errors = self._stack.enter_context(self._log(n).with_suffix(".errors").open("ab"))
        environment = {**os.environ, "DAVY_PASSWORD": _PASSWORD}
        life = subprocess.Popen(davy(words), stdin=subprocess.DEVNULL, stdout=log, stderr=errors, env=environment)
        self._stack.callback(_end, life)
        return life

    def _said(self, n: int) -> str:
        """The line that it prints when it is ready."""
        assert self._lives[n - 1].poll() is None, (
            f"node {n} has ended: {self._log(n).with_suffix('.errors').read_text()}"
        )
        line, end, _ = self._log(n).read_text().partition("\n")
        return line if end else ""

    def _check(self, n: int) -> None:
        errors = self._log(n).with_suffix(".errors")
        assert self._lives[n - 1].poll() is None, f"node {n} has ended: {errors.read_text()}"

    def _home(self, n: int) -> Path:
        return self._folder / f"node-{n}"

    def _log(self, n: int) -> Path:
        return self._folder / f"node-{n}.log"


def _end(life: subprocess.Popen[bytes]) -> None:
    life.terminate()
    try:
        life.wait(PATIENCE_S)
    finally:
        life.kill()
        life.wait()
