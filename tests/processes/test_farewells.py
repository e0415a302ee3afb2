"""Whoever runs until told is told by SIGTERM, as service managers do it: one line of farewell, exit code 0."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes.shells import PATIENCE_S, environment, typed, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2_400)]


class Process:
    """A `davy …` of its own, with what it wrote."""

    def __init__(self, words: str, env: dict[str, str], folder: Path) -> None:
        name = words.split()[0]
        self.words, self._out, self._err = words, folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.started = subprocess.Popen(
                [str(Path(sys.executable).parent / "davy"), *words.split()],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def said(self) -> str:
        return self._err.read_text()

    @property
    def out(self) -> str:
        return self._out.read_text()

    def wait_for(self, ready: Callable[[], bool]) -> None:
        def there() -> bool:
            assert self.started.poll() is None, f"{self.words} ended: {self.out}{self.said}"
            return ready()

        wait_until(there)

    def told(self, number: signal.Signals) -> tuple[int, list[str]]:
        """Tell it to stop; its exit code, and the lines on standard error."""
        os.kill(self.started.pid, number)
        return self.started.wait(PATIENCE_S), self.said.splitlines()


@contextmanager
def running(words: str, env: dict[str, str], folder: Path) -> Iterator[Process]:
    process = Process(words, env, folder)
    try:
        yield process
    finally:
        process.started.kill()
        process.started.wait(PATIENCE_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_each_says_farewell_in_one_line_and_ends_with_code_0(tmp_path: Path, number: signal.Signals) -> None:
    env = {
        **environment(tmp_path),
        "DAVY_PASSWORD": "farewell",
        "DAVY_NETWORK": str(tmp_path / "network.json"),
        "DAVY_HOME": str(tmp_path / "node"),
    }
    keys = typed(["davy key new --quick --json"], env)
    owner = json.loads(keys)["coldkey"]
    chain = {**env, "DAVY_HOME": str(tmp_path / "chain")}
    typed([f"davy ledger init --owner {owner} --allocate {owner}=5000 --parameters model_review=0"], chain)
    with running("ledger serve --port 0 --block-time 100", chain, tmp_path) as ledger:
        ledger.wait_for((tmp_path / "network.json").exists)
        upstream = "--backend upstream -o url=http://localhost:1/v1 -o model=m"
        typed(["davy register", "davy stake add 100", f"davy model register {upstream} --unasked"], env)
        for words, ready, farewell in (
            (f"miner {upstream}", "serving m", "the miner has stopped"),
            ("gateway --port 0", "answering users", "the gateway has stopped"),
            ("validator", "validating subnet 1", "the validator has stopped; what it knows of its miners is kept"),
        ):
            with running(words, env, tmp_path) as node:
                node.wait_for(lambda node=node, ready=ready: ready in node.out)
                assert node.told(number) == (0, [farewell])
        code, lines = ledger.told(number)
        assert (code, lines) == (0, ["the ledger has stopped; started again, it goes on where it is"])
    with running(f"up --home {tmp_path}/local --port 0 --network {tmp_path}/up.json", env, tmp_path) as up:
        up.wait_for(lambda: "the faucet gives tokens" in up.out)
        assert up.told(number) == (0, ["the ledger has stopped; started again, it goes on where it is"])
