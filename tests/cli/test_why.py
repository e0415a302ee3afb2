"""`davy why`: in a validator's home scores, evidence and pay; in any other home what the ledger knows of it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from davy.host.store import SqliteStore
from davy.protocol.words import KeyRole, key_from_text
from davy.tasks.skill import UNIT
from davy.validators.evidence import Finding
from davy.validators.grounds import Grounds, ground
from davy.validators.standing import Seat, Standings, Verdict
from tests.cli.conftest import Say

IDENTITY = Finding(1.0, "1 of the last 9 answers run again differ; 2 end a miner's pay")
USERS = Finding(0.0, "what it gives to users does not come from the model it registered")


@pytest.fixture
def member(place: Path, say: Say) -> tuple[int, Seat]:
    """UID and seat of the miner that is asked about."""
    hotkey = say("key", "show", "--home", "member", "--json").json["hotkey"]
    n = next(n for n in say("status", "--json").json["neurons"] if n["hotkey"] == hotkey)
    return n["uid"], Seat(key_from_text(KeyRole.HOTKEY, hotkey), n["registered_at"])


def judged(home: Path, seat: Seat, scores: list[float], *, rounds: int = 1, late: int = 0) -> None:
    """What a validator's process leaves in its home."""
    verdicts = [Verdict(f"c{i}", 1_000, round(s * UNIT), "late" if i < late else "") for i, s in enumerate(scores)]
    alike = Finding(0.5, "it answers like another miner, and they share one reward", (seat.hotkey,))
    found = [ground("identity", IDENTITY), ground("originality", alike), ground("users", USERS)]

    async def write() -> None:
        store = SqliteStore(home / "store.db")
        standings, grounds = Standings(1, store), Grounds(1, store)
        for _ in range(rounds):
            await standings.add_round({seat: verdicts}, [seat])
            await grounds.add_round({seat: found}, [seat], swapped=[seat.hotkey], halted=[])
        store.close()

    anyio.run(write)


def test_a_validator_sees_scores_alarms_who_answers_alike_users_and_what_was_forgiven(
    place: Path, say: Say, member: tuple[int, Seat]
) -> None:
    uid, seat = member
    judged(place / "stranger", seat, [1.0, 1.5] * 50, rounds=2, late=3)
    said = say("why", str(uid))
    assert said.code == 0
    assert "skill 1.2500 ± " in said.out
    assert "over 200 challenges" in said.out
    assert "of the 32 listed below 0" not in said.out
    assert "weight by scores 1.2" in said.out
    assert "× 1: 1 of the last 9 answers run again differ; 2 end a miner's pay" in said.out
    assert f"× 0.5: it answers like another miner, and they share one reward (with UID {uid})" in said.out
    assert "× 0: what it gives to users does not come from the model" in said.out
    assert "2 rounds in which it went over to another model" in said.out
    told = say("why", say("key", "show", "--home", "member", "--json").json["hotkey"], "--json", "--last", "100").json
    assert told["uid"] == uid
    assert told["challenges"] == 200
    assert told["weight"] > 1.0
    assert told["weight_after_evidence"] == 0.0
    assert [(g["claim"], g["factor"]) for g in told["evidence"]] == [
        ("identity", 1.0),
        ("originality", 0.5),
        ("users", 0.0),
    ]
    assert told["evidence"][1]["alike"] == [told["hotkey"]]
    assert told["forgiven"] == {"swapped": 2, "halted": 0}
    assert [v["reason"] for v in told["verdicts"]].count("late") == 3


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([1.0] * 16, "nothing is paid before 128"),
        ([1.0, -1.1] * 64, "nothing is paid below 2 standard errors"),
        ([], "it serves nothing, so it is not asked"),
    ],
)
def test_a_miner_that_is_not_paid_hears_why(
    place: Path, say: Say, member: tuple[int, Seat], scores: list[float], words: str
) -> None:
    uid, seat = member
    judged(place / "stranger", seat, scores)
    assert words in say("why", str(uid)).out


@pytest.mark.parametrize("ran", [False, True])
def test_in_a_miners_home_scores_lie_with_validators_and_the_ledger_tells_the_rest(
    place: Path, say: Say, member: tuple[int, Seat], ran: bool
) -> None:
    uid, _ = member
    if ran:
        SqliteStore(place / "member" / "store.db").close()
    said = say("why", str(uid), "--home", "member")
    assert said.code == 0
    assert "they lie with the validators" in said.out
    assert "no answer" not in said.out
    for word in ("incentive", "consensus", "tokens since registration"):
        assert word in said.out
    told = say("why", str(uid), "--home", "member", "--json").json
    assert told["judged_here"] is False
    assert set(told["ledger"]) == {
        "incentive", "consensus", "dividends", "earned", "paid", "serves", "weights",
    }  # fmt: skip
