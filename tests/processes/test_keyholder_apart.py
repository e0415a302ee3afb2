"""One keyholder in a network namespace, as on another machine: it signs, and when its wire is cut, three others do."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.processes import test_readme
from tests.processes.shells import shell
from tests.processes.test_keyholders import NAMES, Table, check_with_davy, line

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2_400)]

APART = "erin"
MODEL = "09" * 32
UNSEEN = "--yes-to dkg,halt"


class Apart(Table):
    """The five, one of them behind a wire."""

    def __init__(self, folder: Path, before: list[str]) -> None:
        super().__init__(folder)
        port = self.address[APART].rsplit(":", 1)[1]
        self.address[APART] = f"{test_readme.THERE}:{port}"
        self._before = before

    def _start(self, name: str, options: str) -> None:
        opened = ExitStack()
        before = " ".join(self._before) if name == APART else ""
        command = f"exec {before} {line('Once, before', 'davy keyholder serve')} {options}"
        log = self.folder / f"{name}.log"
        self.serving[name] = opened.enter_context(shell([f"cd {self.folder}", command], self.env(name), log))
        self._open[name] = opened


def halt(table: Table, out: str, patience: str) -> dict[str, Any]:
    command = line("Halt", "davy halt model", MODEL=MODEL) + f" --yes --json --out {out} --patience {patience}"
    return json.loads(table.type("alice", command))


def test_it_signs_over_the_wire_and_when_that_is_cut_three_others_do() -> None:
    with test_readme.namespace() as space, TemporaryDirectory() as folder:
        if not space.before:
            pytest.skip(f"NOT TESTED: whether a keyholder on another machine signs. {space.missing}")
        table = Apart(Path(folder), space.before)
        try:
            first = line("Once, before", "davy keyholder init").replace("HOST:PORT", "AT")
            said = [table.type(n, first.replace("NAME", n).replace("AT", table.address[n]) + " --quick") for n in NAMES]
            (table.folder / "lines").write_text("".join(said))
            for name in NAMES:
                table.type(name, line("Once, before", "davy keyholder circle", FILE="lines"))
            table.serve(*NAMES[1:], options=UNSEEN)
            table.type("alice", line("Once, before", "davy keyholder dkg") + " --yes --json")
            up = [f"cd {table.folder}", "exec davy up --home chain --port 0 --block-time 100 --keyholders roster"]
            with shell(up, table.env("alice"), table.folder / "up.log") as network:
                network.wait_for("the faucet gives tokens")
                for name in NAMES:
                    table.type(name, line("Once, before", "davy keyholder genesis", GENESIS="chain/genesis"))
                for name in ("carol", "dave"):
                    table.stop(name)
                assert sorted(halt(table, "over", "240s")["signers"]) == ["alice", "bob", APART]
                check_with_davy(table, "over")
                subprocess.run(["ip", "link", "set", test_readme.NEAR, "down"], check=True, timeout=60)
                table.serve("carol", options=UNSEEN)
                assert sorted(halt(table, "cut", "240s")["signers"]) == ["alice", "bob", "carol"]
                check_with_davy(table, "cut")
        finally:
            table.close()
