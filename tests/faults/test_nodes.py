"""The nodes of a run by a ledger of one process, which loses its newest blocks: whoever forgot a halt, too, is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from davy.cli.network import read_network
from davy.ledger.client import RpcLedger
from davy.protocol.encoding import encode
from davy.protocol.words import KeyRole, key_text
from tests.faults.market import SUBNET
from tests.faults.net import COUNCIL, COUNT, PUBLIC, Net
from tests.faults.nodes import GATEWAY, STOPPED, Nodes
from tests.ledger.driver.cometbft.engines import PATIENCE_S, Producers, davy, until
from tests.ports import free_ports

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(2_400)]

ALL = range(1, GATEWAY + 1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Lone:
    """The ledger; its file stands in the home of each producer that there would be."""

    def __init__(self, folder: Path, producers: Producers) -> None:
        self._home, self._kept, self._network = folder / "ledger", folder / "kept", producers.home(1) / "network.json"
        self._network.parent.mkdir(parents=True)
        for n in range(2, COUNT + 1):
            producers.home(n).symlink_to(self._network.parent)
        (self._port,) = free_ports(1)
        roster, cold = folder / "roster", key_text(KeyRole.COLDKEY, PUBLIC)
        roster.write_bytes(encode(COUNCIL.roster))
        given = ("--owner", cold, "--allocate", f"{cold}=1000000", "--keyholders", str(roster), "--subnet", SUBNET)
        assert self._typed("init", *given, "--parameters", "model_review=0").wait(PATIENCE_S) == 0

    async def start(self) -> None:
        self._network.unlink(missing_ok=True)
        words = ("--network", str(self._network), "--port", str(self._port), "--block-time", "100")
        self._life = self._typed("serve", *words)
        await until(self._network.exists, "the ledger answers")

    def client(self) -> RpcLedger:
        network = read_network(self._network)
        return RpcLedger(network.ledger, bytes.fromhex(network.chain))

    async def keep(self) -> None:
        """What it holds now, for `lose`."""
        self.stop()
        shutil.copytree(self._home, self._kept)
        await self.start()

    async def lose(self) -> None:
        """All blocks since `keep`."""
        self.stop()
        shutil.rmtree(self._home)
        self._kept.rename(self._home)
        await self.start()

    def stop(self) -> None:
        self._life.terminate()
        self._life.wait(PATIENCE_S)

    def _typed(self, *words: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, "DAVY_PASSWORD": "ledger"}
        return subprocess.Popen(
            davy(["ledger", *words, "--home", str(self._home)]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env=env,
        )  # fmt: skip


@pytest.mark.parametrize("remember", [True, False])
async def test_nodes_that_forgot_a_halt_with_the_ledger_are_seen(remember: bool, tmp_path: Path) -> None:
    with ExitStack() as stack:
        producers = Producers(tmp_path / "n", tmp_path / "no engine", stack)
        lone = Lone(tmp_path, producers)
        await lone.start()
        stack.callback(lone.stop)
        async with lone.client() as ledger:
            producers.chain = ledger.chain
            net = Net(producers, [ledger], Nodes(tmp_path / "m", stack), None, seed=1)
            await net.start_nodes()
            await lone.keep()
            await net.hand_in(ledger, *net.sign_orders())
            await net.nodes.until_all(STOPPED)
        net.nodes.kill(*ALL)
        await lone.lose()
        if remember:
            await net.nodes.come_back(*ALL)
            return
        for n in ALL:
            for path in net.nodes.home(n).glob("store.db*"):
                path.unlink()
        with pytest.raises(ExceptionGroup) as seen:
            await net.nodes.come_back(*ALL)
        assert seen.group_contains(AssertionError, match="answers 200, not 451")
