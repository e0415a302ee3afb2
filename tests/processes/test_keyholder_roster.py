"""Keyholders change: three processes make keys, a fourth comes and one goes; what was halted stays so.

The commands are typed as they stand in docs/keyholders.md and docs/halt.md.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from davy.killswitch.brake import first_state, take
from davy.protocol.encoding import decode
from davy.protocol.genesis import Genesis
from davy.protocol.order import Install, open_order
from tests.processes.five import CHANGES, RECORDED, TYPED, Table, line
from tests.processes.shells import shell, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2_400)]

TODAY = ("alice", "bob", "carol")
NEXT = ("alice", "bob", "dave")
MODEL = "07" * 32
UNSEEN = "--yes-to dkg,halt,install,lift,raise,lower,refresh,rehearsal"
FAR = "Far apart"


def keep_lines(table: Table, file: str, names: tuple[str, ...]) -> None:
    (table.folder / file).write_text("".join(f"{table.lines[n]}\n" for n in names))


def by_sheets(table: Table, command: str, folder: str, others: Sequence[str], journeys: int) -> dict[str, Any]:
    """Alice coordinates with a folder for sheets; everybody carries theirs there and back, so many times."""
    table.type("alice", line(FAR, "mkdir", FOLDER=folder))
    acting = table.coordinate("alice", f"{command} --yes --json")
    for journey in range(1, journeys + 1):
        carrying = []
        for name in others:
            to, back = table.folder / folder / f"to-{name}-{journey}.txt", f"{folder}/from-{name}-{journey}.txt"
            wait_until(to.exists, table.serving[name])
            carry = line("Without a network", "davy keyholder carry", SHEET=f"{folder}/{to.name}", ANSWER=back)
            carrying.append(table.coordinate(name, carry))
        for each in carrying:
            each.finished()
    return acting.result()


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """Three keyholders and their chain; dave has a key of his own and knows nobody."""
    with TemporaryDirectory() as folder:
        table = Table(Path(folder))
        try:
            first = line("Once, before", "davy keyholder init").replace("HOST:PORT", "AT")
            for n in (*TODAY, "dave"):
                command = first.replace("NAME", n).replace("AT", table.address[n])
                table.lines[n] = json.loads(table.type(n, f"{command} --quick --json"))["line"]
            keep_lines(table, "today", TODAY)
            for name in TODAY:
                table.type(name, line("Once, before", "davy keyholder circle", FILE="today"))
            table.serve("bob", "carol", options=UNSEEN)
            make = line(FAR, "davy keyholder dkg", ROSTER="roster", FOLDER="keys")
            by_sheets(table, make, "keys", ("bob", "carol"), 5)
            up = [f"cd {table.folder}", "exec davy up --home chain --port 0 --block-time 100 --keyholders roster"]
            with shell(up, table.env("alice"), table.folder / "up.log") as network:
                network.wait_for("the faucet gives tokens")
                for name in TODAY:
                    table.type(name, line("Once, before", "davy keyholder genesis", GENESIS="chain/genesis"))
                yield table
        finally:
            table.close()


def order(table: Table, name: str, command: str) -> dict[str, Any]:
    return table.coordinate(name, f"{command} --yes --json").result()


def status(table: Table) -> dict[str, Any]:
    return json.loads(table.type("alice", "davy brake status --json"))


def halted_now(table: Table) -> set[str]:
    return {h["order"] for h in status(table)["halts"]}


def test_keyholders_change_and_what_was_halted_stays_halted(table: Table) -> None:
    halt = order(table, "alice", line("Halt", "davy halt model", MODEL=MODEL))["order"]
    shutil.copytree(table.folder / "carol", table.folder / "before", ignore=shutil.ignore_patterns("control"))

    keep_lines(table, "next", NEXT)
    told = {table.type(n, line("New keyholders", "davy keyholder circle FILE --next", FILE="next")) for n in NEXT[:2]}
    told.add(table.type("dave", line("New keyholders", "davy keyholder circle FILE", FILE="next")))
    assert len({text.splitlines()[-2] for text in told}) == 1, "one fingerprint"
    table.stop("bob")
    table.serve("bob", "dave", options=UNSEEN)
    made = order(table, "alice", line("New keyholders", "davy keyholder dkg", ROSTER="next-roster"))
    assert made["halt"].startswith("2 of 3: ")
    assert status(table)["halts"], "nothing has changed yet"
    assert "no genesis" not in table.type(
        "dave", line("Once, before", "davy keyholder genesis", GENESIS="chain/genesis")
    )

    install = line("New keyholders", "davy keyholder roster", ROSTER="next-roster")
    rehearsed = table.coordinate("alice", f"{install} --rehearse --yes --json")
    assert rehearsed.result()["rehearsed"] is True
    assert rehearsed.says("REHEARSAL | INSTALL: new keys and keyholders")
    acting = table.coordinate("alice", f"{install} --yes --json --out installed")
    done = acting.result()
    for words in ("COMES          dave: holder_", "GOES           carol: holder_", "goes on        HALT", halt[:16]):
        assert acting.says(words), words
    assert any(row.items() >= RECORDED.items() for row in done["released"])
    raw = (table.folder / "installed").read_bytes()
    genesis = decode((table.folder / "chain" / "genesis").read_bytes(), Genesis, limit=2**20)
    action = open_order(raw)[1].action
    assert isinstance(action, Install)
    assert [i.hex() for i in action.carried] == [halt]
    assert take(first_state(genesis), [raw]).refused == ()
    assert halt in halted_now(table)


def test_who_has_gone_signs_nothing_and_who_came_lifts(table: Table) -> None:
    """Needs what the test before it did."""
    (halt,) = halted_now(table)
    again = line("Halt", "davy halt model", MODEL="08" * 32)
    assert "you are not among the keyholders of group epoch 1" in table.refused("carol", f"{again} --yes")
    table.serve("alice", options=UNSEEN)  # so that nobody is waited for
    old = table.refused("carol", f"DAVY_HOME={table.folder}/before {again} --yes")
    table.stop("alice")
    assert "bob: only keyholders of the roster in office ask" in old, "a backup of before asks in vain"
    learnt = json.loads(table.type("carol", f"DAVY_HOME={table.folder}/before davy keyholder status --json"))
    assert learnt["group_epoch"] == "1, without you"
    lifted = order(table, "dave", line("Let it run again", "davy lift", ORDER=halt[:12]))
    assert sorted(lifted["signers"]) == ["bob", "dave"]
    assert halted_now(table) == set()


def test_a_class_is_raised_and_lowered(table: Table) -> None:
    raised = order(table, "alice", line("The class of a model", "davy keyholder raise", MODEL=MODEL))
    lower = line("The class of a model", "davy keyholder lower --raised", ORDER=raised["order"][:12])
    for done in (raised, order(table, "alice", lower)):
        assert any(row.items() >= RECORDED.items() for row in done["released"])
    order(table, "alice", line("The class of a model", "davy keyholder lower MODEL", MODEL=MODEL))


def test_shares_are_rehearsed_and_dealt_anew_by_sheets(table: Table) -> None:
    rehearse = line("Rehearsed", "davy keyholder refresh")
    acting = table.coordinate("alice", f"{rehearse} --yes --json")
    assert acting.result()["generation"] == 0
    assert "REHEARSAL" in json.loads(
        table.type("alice", line("Rehearsed", "davy keyholder repair", NAME="bob") + " --yes --json")
    )
    done = by_sheets(table, line(FAR, "davy keyholder refresh", FOLDER="new"), "new", ("bob", "dave"), 7)
    assert (done["generation"], "not_heard_yet" in done) == (1, False)
    again = order(table, "alice", line("Halt", "davy halt model", MODEL="09" * 32))
    assert "recorded in a block" in {each["told"] for each in again["released"]}


MISTAKES: dict[str, tuple[str, ...]] = {
    "davy keyholder roster roster --reason x --yes": ("group epoch", "make a new one"),
    "davy keyholder roster today --reason x --yes": ("not a roster", "davy keyholder dkg"),
    "davy keyholder lower --reason x --yes": ("nothing is named", "--raised"),
    "davy keyholder lower --raised 12345678 --reason x --yes": ("0 RAISEs known here", "davy keyholder status"),
    "davy keyholder raise --reason x --yes": ("no model is named", "--file"),
    "davy keyholder circle today --next --home nowhere": ("not a home",),
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_one_sentence(table: Table, command: str) -> None:
    told = table.refused("alice", command)
    for words in MISTAKES[command]:
        assert words in told, told


def test_every_command_of_the_page_was_typed() -> None:
    """Needs all tests before it."""
    assert {(heading, command) for heading, commands in CHANGES.items() for command in commands} <= TYPED
