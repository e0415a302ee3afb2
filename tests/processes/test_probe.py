"""Streams held open from outside at miners that are processes: one obeys, one only says so, and one is gone.

Both who hold them are tried on one halt: `davy brake probe` as it is typed, and the demo's outsider.
"""

from __future__ import annotations

import json
import re
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest

from davy.cli.demo.prober import prober
from davy.host.clock import SystemClock
from davy.host.home import Home
from davy.ledger.client import RpcLedger
from davy.protocol.encoding import decode, encode
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import DAY_MS
from davy.protocol.order import GroupKey, Halt, Models, open_order, order_id
from tests.processes.five import BOOK
from tests.processes.mine import BACKEND
from tests.processes.shells import PATIENCE_S, Shell, environment, shell, typed, wait_until
from tests.twins.keyholders import Keyholders

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2_400)]

PASSWORD = "correct horse"
SLOW = """
    slow = True

    def next_token(self, tokens):
        import time

        time.sleep(0.02)
        return {97: 0.5, 98: 0.25}
"""
MINERS = {"obeys": "", "rogue": " --brake davy.sims.adversaries.sabotage:no_guard", "gone": ""}


class Place:
    """A chain whose keyholders are here, three miners of one model, and an outsider with stake."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.folder, self.keyholders, self._opened = folder, Keyholders(), opened
        (folder / "mine.py").write_text(BACKEND + SLOW)
        (folder / "roster").write_bytes(encode(self.keyholders.roster))
        up = "exec davy up --home chain --port 0 --block-time 200 --keyholders roster"
        opened.enter_context(self.stays(up, "up")).wait_for("the faucet gives tokens")
        self.type("outsider", "davy key new --quick", "davy faucet", "davy register", "davy stake add 5")
        self.model, self.at = "", dict[str, str]()
        self.opened: dict[str, ExitStack] = {}
        for name, changed in MINERS.items():
            self.type(name, "davy key new --quick", "davy faucet", "davy register")
            if not self.model:
                made = self.type(name, "davy model register --backend mine.py:Mine --json")
                self.model = json.loads(made)["model"]
            self.opened[name] = opened.enter_context(ExitStack())
            serve = f"exec davy miner --backend mine.py:Mine --json{changed}"
            process = self.opened[name].enter_context(self.stays(serve, name))
            process.wait_for('"endpoint"')
            self.at[name] = json.loads(re.findall(r"^\{.*\}$", process.printed, re.MULTILINE)[0])["endpoint"]

    def env(self, name: str) -> dict[str, str]:
        env = environment(self.folder)
        path = ":".join(filter(None, (str(self.folder), env.get("PYTHONPATH"))))
        own = {"DAVY_PASSWORD": PASSWORD, "DAVY_HOME": str(self.folder / name), "PYTHONPATH": path}
        return env | own | {"DAVY_NETWORK": str(self.folder / "network.json")}

    def type(self, name: str, *lines: str) -> str:
        return typed([f"cd {self.folder}", *lines], self.env(name))

    def stays(self, line: str, name: str, log: str = "") -> AbstractContextManager[Shell]:
        return shell([f"cd {self.folder}", line], self.env(name), self.folder / f"{log or name}.log")

    def order(self) -> bytes:
        """A signed HALT of the model, and the file that holds it."""
        genesis = decode((self.folder / "chain" / "genesis").read_bytes(), Genesis, limit=2**20)
        now, action = SystemClock().now(), Halt(Models((bytes.fromhex(self.model),), (), ()), GroupKey.HALT)
        raw = self.keyholders.sign(self.keyholders.order(chain_id(genesis), action, now, now + DAY_MS))
        (self.folder / "order").write_bytes(raw)
        return raw


async def watched_by_the_demo(place: Place, raw: bytes, probing: Shell) -> tuple[int, int | None]:
    """The demo's outsider watches the one that obeys, and the order is brought: when, and when it saw that one stop."""
    network = json.loads((place.folder / "network.json").read_text())
    async with RpcLedger(network["ledger"], bytes.fromhex(network["chain"])) as ledger:
        neurons = (await ledger.metagraph(1)).neurons
        (obeys,) = [n for n in neurons for e in n.endpoint if f"{e.host}:{e.port}" == place.at["obeys"]]
        before = 0
        async with prober(Home.open(place.folder / "outsider"), PASSWORD, ledger, 1) as outsider:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(outsider.watch_miner, obeys)
                with anyio.fail_after(PATIENCE_S):
                    while not any(w.flows for w in outsider.held.values()):
                        probing.check()
                        await anyio.sleep(0.05)
                before = SystemClock().now()
                bring = ["davy brake bring order --json"]
                await anyio.to_thread.run_sync(typed, [f"cd {place.folder}", *bring], place.env("outsider"))
            watch = outsider.held[obeys.hotkey]
            assert watch.order == raw
            return before, watch.ended


def test_who_obeys_is_told_from_who_says_so_and_from_who_is_gone() -> None:
    (command,) = BOOK["See for yourself that it stopped"]
    with TemporaryDirectory() as folder, ExitStack() as opened:  # short enough for a socket
        place = Place(Path(folder), opened)
        wait_until(lambda: all(at in place.type("outsider", "davy status --json") for at in place.at.values()))
        place.opened["gone"].close()
        raw = place.order()
        order = order_id(open_order(raw)[0].order).hex()
        probe = f"exec {command.replace('MODEL', place.model)} --json"
        with place.stays(probe, "outsider", "probing") as probing:
            probing.wait_for("Streams are open at 2 of 3 miners: give the order now.")
            before, ended = anyio.run(watched_by_the_demo, place, raw, probing)
            probing.wait_for(f"{place.at['obeys']} stopped, ")
        told = json.loads(re.findall(r"^\{.*\}$", probing.printed, re.MULTILINE)[-1])
        assert "Traceback" not in probing.printed
        seen = {row["where"]: row for row in told["miners"]}
        assert {name: seen[at]["state"] for name, at in place.at.items()} == {
            "obeys": "stopped", "rogue": "goes on", "gone": "unreached"
        }  # fmt: skip
        one = seen[place.at["obeys"]]
        assert one["order"] == order
        assert one["tokens"] > 0
        assert ended is not None
        for at in (one["stopped_at"], ended):
            assert before <= at <= SystemClock().now()
        assert (told["stopped"], told["first_at"], told["last_at"]) == (1, one["stopped_at"], one["stopped_at"])
        assert "nobody answers" in seen[place.at["gone"]]["fault"]
