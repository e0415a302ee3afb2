"""`--json`: one JSON value on standard output, with the fields a program needs."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from davy.protocol.words import KeyRole, key_from_text
from tests.cli.conftest import Network, Say


def test_keys(place: Path, say: Say) -> None:
    made = say("key", "new", "--quick", "--json", "--home", "mine").json
    assert len(made["words"].split()) == 24
    public = {"coldkey": made["coldkey"], "hotkey": made["hotkey"]}
    assert say("key", "show", "--json", "--home", "mine").json == public
    assert len(key_from_text(KeyRole.HOTKEY, made["hotkey"])) == 32
    exported = say("key", "export", "hot", "other", "--home", "mine", "--json").json
    assert exported == {"copied_to": str(place / "other" / "keys" / "hotkey.json"), "password": "the same"}


def test_a_chain(place: Path, say: Say) -> None:
    owner = say("key", "show", "--json").json["coldkey"]
    made = say("ledger", "init", "--home", "another", "--owner", owner, "--allocate", f"{owner}=12", "--json").json
    assert made["home"] == str(place / "another")
    assert len(bytes.fromhex(made["chain"])) == 32


def test_a_member(place: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """From tokens to a UID, stake and a model: what each command answers."""
    monkeypatch.setenv("DAVY_HOME", "newcomer")
    assert say("key", "new", "--quick").code == 0
    given = say("faucet", "25.5", "--json").json
    assert given["amount"] == "25.5"
    quoted = say("register", "--dry-run", "--json").json
    assert quoted["would_register"] is True
    assert quoted["balance"] == "25.5"
    registered = say("register", "--json").json
    assert registered["price"] == quoted["price"]
    assert Decimal(registered["balance"]) == Decimal("25.5") - Decimal(registered["price"]), "what is left after paying"
    moved = say("stake", "add", "3", "--json").json
    assert moved["amount"] == "3"
    assert say("stake", "remove", "1", "--json").json["hotkey"] == moved["hotkey"]
    account = say("stake", "list", "--json").json
    assert account["coldkey"] == given["to"]
    assert account["unbonding"] == "1"
    to = say("key", "show", "--home", "member", "--json").json["coldkey"]
    assert say("transfer", to, "0.5", "--json").json["to"] == to
    graph = say("status", "--json").json
    own = next(n for n in graph["neurons"] if n["hotkey"] == moved["hotkey"])
    assert own["uid"] == registered["uid"]
    assert graph["subnet"]["task"] == "text"
    model = say("model", "register", "-o", "folder=stdlib-a", "--json").json
    assert say("model", "show", model["model"], "--json").json["name"] == "stdlib-a"
    assert model["permitted_from"] == model["registered"]
    again = say("model", "register", "-o", "folder=stdlib-a", "--json").json
    assert again == {"model": model["model"], "name": "stdlib-a", "registered": "before"}


def test_a_registrant_who_says_who_may_ask(place: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set, shown, proved, set anew, taken back."""
    monkeypatch.setenv("DAVY_HOME", "registrant")
    assert [say(*words).code for words in (("key", "new", "--quick"), ("faucet",))] == [0, 0]
    own = say("key", "show", "--json").json
    other = say("key", "show", "--home", "member", "--json").json
    model = say("model", "register", "-o", "folder=stdlib-b", "--json").json["model"]
    shown = say("model", "show", model, "--json").json
    assert (shown["access"], shown["named"]) == ("any", "")
    assert say("verify", "access", model, "--json").json["there"] is False
    names = ("--name", other["hotkey"], "--name", own["coldkey"])
    made = say("model", "access", model, "named", *names, "--json").json
    assert (made["access"], made["named"]) == ("named", f"{own['coldkey']}, {other['hotkey']}")
    shown = say("model", "show", model, "--json").json
    assert (shown["access"], shown["named"]) == ("named", made["named"])
    proved = say("verify", "access", model, "--json").json
    assert (proved["record"], proved["access"], proved["since"]) == ("AccessRecord", "named", made["height"])
    assert proved["hotkeys"] == [key_from_text(KeyRole.HOTKEY, other["hotkey"]).hex()]
    made = say("model", "access", model, "admitted", "--json").json
    assert (made["access"], made["named"]) == ("admitted", "")
    assert say("model", "access", model, "any", "--json").json["access"] == "any"
    assert say("verify", "access", model, "--json").json["there"] is False


def test_a_delegator(place: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stake goes to another's hotkey, back to one's own, and its owner keeps its take; meanwhile it may earn."""
    hotkeys: list[str] = []
    for home in ("delegate", "delegator"):
        monkeypatch.setenv("DAVY_HOME", home)
        assert [say(*words).code for words in (("key", "new", "--quick"), ("faucet",), ("register",))] == [0, 0, 0]
        hotkeys.append(say("key", "show", "--json").json["hotkey"])
    theirs, own = hotkeys
    assert say("stake", "add", "3", "--hotkey", theirs, "--json").json["hotkey"] == theirs
    moved = say("stake", "move", "1", "--from", theirs, "--to", own, "--json").json
    assert (moved["from"], moved["to"], moved["amount"]) == (theirs, own, "1")
    account = say("stake", "list", "--json").json
    assert 2 <= Decimal(account[theirs]) < 3
    assert 1 <= Decimal(account[own]) < 2
    assert say("stake", "take", "--hotkey", theirs, "--json").json["take"] == "18.00%"
    monkeypatch.setenv("DAVY_HOME", "delegate")
    lowered = say("stake", "take", "9.5", "--json").json
    assert (lowered["hotkey"], lowered["take"]) == (theirs, "9.50%")
    assert Decimal(lowered["staked_by_others"]) >= 2


def test_an_owner_and_its_subnet(network: Network, place: Path, say: Say) -> None:
    """A change is told at once, stands as coming, and is in force after the epoch."""
    home = str(network.file.parent / "local")
    before = say("status", "--json").json["subnet"]["hyperparameters"]["kappa"]
    wanted = before - 1
    made = say("subnet", "set", "1", f"kappa={wanted}", "--home", home, "--json", DAVY_PASSWORD="local").json
    assert made["netuid"] == 1
    assert made["coming"] in ({"kappa": wanted}, {}), "the epoch may have ended since"
    while (seen := say("status", "--json").json)["height"] <= made["from"]:
        if seen["height"] < made["from"]:
            assert seen["subnet"]["coming"] == {"height": made["from"], "changes": {"kappa": wanted}}
    assert seen["subnet"]["hyperparameters"]["kappa"] == wanted
    assert seen["subnet"]["coming"] is None


def test_a_network_says_what_its_file_says(network: Network) -> None:
    said = json.loads((network.file.parent / "log").read_text())
    assert said.pop("network") == str(network.file)
    assert len(key_from_text(KeyRole.PRODUCER, said.pop("producer"))) == 32
    assert said == json.loads(network.file.read_text())
