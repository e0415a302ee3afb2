"""Rosters: easy to stop, hard to restart, or refused; and the first one in a genesis."""

import hashlib
import sys
from pathlib import Path

import pytest

from davy.ledger.rules.genesis import genesis_state
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Malformed
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import MAX_GENESIS_BYTES, MAX_KEYHOLDERS, chain_parameters
from davy.protocol.roster import Roster, check_roster, roster_digest
from davy.protocol.signing import is_key

# tests/twins is no test: importlib mode, rightly, makes nothing importable by accident
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.twins.keyholders import Keyholders

GOOD = Keyholders().roster
MEMBERS = tuple(hashlib.sha256(bytes([n])).digest() for n in range(MAX_KEYHOLDERS))


def roster(n: int, halt: int, lift: int) -> Roster:
    return Roster(1, 0, GOOD.halt, GOOD.lift, halt, lift, MEMBERS[:n])


@pytest.mark.parametrize(
    ("n", "halt", "lift"), [(5, 3, 4), (2, 2, 2), (3, 2, 2), (5, 3, 3), (255, 128, 128), (9, 2, 8)]
)
def test_thresholds_that_make_restarting_as_hard_as_stopping_or_harder(n: int, halt: int, lift: int) -> None:
    check_roster(roster(n, halt, lift))


@pytest.mark.parametrize(("n", "halt", "lift"), [(5, 2, 3), (5, 4, 3), (5, 3, 6), (4, 2, 2), (9, 2, 7)])
def test_thresholds_that_do_not_overlap_are_refused(n: int, halt: int, lift: int) -> None:
    """Else t_halt holders would stop what n − t_halt others could start again without any of them."""
    with pytest.raises(Malformed, match="choose halt ≤ lift ≤ keyholders < halt"):
        check_roster(roster(n, halt, lift))


@pytest.mark.parametrize("threshold", [0, 1, 256])
def test_one_alone_is_no_quorum(threshold: int) -> None:
    with pytest.raises(Malformed):
        decode(encode(roster(5, threshold, 5)), Roster, limit=1_000)


def test_a_member_twice_or_one_key_for_both_is_refused() -> None:
    with pytest.raises(Malformed, match="twice"):
        check_roster(Roster(1, 0, GOOD.halt, GOOD.lift, 3, 4, (*MEMBERS[:4], MEMBERS[0])))
    with pytest.raises(Malformed, match="the same"):
        check_roster(Roster(1, 0, GOOD.halt, GOOD.halt, 3, 4, MEMBERS[:5]))


P = 2**255 - 19
NO_KEYS = {
    "identity": (1).to_bytes(32, "little"),
    "order 2": (P - 1).to_bytes(32, "little"),
    "order 4": bytes(32),
    "order 8": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    "y = p + 1": (P + 1).to_bytes(32, "little"),
    "not on the curve": (2).to_bytes(32, "little"),
    "short": GOOD.halt[:31],
}


@pytest.mark.parametrize("key", NO_KEYS.values(), ids=NO_KEYS)
def test_a_group_key_that_verifiers_disagree_about_is_refused(key: bytes) -> None:
    assert is_key(GOOD.halt)
    assert not is_key(key)
    for bad in (Roster(1, 0, key, GOOD.lift, 3, 4, MEMBERS[:5]), Roster(1, 0, GOOD.halt, key, 3, 4, MEMBERS[:5])):
        with pytest.raises(Malformed, match="prime-order"):
            check_roster(bad)


def genesis(*keyholders: Roster) -> Genesis:
    return Genesis(1, "", 0, chain_parameters(), (bytes(32),), (), (), keyholders)


def test_a_genesis_carries_one_roster_or_none_and_the_chain_id_depends_on_it() -> None:
    other = Keyholders(0, "other").roster
    ids = {chain_id(genesis(*r)) for r in ((), (GOOD,), (other,))}
    assert len(ids) == 3
    assert decode(encode(genesis(GOOD)), Genesis, limit=MAX_GENESIS_BYTES).keyholders == (GOOD,)
    with pytest.raises(Malformed):
        decode(encode(genesis(GOOD, other)), Genesis, limit=MAX_GENESIS_BYTES)


def test_a_ledger_does_not_start_with_keyholders_of_no_use() -> None:
    genesis_state(genesis(GOOD))
    with pytest.raises(Malformed, match="group epoch 0"):
        genesis_state(genesis(Keyholders(1).roster))
    with pytest.raises(Malformed, match="choose halt"):
        genesis_state(genesis(roster(5, 2, 3)))


def test_the_digest_covers_every_field() -> None:
    others = [
        Roster(1, 1, GOOD.halt, GOOD.lift, 3, 4, GOOD.members),
        Roster(1, 0, GOOD.lift, GOOD.halt, 3, 4, GOOD.members),
        Roster(1, 0, GOOD.halt, GOOD.lift, 2, 4, GOOD.members),
        Roster(1, 0, GOOD.halt, GOOD.lift, 3, 5, GOOD.members),
        Roster(1, 0, GOOD.halt, GOOD.lift, 3, 4, GOOD.members[::-1]),
    ]
    assert len({roster_digest(r) for r in (GOOD, *others)}) == 6
