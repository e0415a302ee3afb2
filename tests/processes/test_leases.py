"""A systemic model on a miner that is a process: it waits for its LEASE, warns of its end, and stops without a ledger.

A node takes for fresh what is `FRESH_S` old here instead of a minute, so that nobody waits for a minute.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import msgspec
import pytest

from davy.host.clock import SystemClock
from davy.host.store import SqliteStore
from davy.killswitch.index import INDEX, read_index
from davy.network.fan_out import order_bodies
from davy.protocol.brake_messages import BrakeReply, OrderPage
from davy.protocol.encoding import decode, encode
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import DAY_MS
from davy.protocol.order import Heartbeat, Lease, OrderAction
from tests.processes.five import line
from tests.processes.mine import BACKEND, hasty, status_of
from tests.processes.producers import FourProducers
from tests.processes.shells import Shell, environment, shell, typed, wait_until
from tests.processes.test_keyholders import made, unseen
from tests.twins.keyholders import Keyholders

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2_400)]

FRESH_S, LESS_FRESH_S = 6, 10
NAMED = "--backend mine.py:Mine"


class Place:
    """A chain whose keyholders are here, of one process or of four producers, and a miner of a systemic model."""

    def __init__(self, folder: Path, *, producers: bool) -> None:
        self.folder, self.keyholders, self.clock = folder, Keyholders(), SystemClock()
        self.env = {**environment(folder), "DAVY_PASSWORD": "mine", "DAVY_HOME": str(folder / "miner")}
        path = ":".join(filter(None, (str(folder), self.env.get("PYTHONPATH"))))
        self.env |= {"DAVY_NETWORK": str(folder / "network.json"), "PYTHONPATH": path}
        self._ledger: ExitStack | None = None
        self._with_producers, self._producers = producers, None
        self.endpoint = self.local = self.model = ""
        self.issued = 0

    def type(self, *lines: str) -> str:
        return typed([f"cd {self.folder}", *lines], self.env)

    def begin(self) -> None:
        """Make the miner's keys and start the chain; its coldkey has tokens."""
        (self.folder / "roster").write_bytes(encode(self.keyholders.roster))
        cold = json.loads(self.type("davy key new --quick --json"))["coldkey"]
        if self._with_producers:
            self._producers = FourProducers(self.folder, cold)
        self.up()
        if self._producers is None:
            self.type("davy faucet")

    def up(self, port: int = 0) -> None:
        self._ledger = ExitStack()
        if self._producers is not None:
            self._ledger.enter_context(self._producers)
            return
        lines = [f"cd {self.folder}", f"exec davy up --home chain --port {port} --block-time 200 --keyholders roster"]
        started = self._ledger.enter_context(shell(lines, self.env, self.folder / f"up{time.monotonic_ns()}.log"))
        started.wait_for("the faucet gives tokens")

    def register(self) -> None:
        """The miner's UID, and its model as a systemic one."""
        self.type("davy register")
        self.model = json.loads(self.type(f"davy model register {NAMED} --systemic --json"))["model"]

    def down(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def signed(self, action: OrderAction, days: float = 0.0) -> bytes:
        """An order of now, signed as a quorum would."""
        genesis = decode((self.folder / "chain" / "genesis").read_bytes(), Genesis, limit=2**20)
        now = self.issued = self.clock.now()
        order = self.keyholders.order(chain_id(genesis), action, now, now + round(days * DAY_MS) if days else 0)
        return self.keyholders.sign(order)

    def order(self, action: OrderAction, days: float = 0.0) -> str:
        """The file of such an order."""
        (self.folder / "order").write_bytes(self.signed(action, days))
        return "order"

    @contextmanager
    def serving(self) -> Iterator[Shell]:
        """The miner as a process; what it said when it began is noted here."""
        serve = f"exec davy miner {NAMED} --insecure-local 0 --brake mine:hasty --json"
        with shell([f"cd {self.folder}", serve], self.env, self.folder / f"miner{time.monotonic_ns()}.log") as miner:
            miner.wait_for('"local"')
            (started,) = [json.loads(line) for line in miner.printed.splitlines() if line.startswith("{")]
            self.endpoint, self.local = started["endpoint"], started["local"]
            yield miner

    def asked(self) -> int:
        return status_of(self.local, self.model)

    def seen(self) -> int:
        """When the newest sign of ledger or keyholders was given, as the node says to anybody."""
        return decode(self._brake(), OrderPage, limit=2**20).seen

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Keyholders who send the node a heartbeat each second."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(1):
                reply = decode(self._brake(*order_bodies([self.signed(Heartbeat(bytes(32)))])), BrakeReply, limit=2**20)
                assert len(reply.attestations) == 1, reply

        with ThreadPoolExecutor(1) as threads:
            beats = threads.submit(beat)
            try:
                yield
            finally:
                over.set()
            beats.result()

    def _brake(self, body: bytes | None = None) -> bytes:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(f"https://{self.endpoint}/brake", body)
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            return answer.read()


@pytest.fixture(params=["one process", pytest.param("four producers", marks=pytest.mark.engine)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with TemporaryDirectory() as folder:  # short enough for a socket
        place = Place(Path(folder), producers=request.param == "four producers")
        (place.folder / "mine.py").write_text(BACKEND + hasty(FRESH_S))
        try:
            place.begin()
            yield place
        finally:
            place.down()


def is_stale(miner: Shell) -> bool:
    """What it told last of itself."""
    return miner.printed.rfind("this node is stale") > miner.printed.rfind("not stale any more")


def test_from_its_lease_to_a_ledger_that_is_gone(place: Place) -> None:
    place.register()
    with place.serving() as miner:
        miner.wait_for("stands still: it has no LEASE that counts")
        assert place.asked() == 451

        lease = place.order(Lease((bytes.fromhex(place.model),)), 2.5)
        (brought,) = json.loads(place.type(f"davy brake bring {lease} --json"))
        assert brought["told"] == "recorded in a block"
        wait_until(lambda: place.asked() == 200, miner)
        miner.wait_for("in 3 days or less; without another it stops")
        wait_until(lambda: place.endpoint in place.type("davy status --json"), miner)
        status = json.loads(place.type("davy brake status --json"))
        (leased,) = status["leases"]
        assert (leased["model"], leased["warning_days"], leased["lapsed"]) == (place.model, 3, False)
        assert [(p["knows"], p["stale"]) for p in status["places"]] == [("all", False)] * 2
        assert "WARNING: the LEASE of systemic model" in place.type("davy brake status")

        port = json.loads((place.folder / "network.json").read_text())["ledger"].rsplit(":", 1)[1].strip("/")
        place.down()
        last = place.seen()
        wait_until(lambda: place.asked() == 451, miner)
        assert place.clock.now() - place.seen() > FRESH_S * 1000
        miner.wait_for("this node is stale")

        (place.folder / "book").write_text(f"{place.endpoint}\n")
        beat = place.order(Heartbeat(bytes(32)))
        (brought,) = json.loads(place.type(f"davy brake bring {beat} --book book --network nowhere --json"))
        assert brought["reached"], brought
        assert place.seen() == place.issued, "a sign of the keyholders, and the newest"
        with place.beating():  # it serves by them alone: the ledger's last block is long stale
            wait_until(lambda: place.clock.now() > last + 4 * FRESH_S * 1000 and place.asked() == 200, miner)
        wait_until(lambda: place.asked() == 451, miner)
        wait_until(lambda: is_stale(miner), miner)

        place.up(int(port))
        wait_until(lambda: place.asked() == 200, miner)
        wait_until(lambda: not is_stale(miner), miner)


@pytest.mark.parametrize("place", ["one process"], indirect=True)
def test_a_clock_that_was_ahead_stops_it_and_the_ledgers_time_lets_it_go_on(place: Place) -> None:
    place.register()
    lease = place.order(Lease((bytes.fromhex(place.model),)), 2.5)
    place.type(f"davy brake bring {lease}")
    with place.serving() as miner:
        wait_until(lambda: place.asked() == 200, miner)
        wait_until(lambda: place.endpoint in place.type("davy status --json"), miner)
    with SqliteStore(place.folder / "miner" / "store.db") as store:
        kept = read_index(anyio.run(store.get, INDEX) or b"")
        ahead = msgspec.structs.replace(kept, own=kept.own + 400 * DAY_MS)
        anyio.run(store.put, INDEX, encode(ahead))
    with place.serving() as miner:
        miner.wait_for("days 23 hours ahead once")
        assert "or until you stop it and type `davy brake clock`" in miner.printed
        wait_until(lambda: place.asked() == 451, miner)  # 429 until it knows what it serves
        status = json.loads(place.type("davy brake status --json || true"))
        assert [(p["knows"], p["stale"]) for p in status["places"]] == [("all", False), ("all", True)]
    told = json.loads(place.type("davy brake clock --json"))
    assert told["kept_before"] > told["kept_now"]
    with place.serving() as miner:
        wait_until(lambda: place.asked() == 200, miner)
        assert "ahead once" not in miner.printed


def test_heartbeats_of_three_keyholders_keep_it_running_once_the_ledger_is_gone_for_good() -> None:
    """Each is made by three processes, and this node takes for fresh what is `LESS_FRESH_S` old."""
    with made() as table:
        assert table.chain is not None
        (table.folder / "mine.py").write_text(BACKEND + hasty(LESS_FRESH_S))
        env = {**table.env("miner"), "PYTHONPATH": f"{table.folder}:{os.environ.get('PYTHONPATH', '')}".strip(":")}
        here = f"cd {table.folder}"
        typed([here, "davy key new --quick", "davy faucet", "davy register"], env)
        model = json.loads(typed([here, f"davy model register {NAMED} --systemic --json"], env))["model"]
        serve = f"exec davy miner {NAMED} --insecure-local 0 --brake mine:hasty --json"
        with shell([here, serve], env, table.folder / "miner.log") as miner:
            miner.wait_for('"local"')
            (started,) = [json.loads(printed) for printed in miner.printed.splitlines() if printed.startswith("{")]
            (table.folder / "book").write_text(f"{started['endpoint']}\n")

            def answers() -> bool:
                return status_of(started["local"], model) == 200

            with unseen(table, ["bob", "carol", "dave"], "lease,heartbeat"):
                lease = line("Systemic models", "davy keyholder lease", MODEL=model)
                assert table.coordinate("alice", f"{lease} --yes --json").result()["signers"]
                wait_until(answers, miner)
                os.kill(table.chain.pid, signal.SIGKILL)
                gone = time.monotonic()
                heartbeat = line("Systemic models", "davy keyholder heartbeat") + " --book book --network nowhere"

                def goes_on() -> bool:
                    acting = table.coordinate("alice", f"{heartbeat} --yes --json")
                    beaten = acting.result()
                    assert acting.says("keeps running  systemic models that are leased")
                    assert [(d["route"], d["reached"]) for d in beaten["released"]] == [("node", True)]
                    assert len(beaten["signers"]) == 3
                    return answers() and time.monotonic() > gone + 2 * LESS_FRESH_S

                wait_until(goes_on, miner)
            wait_until(lambda: status_of(started["local"], model) == 451, miner)
            miner.wait_for("this node is stale")
