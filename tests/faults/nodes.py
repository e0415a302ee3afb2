"""Nodes among the producers: miners and a gateway as processes, each by the ledger of one producer, that must obey.

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
from tests.ledger.driver.cometbft.engines import PATIENCE_S, davy
from tests.processes.mine import BACKEND, status_of

OWNER: Final = keys("owner of the nodes")
HOTKEYS: Final = tuple(keys(f"node {n}") for n in range(1, 6))
"""Four miners, by the ledger of one producer each, and last a gateway, by the first one's."""
GATEWAY: Final = len(HOTKEYS)
SERVES, STOPPED = 200, 451
_NAME: Final = "mine"
_PASSWORD: Final = "nodes"


def ledger_of(n: int) -> int:
    """Which producer's ledger a node asks."""
    return 1 + (n - 1) % (GATEWAY - 1)


class Node:
    """One of them, with a home that outlives its processes; `stack` ends these."""

    def __init__(self, folder: Path, n: int, words: Sequence[str], stack: ExitStack) -> None:
        self._name, self._log, self._errors = f"node {n}", folder / f"node-{n}.log", folder / f"node-{n}.errors"
        self._words, self._stack = words, stack
        self._life: subprocess.Popen[bytes] | None = None
        self._told: dict[str, str] = {}

    def start(self) -> None:
        with self._log.open("wb") as log, self._errors.open("ab") as errors:
            self._life = subprocess.Popen(
                davy(self._words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=errors,
                env={**os.environ, "DAVY_PASSWORD": _PASSWORD},
            )
        self._stack.callback(_end, self._life)

    async def ready(self, *, again: bool = False) -> None:
        """Wait until it takes requests; `again`: where it ends, start it again, as operators' machines do."""
        with anyio.fail_after(PATIENCE_S):
            while not (said := self._log.read_text()).endswith("\n"):
                if again and not self._lives:
                    self.start()
                self.check()
                await anyio.sleep(0.05)
        self._told = json.loads(said)

    def kill(self) -> None:
        """SIGKILL, once it was started."""
        assert self._life is not None
        self._life.kill()
        self._life.wait()

    async def status(self) -> int:
        """With which status it answers a request."""
        try:
            return await to_thread.run_sync(status_of, self._told.get("local") or self._told["url"], _NAME)
        except OSError:
            self.check()
            raise

    @property
    def address(self) -> str:
        """As keyholders' books name it."""
        return self._told.get("endpoint") or self._told["url"].removesuffix("/v1")

    @property
    def _lives(self) -> bool:
        return self._life is not None and self._life.poll() is None

    def check(self) -> None:
        """It has not ended."""
        assert self._lives, f"{self._name} has ended: {self._errors.read_text()}"


class Nodes:
    """All of them, numbered from 1."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir()
        self._folder, self._stack = folder, stack
        self._backend = folder / "mine.py"
        self._backend.write_text(BACKEND)
        self._nodes: list[Node] = []

    def manifest(self) -> Manifest:
        """Of the model that they serve."""
        return load_manifest(f"{self._backend}:Mine", {})

    async def start(self, networks: Sequence[Path]) -> None:
        """Start them, registered as they are, each by a network file, and wait until each serves."""
        miner = ("miner", "--backend", f"{self._backend}:Mine", "--insecure-local", "0")
        for n, (hotkey, network) in enumerate(zip(HOTKEYS, networks, strict=True), 1):
            self._make_home(n, hotkey)
            kind = ("gateway", "--port", "0") if n == GATEWAY else miner
            words = [*kind, "--home", str(self.home(n)), "--network", str(network), "--json"]
            self._nodes.append(Node(self._folder, n, words, self._stack))
            self._nodes[-1].start()
        for node in self._nodes:
            await node.ready()
        await self.until_all(SERVES)

    async def until_all(self, status: int) -> None:
        """Wait until each answers a request so."""
        for n in range(1, len(HOTKEYS) + 1):
            await self.until(n, status)

    async def until(self, n: int, status: int, *, never: int = 0) -> None:
        """Wait until one answers a request so; until then it must not answer one by `never`."""
        said = -1
        with anyio.move_on_after(PATIENCE_S):
            while said not in (status, never):
                said = await self._nodes[n - 1].status()
                await anyio.sleep(0.05)
        assert said == status, f"node {n} answers {said}, not {status}"

    async def refuse(self) -> None:
        """All of them do, at once."""
        said = [await node.status() for node in self._nodes]
        assert said == [STOPPED] * len(HOTKEYS), f"nodes answer {said}"

    def kill(self, *numbers: int) -> None:
        """SIGKILL."""
        for n in numbers:
            self._nodes[n - 1].kill()

    async def come_back(self, *numbers: int) -> None:
        """Start killed ones in the homes that they had; whatever they answer, none serves before it refuses."""
        for n in numbers:
            self._nodes[n - 1].start()
        async with anyio.create_task_group() as tasks:
            for n in numbers:
                tasks.start_soon(self._never_serves, n)

    async def _never_serves(self, n: int) -> None:
        await self._nodes[n - 1].ready(again=True)
        await self.until(n, STOPPED, never=SERVES)

    async def bring(self, order: bytes, *, but: int) -> None:
        """Bring a signed order to all but one, and to no ledger; each attests that it obeys, and has it on disk."""
        told = [node.address for n, node in enumerate(self._nodes, 1) if n != but]
        file, book = self._folder / "order", self._folder / "book"
        file.write_bytes(order)
        book.write_text("".join(f"{address}\n" for address in told))
        words = ["brake", "bring", "--network", str(self._folder / "none"), "--book", str(book), "--json", str(file)]
        asked = partial(subprocess.run, davy(words), check=False, capture_output=True, timeout=PATIENCE_S)
        done: subprocess.CompletedProcess[bytes] = await to_thread.run_sync(asked)
        rows: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
        reached = [(row["route"], row["reached"]) for row in rows]
        assert reached == [("node", True)] * len(told), (rows, done.stderr)

    def home(self, n: int) -> Path:
        return self._folder / f"node-{n}"

    def _make_home(self, n: int, hotkey: KeyPair) -> None:
        home, (_, secret) = Home.create(self.home(n)), hotkey
        write_key(home.keys, KeyRole.HOTKEY, secret[:32], _PASSWORD, entropy=OsEntropy(), cost=QUICK)


def _end(life: subprocess.Popen[bytes]) -> None:
    life.terminate()
    try:
        life.wait(PATIENCE_S)
    finally:
        life.kill()
        life.wait()
