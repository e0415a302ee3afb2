"""Orders by libp2p between miners that are processes of a chain: they find each other by the ledger, then go without.

The pull between the nodes is cut, and the ledger gone, before the HALT is given: the second miner has only gossip.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from davy.host.clock import SystemClock
from davy.protocol.encoding import decode, encode
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import DAY_MS
from davy.protocol.order import GroupKey, Halt, Models
from tests.network.gossip.conftest import needs_libp2p
from tests.processes.mine import BACKEND, status_of
from tests.processes.shells import Shell, environment, shell, typed, wait_until
from tests.twins.keyholders import Keyholders

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2_400), needs_libp2p]

WITHOUT_PULL = """

def without_pull(brake):
    import anyio

    brake.peers.run = anyio.sleep_forever
    return brake
"""


class Running(NamedTuple):
    """A miner that serves."""

    process: Shell
    endpoint: str
    local: str
    model: str

    def is_linked(self) -> bool:
        """Whether its gossip process found the other's."""
        return re.search(r"peers by libp2p: [1-9]", self.process.printed) is not None

    def asked(self) -> int:
        return status_of(self.local, self.model)


def test_a_halt_goes_from_miner_to_miner_by_gossip_alone(tmp_path: Path) -> None:
    keyholders = Keyholders()
    (tmp_path / "roster").write_bytes(encode(keyholders.roster))
    (tmp_path / "mine.py").write_text(BACKEND + WITHOUT_PULL)
    env = environment(tmp_path)
    path = ":".join(filter(None, (str(tmp_path), env.get("PYTHONPATH"))))
    env |= {"DAVY_PASSWORD": "mine", "DAVY_NETWORK": str(tmp_path / "network.json"), "PYTHONPATH": path}

    def of(name: str) -> dict[str, str]:
        return env | {"DAVY_HOME": str(tmp_path / name)}

    def miner(name: str, opened: ExitStack) -> Running:
        there = f"cd {tmp_path}"
        typed([there, "davy key new --quick", "davy faucet", "davy register"], of(name))
        if name == "one":
            typed([there, "davy model register --backend mine.py:Mine"], of(name))
        serve = "exec davy miner --backend mine.py:Mine --insecure-local 0 --gossip 0 --brake mine:without_pull"
        process = opened.enter_context(shell([there, f"{serve} --verbose --json"], of(name), tmp_path / f"{name}.log"))
        process.wait_for('"local"')
        (said,) = [json.loads(line) for line in process.printed.splitlines() if line.startswith("{")]
        return Running(process, said["endpoint"], said["local"], said["model"])

    with ExitStack() as nodes:
        with ExitStack() as ledger:
            up = "exec davy up --home chain --port 0 --block-time 200 --keyholders roster"
            started = ledger.enter_context(shell([f"cd {tmp_path}", up], env, tmp_path / "up.log"))
            started.wait_for("the faucet gives tokens")
            one, two = miner("one", nodes), miner("two", nodes)
            for node in (one, two):
                wait_until(node.is_linked, node.process)
                wait_until(lambda node=node: node.asked() == 200, node.process)
        genesis = decode((tmp_path / "chain" / "genesis").read_bytes(), Genesis, limit=2**20)
        now = SystemClock().now()
        action = Halt(Models((bytes.fromhex(one.model),), (), ()), GroupKey.HALT)
        order = keyholders.order(chain_id(genesis), action, now, now + DAY_MS)
        (tmp_path / "order").write_bytes(keyholders.sign(order))
        (tmp_path / "book").write_text(f"{one.endpoint}\n")
        assert two.asked() == 200, "without a ledger it serves on"
        typed([f"cd {tmp_path}", "davy brake bring order --book book --network nowhere"], env)
        assert one.asked() == 451
        wait_until(lambda: two.asked() == 451, two.process)
