"""What the pages for owners tell a person to type works as it stands there, line by line."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Say

DOCS = Path(__file__).parents[2] / "docs"
WAITS = {"davy key swap NEW_HOME": "the swap can be executed from height"}
"""Lines that are for later: what they say when they come too soon."""


def lines(page: str) -> list[str]:
    """The commands in a page's shell blocks, without comments."""
    blocks = re.findall(r"```shell\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.strip().splitlines()]


class Reader:
    """Types lines, with what a person would put in for the words in capitals."""

    def __init__(self, say: Say, **known: str) -> None:
        self.say, self.known = say, known
        self.typed: list[str] = []

    def type(self, line: str, **environment: str) -> dict[str, object]:
        words = [self.known.get(word, word) for word in shlex.split(line)]
        assert words[0] == "davy"
        self.typed.append(line)
        said = self.say(*words[1:], "--json", **environment)
        if line in WAITS:
            assert (said.code, WAITS[line] in said.err) == (2, True), said
            return {}
        assert said.code == 0, (line, said)
        return json.loads(said.out)


@pytest.fixture
def newcomer(place: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A home with tokens, a UID and stake, in which the person stands."""
    monkeypatch.setenv("DAVY_HOME", "newcomer")
    keys = say("key", "new", "--quick", "--json").json
    for words in (("faucet", "50"), ("register",), ("stake", "add", "5")):
        assert say(*words, "--json").code == 0
    return {"HOT_OWN": keys["hotkey"], "COLD_OWN": keys["coldkey"]}


def test_stake_is_lent_to_a_child(place: Path, newcomer: dict[str, str], say: Say) -> None:
    child = say("key", "show", "--home", "member", "--json").json["hotkey"]
    reader = Reader(say, HOT_LENDER=newcomer["HOT_OWN"], HOT_CHILD=child)
    consent, lend, children, back, leave = lines("stake.md")
    reader.known["CONSENT"] = str(reader.type(consent, DAVY_HOME="member")["consent"])
    assert reader.type(lend)["will_lend"] == {child: "50.00%"}
    assert reader.type(children)["will_lend"] == {child: "50.00%"}
    assert reader.type(back)["will_lend"] == {}
    assert say("stake", "children", "--hotkey", child, "--json").json["is_lent_by"] == {}
    reader.known["CONSENT"] = str(reader.type(consent, DAVY_HOME="member")["consent"])  # the first may be over
    assert reader.type(lend)["will_lend"] == {child: "50.00%"}
    assert reader.type(leave, DAVY_HOME="member")["will_lend"] == {}


def test_a_key_is_replaced(place: Path, newcomer: dict[str, str], say: Say) -> None:
    new, rotate, announce, swap = lines("keys.md")
    reader = Reader(say, NEW_HOME="renewed")
    made = reader.type(new)
    before = say("status", "--json").json["neurons"]
    assert reader.type(rotate)["replaced_by"] == made["hotkey"]
    after = say("status", "--json").json["neurons"]
    uid = next(n["uid"] for n in before if n["hotkey"] == newcomer["HOT_OWN"])
    assert next(n["hotkey"] for n in after if n["uid"] == uid) == made["hotkey"]
    told = reader.type(announce)
    assert (told["coldkey"], told["successor"]) == (newcomer["COLD_OWN"], made["coldkey"])
    reader.type(swap)
    assert say("transfer", newcomer["COLD_OWN"], "1").code == 2, "it does nothing else meanwhile"


def test_what_the_state_holds_is_proved(place: Path, newcomer: dict[str, str], say: Say) -> None:
    account, stake, neuron, brake, halted, issuance, saved = lines("prove.md")
    reader = Reader(say, PROOF="kept.proof", **newcomer)
    listed = say("stake", "list", "--json").json
    assert int(str(reader.type(account)["free"])) == round(float(listed["free"]) * 10**9)
    assert int(str(reader.type(stake)["amount"])) >= 5 * 10**9
    assert reader.type(neuron)["record"] == "NeuronRecord"
    assert reader.type(brake)["record"] == "BrakeRecord"
    assert reader.type(halted)["there"] is False
    kept = reader.type(issuance)
    assert reader.type(saved, DAVY_NETWORK=str(_unreachable(place))) == kept


def _unreachable(place: Path) -> Path:
    """A network file whose ledger nobody answers at: the chain's id is all that is used of it."""
    there = json.loads((place / "network.json").read_text())
    (place / "offline.json").write_text(json.dumps({**there, "ledger": "http://127.0.0.1:1"}))
    return place / "offline.json"


def test_a_changed_byte_of_a_kept_proof_is_seen(place: Path, say: Say) -> None:
    assert say("verify", "parameters", "--save", "a.proof").code == 0
    raw = (place / "a.proof").read_bytes()
    assert say("verify", "saved", "a.proof").code == 0
    for at in range(3, len(raw), 97):
        (place / "bent").write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        said = say("verify", "saved", "bent")
        assert (said.code, said.out) == (2, ""), at
    there = json.loads((place / "network.json").read_text())
    (place / "other.json").write_text(json.dumps({**there, "chain": "0" * 64}))
    assert say("verify", "saved", "a.proof", DAVY_NETWORK="other.json").code == 2


def test_a_budget_is_opened_and_closed(place: Path, newcomer: dict[str, str], say: Say) -> None:
    opening, shown, closing = lines("budget.md")
    reader = Reader(say)
    opened = reader.type(opening)
    reader.known["BUDGET"] = str(opened["budget"])
    assert reader.type(shown) == opened
    assert (opened["tickets"], opened["deposit"], opened["closed"]) == (1000, "5", 0)
    assert "come again" in str(reader.type(closing)["deposit"])
    assert int(str(reader.type(shown)["closed"])) > 0


def test_a_model_is_retired(place: Path, say: Say) -> None:
    model = say("status", "--json")
    assert model.code == 0
    options = ("--backend", "upstream", "-o", "url=http://localhost:1/v1", "-o", "model=m")
    known = say("model", "register", "--home", "member", *options, "--unasked", "--json").json["model"]
    first = say("model", "retire", known, "--home", "member", "--json").json
    assert first["bond_paid_back"] == "0"
    assert first["leaves_at"] > first["height"]
    assert say("model", "show", known, "--json").json["leaves_at"] == first["leaves_at"]
    again = say("model", "retire", known, "--home", "member")
    assert (again.code, "leaves the register at height" in again.err) == (2, True)
