"""A scenario of a running network: what the ledger tells is what is simulated, and who colludes comes last."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from click.testing import CliRunner

from davy.cli.sim import sim_command
from davy.host.clock import SystemClock
from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.embedded import Producer
from davy.ledger.driver.server import RpcServer, listening
from davy.protocol.chain import RowsInForce
from davy.protocol.errors import Misconfigured
from davy.protocol.limits import hyperparameters
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import Weight
from davy.protocol.words import TOKEN, KeyRole
from davy.sims import Scenario, run, scenario
from davy.sims.noise import UNIT
from davy.sims.play import Play
from davy.sims.snapshot import Snapshot, read_snapshot, seen_in, take_snapshot, write_snapshot
from tests.ledger.rules.world import World, genesis, keys, pub

MINERS = {"m0": (60, 40, 50), "m1": (30, 40, 30), "m2": (20, 20, 20), "m3": (0, 0, 40)}


class Recorded(World):
    """Remembers its blocks, so that a real ledger can make the same."""

    def __init__(self) -> None:
        self.blocks: list[Sequence[bytes]] = []
        h = hyperparameters(tempo=10, immunity=0, max_uids=16, max_validators=4, registrations_an_epoch=8)
        super().__init__(genesis(h))

    def apply(self, raws: Sequence[bytes], evidence: Sequence[bytes] = (), absent: Sequence[bytes] = ()) -> Any:
        self.blocks.append(tuple(raws))
        return super().apply(raws, evidence, absent)


@pytest.fixture(scope="module")
def network() -> Recorded:
    """Three validators with 300, 200 and 100 tokens weigh four miners."""
    w = Recorded()
    for name, amount in (("ann", 300), ("ben", 200), ("eve", 100)):
        w.register(name, f"{name}-hot")
        w.stake(name, f"{name}-hot", amount * TOKEN)
    w.register("cat", *MINERS)
    w.end_epoch()
    w.end_epoch()
    uid = {m: w.neuron(m).uid for m in MINERS}
    rows = {
        f"{name}-hot": tuple(
            Weight(uid[m], w.subject(w.neuron(m)), given[i]) for m, given in MINERS.items() if given[i]
        )
        for i, name in enumerate(("ann", "ben", "eve"))
    }
    epochs = {hot: w.commit(hot, row) for hot, row in rows.items()}
    w.end_epoch()
    for hot, row in rows.items():
        w.reveal(hot, row, epochs[hot])
    w.end_epoch()
    return w


def snapshot_of(w: Recorded) -> Snapshot:
    rows = w.query("/weights", (1).to_bytes(2, "big"), RowsInForce)
    return Snapshot(1, w.chain, w.genesis.parameters, w.metagraph(), rows)


def test_stakes_qualities_and_rules_are_the_network_s(network: Recorded) -> None:
    s = Scenario.from_ledger(snapshot_of(network), scenario("cartel").attack, colluding=[0, network.neuron("m1").uid])
    # ann has UID 0 and colludes, so she comes last; of 200, 100 and 300 tokens she holds half.
    held = [network.neuron(f"{name}-hot").stake for name in ("ben", "eve", "ann")]
    assert s.market.stakes == " ".join(map(str, held))
    assert s.attack.stake == held[2] / sum(held)
    assert (s.attack.validators, s.attack.miners) == (1, 1)
    assert (s.market.validators, s.market.miners) == (3, 4)
    # The median by stake is what the smaller half gives at most: ann's 60, 30 and 20 of 110, and nothing for m3.
    qualities = [int(q) for q in s.market.qualities.split()]
    assert qualities[0] == UNIT
    assert np.array(qualities[1:]) / UNIT == pytest.approx([20 / 60, 0.0, 30 / 60], abs=1e-3)
    assert (s.market.concealment, s.market.tempo, s.mechanism) == (1, 10, "yuma3")
    assert s.market.emission == pytest.approx(10)
    assert s.market.price == network.subnet().registration_price / TOKEN
    assert 0 < s.market.noise < 1
    play = Play(s, range(2))
    assert play.world.stake.tolist() == [held] * 2
    assert play.world.quality.tolist() == [qualities] * 2
    assert run(s.having({"runs": 2, "epochs": 5})).metrics["relative_pay"].shape == (2,)


def test_a_cartel_may_bring_miners_of_its_own(network: Recorded) -> None:
    s = Scenario.from_ledger(snapshot_of(network), scenario("cartel").attack, colluding=[0])
    assert (s.market.miners, s.attack.miners) == (4 + 8, 8)
    world = Play(s.having({"market.churn": 1.0}), range(1)).world
    world.advance()
    assert set(world.quality[0, :4].tolist()) <= {int(q) for q in s.market.qualities.split()[:4]}


def test_self_dealers_bring_a_miner_each(network: Recorded) -> None:
    told, attack = snapshot_of(network), scenario("self-dealing").attack
    s = Scenario.from_ledger(told, attack, colluding=[0, 1])
    assert (s.attack.validators, s.attack.miners, s.market.miners) == (2, 2, 4 + 2)
    with pytest.raises(Misconfigured, match="one a validator"):
        Scenario.from_ledger(told, attack, colluding=[0, 1, network.neuron("m1").uid])


def test_a_share_of_stake_that_the_network_has_not_is_refused(network: Recorded) -> None:
    s = Scenario.from_ledger(snapshot_of(network), scenario("cartel").attack, colluding=[0])
    with pytest.raises(Misconfigured, match=r"by market\.stakes the attackers hold"):
        s.having({"attack.stake": 0.1})


def test_who_is_not_there_cannot_collude_and_somebody_stays_honest(network: Recorded) -> None:
    told, attack = snapshot_of(network), scenario("cartel").attack
    for colluding in ([99], [0, 1, 2]):
        with pytest.raises(Misconfigured, match=r"UID 99|honest"):
            Scenario.from_ledger(told, attack, colluding=colluding)
    empty = Snapshot(1, told.chain, told.parameters, told.graph, RowsInForce(1, told.rows.height, ()))
    with pytest.raises(Misconfigured, match="weights"):
        seen_in(empty, ())


def test_a_snapshot_is_kept_and_read_and_nothing_else_is(network: Recorded, tmp_path: Path) -> None:
    told = snapshot_of(network)
    write_snapshot(told, tmp_path / "net")
    assert read_snapshot(tmp_path / "net") == told
    (tmp_path / "junk").write_bytes(b"junk")
    for name in ("junk", "absent"):
        with pytest.raises(Misconfigured, match="snapshot"):
            read_snapshot(tmp_path / name)


def test_the_command_plays_a_snapshot(network: Recorded, tmp_path: Path) -> None:
    write_snapshot(snapshot_of(network), tmp_path / "net")
    small = ["--set", "runs=2", "--set", "epochs=4", "--json"]
    told = CliRunner().invoke(
        sim_command, ["run", "weight-copying", "--from", str(tmp_path / "net"), "--colluding", "1", *small]
    )
    assert told.exit_code == 0, told.output
    assert '"market.stakes"' in told.output
    for words in (["--colluding", "1"], ["--from", str(tmp_path / "net"), "--colluding", "ann"]):
        assert CliRunner().invoke(sim_command, ["run", "cartel", *words, *small]).exit_code != 0


def page_commands(url: str, place: Path) -> None:
    """Those of docs/simulate.md, and its block, with this ledger in place of the page's."""
    page = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text(encoding="utf-8")
    (shell,) = re.findall(r"^```shell\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = shell.replace("http://127.0.0.1:26657", url).replace("market.snapshot", str(place / "net")).splitlines()
    assert len(lines) == 2
    for line in lines:
        told = CliRunner().invoke(sim_command, line.split()[2:])
        assert told.exit_code == 0, (line, told.output)
    (block,) = [b for b in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "from_ledger" in b]
    exec(compile(block.replace("market.snapshot", str(place / "net")), "page", "exec"), {})


class ProducerKey:
    def public(self, role: KeyRole) -> bytes:
        return pub("producer")

    def sign(self, role: KeyRole, domain: Domain, body: bytes) -> bytes:
        return sign(keys("producer")[1], domain, body)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_ledger_tells_it_over_the_wire(network: Recorded, tmp_path: Path, anyio_backend: str) -> None:
    with closing(BlockStore(tmp_path / "ledger.db")) as store:
        producer = Producer(network.genesis, store, ProducerKey(), SystemClock())  # type: ignore[arg-type]
        for raws in network.blocks:
            for raw in raws:
                producer.submit(raw)
            await producer.make_block()
        async with listening(RpcServer(producer).app, "127.0.0.1", 0) as url:
            await anyio.to_thread.run_sync(page_commands, url, tmp_path)
            told = await anyio.to_thread.run_sync(take_snapshot, url)
            assert told.chain == network.chain
            assert seen_in(told, (0,)).stakes.tolist() == seen_in(snapshot_of(network), (0,)).stakes.tolist()
            assert told.rows.rows == snapshot_of(network).rows.rows
            attack = scenario("cartel").attack
            s = await anyio.to_thread.run_sync(lambda: Scenario.from_ledger(url, attack, colluding=[0]))
            assert s == Scenario.from_ledger(told, attack, colluding=[0])
