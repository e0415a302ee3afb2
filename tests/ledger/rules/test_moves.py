"""Moved stake: it counts early nowhere, and answers for where it was as long as if it had unbonded."""

from __future__ import annotations

import pytest

from davy.ledger.rules import stake
from davy.ledger.rules.records import MOVES, STAKES
from davy.protocol.errors import TxCode
from davy.protocol.limits import MAX_MOVES
from davy.protocol.order import Miner
from davy.protocol.transaction import AddStake, MoveStake, RemoveStake
from davy.protocol.words import TOKEN
from tests.ledger.rules.stand import ONE, Stand
from tests.ledger.rules.world import FAST, World, market, pub


def paid(w: World) -> tuple[int, ...]:
    return w.record(w.subnet().epoch - 1).validators


def held(w: World, who: str, hotkey: str) -> int:
    return dict(w.account(who).stakes).get(pub(hotkey), 0)


def move(origin: str, destination: str, tokens: int) -> MoveStake:
    return MoveStake(pub(origin), pub(destination), tokens * TOKEN)


def test_a_delegator_changes_its_validator_without_unbonding() -> None:
    w = market()
    w.ok("cat", AddStake(pub("ann-hot"), 100 * TOKEN))
    w.ok("cat", move("ann-hot", "ben-hot", 60))
    assert (held(w, "cat", "ann-hot"), held(w, "cat", "ben-hot")) == (40 * TOKEN, 60 * TOKEN)
    assert w.account("cat").unbonding == 0
    w.ok("cat", move("ben-hot", "ann-hot", 60), move("ann-hot", "dan-hot", 100))
    assert w.account("cat").stakes == ((pub("dan-hot"), 100 * TOKEN),), "back and on, at once"


def test_moved_stake_counts_in_the_running_epoch_on_neither_hotkey() -> None:
    """500 tokens that vote with ann for the first half of an epoch do not vote with ben for the second."""
    w = market()
    w.ok("cat", AddStake(pub("ann-hot"), 500 * TOKEN))
    w.end_epoch()
    w.end_epoch()
    assert paid(w)[0] > 3 * paid(w)[1]
    w.ok("cat", move("ann-hot", "ben-hot", 500))
    w.end_epoch()
    shares = paid(w)
    assert abs(shares[0] * 2 - shares[1] * 3) < shares[0] // 10, "300 to 200, as if the 500 were nowhere"
    w.end_epoch()
    assert paid(w)[1] > 2 * paid(w)[0], "held all over the next one, it counts"


def test_there_and_back_within_an_epoch_buys_nothing() -> None:
    w = market()
    w.ok("cat", AddStake(pub("ann-hot"), 500 * TOKEN))
    w.end_epoch()
    w.ok("cat", move("ann-hot", "ben-hot", 500))
    w.ok("cat", move("ben-hot", "ann-hot", 500))
    w.end_epoch()
    shares = paid(w)
    assert abs(shares[0] * 2 - shares[1] * 3) < shares[0] // 10


def test_what_an_owner_moved_away_is_burned_when_the_hotkey_is_convicted() -> None:
    """Cat serves after a halt and moves its stake to a clean hotkey of its own; so does a delegator of cat's."""
    w = Stand()
    w.register("cat", "clean")
    w.stake("cat", "clean", 7 * TOKEN)
    w.stake("eve", "cat-hot", 20 * TOKEN)
    halt = w.halt(Miner(pub("cat-hot")))
    w.block(12)
    w.ok("cat", move("cat-hot", "clean", 30))
    w.ok("eve", move("cat-hot", "clean", 20))
    w.refused(TxCode.WRONG_TIME, "cat", RemoveStake(pub("clean"), 8 * TOKEN))
    w.refused(TxCode.WRONG_TIME, "cat", move("clean", "cat-hot", 8))
    w.ok("cat", RemoveStake(pub("clean"), 3 * TOKEN))
    left, burned = held(w, "cat", "cat-hot"), w.issuance().burned
    w.ok("ann", w.evidence(halt, "cat-hot", w.machine.height, ONE))
    assert w.issuance().burned - burned == 30 * TOKEN + left
    assert held(w, "cat", "clean") == 4 * TOKEN
    assert held(w, "eve", "clean") == 20 * TOKEN, "a delegator answers for nobody"
    assert w.machine.state.need(STAKES, pub("clean") + pub("cat"), "").pledges == ()
    w.refused(TxCode.BARRED, "eve", move("clean", "cat-hot", 1))


