"""Real producers as processes: made by `davy ledger init-net`, started by `davy ledger start`, killed by their ids."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import msgspec

from davy.ledger.client import RpcLedger
from davy.ledger.driver.cometbft.install import NAME, is_engine
from davy.protocol.errors import Refused, Unreachable
from tests.ports import free_ports

if TYPE_CHECKING:
    from tests.faults.networks import Networks

ROOT = Path(__file__).parents[4]
PATIENCE_S = 300.0
"""For anything to come about on a machine that is busy; nothing is measured."""


def engine() -> Path | None:
    """The engine's program where it was built; None: nowhere."""
    places = [Path(os.environ.get("DAVY_ENGINE", "/nowhere")), ROOT / "build/engine" / NAME]
    return next((p for p in (*places, Path("~/.davy/engine").expanduser() / NAME) if is_engine(p)), None)


class Producers:
    """A chain's producers, numbered from 1."""

    def __init__(self, root: Path, program: Path, stack: ExitStack, networks: Networks | None = None) -> None:
        self._root, self._program, self._stack, self._networks = root, program, stack, networks
        self._lives: dict[int, subprocess.Popen[bytes]] = {}
        self.chain = b""
        self.peers: list[str] = []
        self.ports: list[int] = []
        self.before, self.options = "", tuple[str, ...]()
        """What each is started with, besides what a start names."""
        self._given = set[int]()

    def make(self, count: int, options: Sequence[str], block_time: int = 100, parameters: str = "") -> None:
        """Make their chain and their homes; models are served at once, which wait for a day where nothing is said."""
        ports = self.more_ports(2 * count)
        self.ports, engines = ports[:count], ports[count:]
        words = ["ledger", "init-net", "--home", str(self._root), "--producers", str(count), "--json"]
        words += ["--block-time", str(block_time), *options]
        words += ["--parameters", ",".join(filter(None, ("model_review=0", parameters)))]
        for n, port in enumerate(engines, 1):
            words += ["--at", f"{self._host(n)}:{port}"]
        said = msgspec.json.decode(self._typed(words))
        self.chain, self.peers = bytes.fromhex(said["chain"]), said["peers"]

    def join(self, asked: int, *options: str) -> int:
        """Make the home of one more, which knows the others' engines and asks the ledger of one; returns its number."""
        port, engine_port = self.more_ports(2)
        n = len(self.ports) + 1
        words = ["ledger", "join", "--home", str(self.home(n)), "--at", f"127.0.0.1:{engine_port}", "--json"]
        words += ["--network", str(self.home(asked) / "network.json"), "--block-time", "100", *options]
        for peer in self.peers:
            words += ["--peer", peer]
        self._typed(words)
        self.ports.append(port)
        return n

    def more_ports(self, count: int) -> list[int]:
        """Free ones that nobody here has, not even one that is away and will listen there again."""
        found = [port for port in free_ports(count + len(self._given)) if port not in self._given][:count]
        self._given.update(found)
        return found

    def _typed(self, words: Sequence[str]) -> bytes:
        done = subprocess.run(davy(words), check=False, capture_output=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def home(self, n: int) -> Path:
        return self._root / f"producer-{n}"

    def start(
        self,
        *numbers: int,
        before: str = "",
        options: Sequence[str] = (),
        program: Path | None = None,
        skew: str = "",
    ) -> None:
        """Start some; `before` is Python that runs first in their processes, `skew` what another engine is told."""
        for n in numbers:
            words = ["ledger", "start", "--home", str(self.home(n)), "--network", str(self.home(n) / "network.json")]
            words += [
                "--host",
                self._host(n),
                "--engine",
                str(program or self._program),
                "--port",
                str(self.ports[n - 1]),
                *self.options,
                *options,
            ]
            log = self._stack.enter_context((self.home(n) / "log").open("ab"))
            within = [] if self._networks is None else self._networks.within(n)
            self._lives[n] = subprocess.Popen(
                [*within, *davy(words, f"{self.before}\n{before}")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "DAVY_SKEW": skew},
            )

    def kill(self, *numbers: int) -> None:
        """SIGKILL to davy's process; its engine finds nobody to talk to."""
        for n in numbers:
            self._lives[n].kill()
            self._lives[n].wait()

    def end(self, *numbers: int) -> None:
        """SIGTERM, and wait."""
        for n in numbers:
            self._lives[n].terminate()
        for n in numbers:
            self._lives[n].wait(PATIENCE_S)

    def pid(self, n: int) -> int:
        """Of davy's process."""
        return self._lives[n].pid

    def url(self, n: int) -> str:
        """Where a producer's ledger answers."""
        return f"http://{self._host(n)}:{self.ports[n - 1]}"

    def _host(self, n: int) -> str:
        return "127.0.0.1" if self._networks is None else self._networks.host(n)

    def ended(self, n: int) -> int | None:
        """How a producer ended by itself; None: it runs."""
        return self._lives[n].poll()

    def forget_state(self, n: int) -> None:
        """Set aside what davy keeps."""
        for path in self.home(n).glob("ledger.db*"):
            path.rename(path.with_name(f"old.{path.name}"))

    def forget_blocks(self, n: int) -> None:
        """Set aside what the engine keeps, but for what it has voted for."""
        data = self.home(n) / "engine/data"
        shutil.rmtree(data.with_name("old"), ignore_errors=True)
        data.rename(data.with_name("old"))
        data.mkdir(mode=0o700)
        (data.with_name("old") / "priv_validator_state.json").rename(data / "priv_validator_state.json")

    def stop(self) -> None:
        for life in self._lives.values():
            life.terminate()
        for life in self._lives.values():
            try:
                life.wait(PATIENCE_S)
            finally:
                life.kill()
                life.wait()

    def engine_of(self, n: int) -> int | None:
        """The process id of a producer's engine."""
        place = str(self.home(n) / "engine").encode()
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
                if place in words and words[1] == b"start":
                    return int(entry.name)
        return None

    def log(self, n: int) -> str:
        return (self.home(n) / "log").read_text(errors="replace")


def davy(words: Sequence[str], before: str = "") -> list[str]:
    """The command `davy …` as of here; `before` is Python that runs first."""
    return [sys.executable, "-c", f"{before}\nfrom davy.cli import main\nmain()", *words]


async def until(holds: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    with anyio.fail_after(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  # of other processes, which set no event here
            await anyio.sleep(0.1)


async def reach(ledger: RpcLedger, height: int) -> None:
    """Wait until a producer tells a block of this height, whose commit its client has verified."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            with suppress(Unreachable, Refused):  # one that begins anew shows fewer blocks than before, for a while
                if (await ledger.head()).height >= height:
                    return
            await anyio.sleep(0.1)
