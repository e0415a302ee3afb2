"""Five keyholders, each a process with a home of its own: they make keys, two cannot halt, three can, four lift.

The runbook's commands are typed as they stand in docs/halt.md; what a newcomer fills in is filled in here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from davy.protocol.encoding import decode, encode
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.manifest import Identity
from davy.protocol.order import SignedOrder, verify_order
from davy.protocol.receipt import Anchor, Outcome, Receipt, SignedReceipt
from davy.protocol.signing import Domain, sign
from davy.protocol.words import KeyRole, key_text
from tests.ledger.driver.cometbft.engines import engine
from tests.processes.five import HALT, NAMES, RECORDED, TYPED, Table, line
from tests.processes.producers import FourProducers
from tests.processes.shells import PATIENCE_S, ROOT, shell, wait_until
from tests.twins.keyholders import pair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2_400)]

MODEL = "07" * 32
QUICKLY = "--patience 15s"


@contextmanager
def of_one_process(table: Table) -> Iterator[None]:
    """A chain with these keyholders, by `davy up`."""
    up = [f"cd {table.folder}", "exec davy up --home chain --port 0 --block-time 100 --keyholders roster"]
    with shell(up, table.env("alice"), table.folder / "up.log") as network:
        network.wait_for("the faucet gives tokens")
        table.chain = network
        yield


@contextmanager
def of_four_producers(table: Table) -> Iterator[None]:
    """The same by an engine."""
    with FourProducers(table.folder, key_text(KeyRole.COLDKEY, pair("an owner")[0])):
        yield


@contextmanager
def made(chain: Callable[[Table], AbstractContextManager[None]] = of_one_process) -> Iterator[Table]:
    """Keys made by all five over the network, each person asked; then a chain with them."""
    with TemporaryDirectory() as folder:  # short enough for a socket
        table = Table(Path(folder))
        try:
            first = line("Once, before", "davy keyholder init").replace("HOST:PORT", "AT")
            for n in NAMES:
                command = first.replace("NAME", n).replace("AT", table.address[n])
                told = json.loads(table.type(n, f"{command} --quick --json"))
                table.lines[n], table.words[n] = told["line"], told["words"]
            table.write_lines()
            keep = line("Once, before", "davy keyholder circle", FILE="lines")
            prints = {table.type(name, keep).splitlines()[-2] for name in NAMES}
            assert len(prints) == 1
            table.serve(*NAMES[1:])
            making = table.coordinate("alice", line("Once, before", "davy keyholder dkg") + " --yes --json")
            for question in ("A NEW ROSTER", "THE KEYS"):
                for name in NAMES[1:]:
                    (asked,) = wait_for_matters(table, name)
                    assert asked["screen"].startswith(question)
                    table.type(name, line("When you are asked", "davy keyholder sign", ID=asked["id"][:16]) + " --yes")
            assert making.result()["file"] == "roster"
            with chain(table):
                table.type("erin", "davy keyholder genesis")  # from the ledger
                for name in NAMES[:4]:
                    table.type(name, line("Once, before", "davy keyholder genesis", GENESIS="chain/genesis"))
                yield table
        finally:
            table.close()


def wait_for_matters(table: Table, name: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []

    def arrived() -> bool:
        found[:] = json.loads(table.type(name, line("When you are asked", "davy keyholder pending") + " --json"))
        return bool(found)

    wait_until(arrived, table.serving[name])
    return found


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    with made() as table:
        yield table


@pytest.fixture
def all_serve(table: Table) -> Table:
    table.serve(*(name for name in NAMES[1:] if name not in table.serving))
    return table


def halting(**more: str) -> str:
    return line("Halt", "davy halt model", MODEL=more.get("model", MODEL))


def say_yes(table: Table, names: Sequence[str]) -> None:
    for name in names:
        (asked,) = wait_for_matters(table, name)
        table.type(name, line("When you are asked", "davy keyholder sign", ID=asked["id"][:16]) + " --yes")


@contextmanager
def unseen(table: Table, names: Sequence[str], kind: str) -> Iterator[None]:
    """These sign what is of this kind at once: no command has to be typed in time."""
    for name in names:
        if name in table.serving:
            table.stop(name)
    table.serve(*names, options=f"--yes-to {kind}")
    try:
        for name in names:
            assert "DANGEROUS" in table.serving[name].printed
        yield
    finally:
        for name in names:
            table.stop(name)


@pytest.fixture(scope="module")
def drilled(table: Table) -> str:
    """The file of a signed order that stops nothing."""
    table.serve(*(name for name in NAMES[1:] if name not in table.serving))
    with unseen(table, ["bob", "carol"], "drill"):
        table.type("alice", f"{line('Rehearse', 'davy keyholder drill', MODEL=MODEL)} --yes --json --out drilled")
    return "drilled"


def test_two_of_five_cannot_halt(all_serve: Table) -> None:
    for name in ("carol", "dave", "erin"):
        all_serve.stop(name)
    with unseen(all_serve, ["bob"], "halt"):
        trying = all_serve.coordinate("alice", f"{halting()} --yes --json {QUICKLY} --out two")
        assert "2 of the 3 keyholders needed said yes; no answer from" in trying.refusal()
    assert not (all_serve.folder / "two").exists()


def test_three_of_five_halt_three_cannot_lift_four_can(all_serve: Table) -> None:
    table = all_serve
    for name in ("dave", "erin"):
        table.stop(name)
    acting = table.coordinate("alice", f"{halting()} --yes --json --out halt")
    say_yes(table, ["bob", "carol"])
    halted = acting.result()
    assert sorted(halted["signers"]) == ["alice", "bob", "carol"]
    check_with_davy(table, "halt")
    assert any(row.items() >= RECORDED.items() for row in halted["released"])
    assert halted["order"] in {h["order"] for h in brake_status(table)["halts"]}
    assert f"halt {halted['order']}" in stranger(table, "verify_order.py", "halt")
    orders = json.loads(table.type("alice", line("Let it run again", "davy keyholder status") + " --json"))["orders"]
    assert halted["order"] in {known["order"] for known in orders}
    lift = line("Let it run again", "davy lift", ORDER=halted["order"][:12])
    with unseen(table, ["bob", "carol"], "lift"):
        trying = table.coordinate("alice", f"{lift} --yes --json {QUICKLY} --out three")
        assert "3 of the 4 keyholders needed" in trying.refusal()
    table.serve("bob", "carol", "dave")
    acting = table.coordinate("alice", f"{lift} --yes --json --out lift")
    say_yes(table, ["bob", "carol", "dave"])
    assert len(acting.result()["signers"]) == 4
    check_with_davy(table, "lift")
    for signed in ("halt", "lift"):  # by hand, whatever the other routes did
        (brought,) = json.loads(table.type("erin", f"davy brake bring {signed} --json"))
        assert brought == RECORDED
    assert ": lift " in stranger(table, "verify_order.py", "lift")
    assert halted["order"] not in {h["order"] for h in brake_status(table)["halts"]}


def test_a_halt_is_carried_on_and_four_halt_beyond_the_allowance(all_serve: Table) -> None:
    table, model, heading = all_serve, "88" * 32, "When a halt runs out"

    def until(order: str) -> str:
        (found,) = [h["until"] for h in brake_status(table)["halts"] if h["order"] == order]
        return found

    with unseen(table, ["bob", "carol", "dave"], "halt,extend"):
        halted = table.coordinate("alice", f"{halting(model=model)} --for 1d --yes --json").result()["order"]
        before = until(halted)
        acting = table.coordinate("alice", line(heading, "davy keyholder extend", ORDER=halted[:12]) + " --yes --json")
        assert any(row.items() >= RECORDED.items() for row in acting.result()["released"])
        assert acting.says("by the orders known here 1 days 0 hours are used before this")
        assert acting.says(f"ended          {before}")
        assert until(halted) > before
        beyond = line(heading, "davy halt model", MODEL=model)
        table.stop("dave")
        trying = table.coordinate("alice", f"{beyond} --yes --json {QUICKLY}")
        assert "3 of the 4 keyholders needed" in trying.refusal()
        table.serve("dave", options="--yes-to halt")
        acting = table.coordinate("alice", f"{beyond} --yes --json")
        done = acting.result()
        assert (len(done["signers"]), acting.says("none is used: what the LIFT key stops")) == (4, True)
        assert done["order"] in {h["order"] for h in brake_status(table)["halts"]}
    table.serve("bob", "carol", "dave")


@pytest.mark.engine
def test_on_four_producers_too() -> None:
    """The orders stand in blocks that three of four producers signed."""
    if engine() is None:
        pytest.skip("there is no engine: `make engine` builds it, and needs Go")
    with made(of_four_producers) as table:
        test_two_of_five_cannot_halt(table)
        table.serve(*NAMES[1:])
        test_three_of_five_halt_three_cannot_lift_four_can(table)


def test_a_model_is_raised_leased_and_lowered_and_keyholders_vouch_for_a_minute(all_serve: Table) -> None:
    table, model = all_serve, "77" * 32
    with unseen(table, ["bob", "carol", "dave"], "raise,lease,lower,heartbeat"):

        def given(word: str, code: int = 0, **words: str) -> dict[str, Any]:
            command = line("Systemic models", f"davy keyholder {word}", **words)
            return table.coordinate("alice", f"{command} --yes --json").result(code)

        given("raise", MODEL=model)
        assert given("lease", MODEL=model)["released"][0]["reached"]
        (leased,) = brake_status(table)["leases"]
        assert (leased["model"], leased["warning_days"], leased["lapsed"]) == (model, None, False)
        given("lower", MODEL=model)
        assert brake_status(table)["leases"] == []
        beaten = given("heartbeat", code=1)
        assert [(d["route"], d["reached"]) for d in beaten["released"]] == [("ledger", False)], "for nodes only"
    table.serve("bob", "carol", "dave")


def test_an_order_that_nobody_has_is_no_success_and_can_be_brought(all_serve: Table) -> None:
    table = all_serve
    with unseen(table, ["bob", "carol"], "halt"):
        acting = table.coordinate("alice", f"{halting(model='12' * 32)} --yes --json --network nowhere")
        halted = acting.result(code=1)
    assert halted["released"] == []
    sentence = (table.folder / "alice.coordinating").read_text().splitlines()[-1]
    (bring,) = re.findall(r"`(davy brake bring \S+) --book FILE`", sentence)
    (brought,) = json.loads(table.type("alice", f"{bring} --json"))
    assert brought == RECORDED
    assert halted["order"] in {h["order"] for h in brake_status(table)["halts"]}
    table.serve("bob", "carol")


def test_one_killed_in_mid_session_and_another_coordinator(all_serve: Table) -> None:
    """Carol says yes and is killed; the coordinator goes on with dave. Erin coordinates another at the same time."""
    table = all_serve
    table.stop("erin")
    first = table.coordinate("alice", f"{halting(model='11' * 32)} --yes --json --out first")
    say_yes(table, ["carol"])
    wait_until(lambda: first.says("carol: says yes"))
    table.kill("carol")
    second = table.coordinate("erin", f"{halting(model='22' * 32)} --yes --json --out second")
    for name in ("bob", "dave"):
        wait_until(lambda name=name: len(wait_for_matters(table, name)) == 2, table.serving[name])
        for asked in wait_for_matters(table, name):
            table.type(name, f"davy keyholder sign {asked['id'][:16]} --yes")
    assert sorted(first.result()["signers"]) == ["alice", "bob", "dave"]
    assert sorted(second.result()["signers"]) == ["bob", "dave", "erin"]
    for name in ("first", "second"):
        check_with_davy(table, name)


def test_a_no_is_told_and_a_coordinator_that_dies_leaves_nothing(all_serve: Table) -> None:
    table = all_serve
    dying = table.coordinate("alice", f"{halting(model='33' * 32)} --yes --json --out never")
    for name in NAMES[1:]:
        wait_for_matters(table, name)
    dying.kill()
    for name in NAMES[1:]:
        (asked,) = wait_for_matters(table, name)
        table.type(name, f"davy keyholder refuse {asked['id'][:16]}")
    acting = table.coordinate("bob", f"{halting(model='44' * 32)} --yes --json --out no")
    for name in NAMES[2:]:
        (asked,) = wait_for_matters(table, name)
        table.type(name, f"davy keyholder refuse {asked['id'][:16]}")
    assert "its keyholder said no" in acting.refusal()
    assert not (table.folder / "no").exists()
    assert not (table.folder / "never").exists()


def test_a_drill_is_rehearsed_unseen_only_where_that_was_said(all_serve: Table) -> None:
    table = all_serve
    drill = line("Rehearse", "davy keyholder drill", MODEL=MODEL)
    with unseen(table, ["carol", "dave"], "drill"):
        acting = table.coordinate("alice", f"{drill} --yes --json --out drill")
        done = acting.result()
    assert acting.says("DRILL: a rehearsal; nothing stops")
    assert sorted(done["signers"]) == ["alice", "carol", "dave"]
    assert ": drill " in stranger(table, "verify_order.py", "drill")
    status = brake_status(table)
    assert status["last_drill"]["order"] == done["order"]
    assert [(p["where"], p["knows"]) for p in status["places"]] == [("ledger", "all")]


def test_a_halt_by_sheets_that_are_carried(all_serve: Table) -> None:
    table = all_serve
    table.type("alice", line("Without a network", "mkdir"))
    command = line("Without a network", "davy halt model", MODEL="55" * 32, FILE="carried")
    acting = table.coordinate("alice", f"{command} --yes --json")
    sheets = table.folder / "sheets"
    for journey in (1, 2):
        for name in ("bob", "carol"):
            to, back = sheets / f"to-{name}-{journey}.txt", f"sheets/from-{name}-{journey}.txt"
            wait_until(to.exists, table.serving[name])
            carry = line("Without a network", "davy keyholder carry", SHEET=f"sheets/{to.name}", ANSWER=back)
            carrying = table.coordinate(name, carry)
            if journey == 1:
                say_yes(table, [name])
            carrying.finished()
    assert sorted(acting.result()["signers"]) == ["alice", "bob", "carol"]
    check_with_davy(table, "carried")
    assert "for bob" in table.refused("carol", "davy keyholder carry sheets/to-bob-1.txt")


def test_a_rehearsal_is_signed_and_leaves_nothing(all_serve: Table) -> None:
    table = all_serve
    with unseen(table, ["bob", "carol"], "rehearsal"):
        command = line("Rehearse", "davy halt model", MODEL="66" * 32)
        acting = table.coordinate("alice", f"{command} --yes --json --out rehearsed")
        done = acting.result()
    assert acting.says("REHEARSAL | HALT: stop this")
    assert sorted(done["signers"]) == ["alice", "bob", "carol"]
    assert "signed" not in done
    assert not (table.folder / "rehearsed").exists()


def generations(table: Table, name: str) -> dict[str, Any]:
    told = json.loads(table.type(name, line("Who is there", "davy keyholder status") + " --json"))
    assert told["last_drill"] != ""
    return {row["name"]: row["generation"] if row["reached"] else "away" for row in told["keyholders"]}


def drills(table: Table, coordinator: str, others: Sequence[str]) -> list[str]:
    with unseen(table, others, "drill"):
        command = line("Rehearse", "davy keyholder drill", MODEL=MODEL)
        return sorted(table.coordinate(coordinator, f"{command} --yes --json").result()["signers"])


def test_new_shares_with_a_coordinator_that_is_killed_and_a_lost_one_given_back(all_serve: Table) -> None:
    table, others = all_serve, NAMES[1:]
    refresh = line("New shares", "davy keyholder refresh")
    with unseen(table, others, "refresh"):
        dying = table.coordinate("alice", f"{refresh} --yes --json")
        wait_until(lambda: dying.says("erin: has compared with everybody"))
        dying.kill()
        assert set(generations(table, "bob").values()) - {0, 1, "away"} == set()
        done = table.coordinate("alice", f"{refresh} --yes --json").result()
        assert done["halt"] == "3 of 5"
        assert "not_heard_yet" not in done
        number = done["generation"]
        assert generations(table, "alice") == {"alice": number, **dict.fromkeys(others, number)}
    assert drills(table, "alice", ["bob", "dave"]) == ["alice", "bob", "dave"]
    lost = table.folder / "erin"
    lost.rename(table.folder / "stolen")
    recover = line("A lost share", "davy keyholder init", NAME="erin", HOST="127", PORT="1")
    recover = recover.replace("127:1", table.address["erin"])
    told = json.loads(table.type("erin", f"echo '{table.words['erin']}' | {recover} --quick --json"))
    assert "words" not in told
    assert told["line"].split()[-1] == table.lines["erin"].split()[-1], "the same key"
    table.lines["erin"] = told["line"]
    table.write_lines()
    table.type("erin", line("Once, before", "davy keyholder circle", FILE="lines"))
    table.type("erin", line("Once, before", "davy keyholder genesis", GENESIS="chain/genesis"))
    assert "no share" in table.refused("erin", f"{halting()} --yes")
    with unseen(table, NAMES[:4], "repair"):
        back = table.coordinate("erin", line("A lost share", "davy keyholder repair") + " --yes --json").result()
    assert (back["given_back_to"], back["generation"]) == ("erin", number)
    assert drills(table, "erin", ["bob", "carol"]) == ["bob", "carol", "erin"]
    for name in NAMES[:4]:
        table.type(name, line("Once, before", "davy keyholder circle", FILE="lines"))
    table.serve("bob", "carol", "dave", "erin")


def test_a_stranger_refuses_what_was_changed(table: Table, drilled: str) -> None:
    signed = decode((table.folder / drilled).read_bytes(), SignedOrder, limit=65_536)
    order, (signature,) = signed.order, signed.signatures
    for n, wrong in enumerate((order[:-1] + b"\0", order + b"\0")):
        (table.folder / f"wrong{n}").write_bytes(encode(SignedOrder(1, wrong, (signature,))))
        assert stranger(table, "verify_order.py", f"wrong{n}", fails=True)
    assert stranger(table, "verify_order.py", drilled, genesis=drilled, fails=True)


def test_a_stranger_verifies_a_receipt(table: Table) -> None:
    genesis = decode((table.folder / "chain" / "genesis").read_bytes(), Genesis, limit=2**20)
    miner, secret = pair("a miner")
    z = bytes(32)
    receipt = Receipt(
        1, chain_id(genesis), miner, z, z, z, z, b"\7" * 32, Identity.FILES, Anchor(1, z), z, 1, 1, Outcome.DONE, 1
    )
    body = encode(receipt)
    for name, signed in (("receipt", body), ("forged", body[:-1] + b"\2")):
        signature = sign(secret, Domain.RECEIPT, body)
        (table.folder / name).write_bytes(encode(SignedReceipt(1, signed, signature)))
    assert f"miner {miner.hex()}" in stranger(table, "verify_receipt.py", "receipt")
    assert stranger(table, "verify_receipt.py", "forged", fails=True)


@pytest.mark.parametrize("script", ["verify_order.py", "verify_receipt.py"])
def test_a_stranger_needs_twenty_lines_and_none_of_davy(script: str) -> None:
    text = (ROOT / "examples" / "verify" / script).read_text()
    assert len(text.splitlines()) <= 20
    assert not re.search(r"^\s*(from|import) davy", text, re.MULTILINE)


MISTAKES: dict[str, tuple[str, ...]] = {
    "davy keyholder init --name alice --address 127.0.0.1:1": ("never overwritten", "--home"),
    "davy keyholder init --home new --name Alice --address 127.0.0.1:1": ("not a name", "small letters"),
    "davy keyholder init --home new --name a --address here": ("not an address", "HOST:PORT"),
    "davy keyholder circle roster": ("not a circle", "roster"),
    "davy keyholder circle nothing": ("no file", "create it"),
    "davy keyholder dkg --halt 2 --lift 3 --yes --out r2": ("2 to halt and 3 to lift", "choose"),
    "davy keyholder dkg --halt 3 --lift 4 --yes --out roster": ("exists already", "--out"),
    "davy keyholder dkg --halt 3 --lift 4 --out r2": ("nobody is there", "--yes"),
    "davy keyholder genesis roster": ("not a genesis", "copy"),
    "davy keyholder pending --home chain": ("keyholder serve", "start it"),
    "davy keyholder serve --yes-to everything": ("no proposals of the kind", "choose from"),
    "davy keyholder serve --book roster": ("not an address book",),
    "davy halt model --reason x --yes": ("no model is named", "--file"),
    "davy halt model 07 --reason x --yes": ("not a model id", "64 hex"),
    "davy halt model MODEL --reason x": ("nobody is there", "--yes"),
    "davy halt model MODEL --yes": ("Missing option '--reason'",),
    "davy halt model MODEL --reason 'a\x07b' --yes": ("all print",),
    "davy halt model MODEL --reason x --yes --for 8d": ("too long", "7d"),
    "davy halt model MODEL --reason x --yes --for long": ("not a time", "30m"),
    "davy halt model MODEL --reason x --yes --out roster": ("exists already", "--out"),
    "davy halt model MODEL --reason x --yes --book lines": ("not an address book",),
    "davy halt miner cold_x --reason x --yes": ("begins with 'hot_'",),
    "davy lift 12345678 --reason x --yes": ("HALTs known here", "davy keyholder status"),
    "davy lift 1234567 --reason x --yes": ("too short", "8 digits"),
    "davy keyholder sign 12345678 --yes": ("serve", "start it"),
    "DAVY_PASSWORD=no davy halt model MODEL --reason x --yes": ("password", "try again"),
    "davy halt global --reason x --yes --home chain": ("no key", "keyholder"),
    "davy brake bring roster": ("no signed order", "--out"),
    "davy brake bring drilled --network nowhere": ("nobody to bring it to", "--book"),
    "davy brake convict roster": ("no evidence", "davy ask"),
    "davy up --home new --keyholders lines": ("not a roster", "davy keyholder dkg"),
}


@pytest.mark.parametrize("command", MISTAKES)
@pytest.mark.usefixtures("drilled")
def test_a_mistake_is_one_sentence(table: Table, command: str) -> None:
    before = sorted(p.name for p in table.folder.iterdir())
    told = table.refused("alice", command.replace("MODEL", MODEL))
    for words in MISTAKES[command]:
        assert words in told, told
    after = sorted(p.name for p in table.folder.iterdir())
    assert after == before


def test_every_command_of_the_page_was_typed() -> None:
    """Needs all tests before it; what an outsider types is in `test_probe`."""
    pages = {(heading, command) for heading, commands in HALT.items() for command in commands}
    assert pages - TYPED == {("See for yourself that it stopped", "davy brake probe --model MODEL")}


def brake_status(table: Table) -> dict[str, Any]:
    return json.loads(table.type("alice", line("Who is there", "davy brake status") + " --json"))


def check_with_davy(table: Table, name: str) -> None:
    genesis = decode((table.folder / "chain" / "genesis").read_bytes(), Genesis, limit=2**20)
    verify_order((table.folder / name).read_bytes(), genesis.keyholders[0], chain_id(genesis))


def stranger(table: Table, script: str, signed: str, genesis: str = "chain/genesis", *, fails: bool = False) -> str:
    """Run a script of examples/verify in a Python that does not see davy's source tree."""
    command = [sys.executable, "-I", str(ROOT / "examples" / "verify" / script), genesis, signed]
    done = subprocess.run(command, cwd=table.folder, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode != 0) == fails, done
    return done.stderr if fails else done.stdout