def test_moved_stake_is_free_of_where_it_was_after_the_unbonding_time() -> None:
    w = market()
    w.register("ann", "spare")
    w.ok("ann", move("ann-hot", "spare", 100))
    w.block(FAST.unbonding - 2)
    w.refused(TxCode.WRONG_TIME, "ann", RemoveStake(pub("spare"), TOKEN))
    w.ok("ann", RemoveStake(pub("spare"), TOKEN))


def test_an_owner_moves_its_own_stake_to_its_own_hotkeys_only() -> None:
    w = market()
    w.refused(TxCode.NOT_OWNER, "ann", move("ann-hot", "ben-hot", 10))
    assert held(w, "ann", "ann-hot") >= 300 * TOKEN


@pytest.mark.parametrize(
    ("who", "x", "code"),
    [
        ("ann", move("ann-hot", "ann-hot", 1), TxCode.OUT_OF_RANGE),
        ("ann", MoveStake(pub("ann-hot"), pub("ben-hot"), 0), TxCode.OUT_OF_RANGE),
        ("ann", MoveStake(pub("ann-hot"), pub("ben-hot"), FAST.minimum_stake - 1), TxCode.OUT_OF_RANGE),
        ("cat", move("ann-hot", "ben-hot", 1), TxCode.INSUFFICIENT),
        ("ann", move("ann-hot", "nobody", 1), TxCode.NOT_FOUND),
        ("ann", move("nobody", "ann-hot", 1), TxCode.NOT_FOUND),
    ],
)
def test_what_cannot_be_moved_is_refused(who: str, x: MoveStake, code: TxCode) -> None:
    w = World()
    w.register("ann", "ann-hot")
    w.register("ben", "ben-hot")
    w.stake("ann", "ann-hot", 5 * TOKEN)
    w.refused(code, who, x)
    w.refused(TxCode.OUT_OF_RANGE, "ann", MoveStake(pub("ann-hot"), pub("ben-hot"), 5 * TOKEN - 1))


def test_a_full_hotkey_makes_room_for_a_position_twice_as_large_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stake, "MAX_DELEGATORS", 1)
    w = market()
    w.ok("cat", AddStake(pub("ann-hot"), 10 * TOKEN))
    w.ok("dan", AddStake(pub("ben-hot"), 10 * TOKEN))
    w.refused(TxCode.FULL, "cat", move("ann-hot", "ben-hot", 10))
    assert held(w, "cat", "ann-hot") == 10 * TOKEN
    w.ok("cat", AddStake(pub("ann-hot"), 10 * TOKEN))
    w.refused(TxCode.FULL, "cat", move("ann-hot", "ben-hot", 19))
    w.ok("cat", move("ann-hot", "ben-hot", 20))
    assert (held(w, "dan", "ben-hot"), w.account("dan").unbonding) == (0, 10 * TOKEN)
    w.refused(TxCode.WRONG_TIME, "cat", move("ben-hot", "ann-hot", 20))


def test_what_is_answered_for_is_bounded_and_forgotten() -> None:
    w = market()
    w.register("ann", "spare")
    w.send("ann", *[move("ann-hot", "spare", 1) for _ in range(MAX_MOVES + 1)])
    assert w.block() == [TxCode.OK] * MAX_MOVES + [TxCode.FULL]
    w.block(FAST.unbonding)
    w.ok("ann", move("ann-hot", "spare", 1))
    assert len(w.machine.state.need(STAKES, pub("spare") + pub("ann"), "").pledges) == 1
    assert w.machine.state.need(MOVES, pub("ann-hot"), "").destinations == (pub("spare"),)
