"""What a chain begins with where nothing was typed, and where something was."""

from __future__ import annotations

from pathlib import Path

import pytest

from davy.cli.genesis import REVIEWED, Wanted, draft
from davy.protocol.encoding import decode
from davy.protocol.errors import Misconfigured
from davy.protocol.genesis import Genesis
from davy.protocol.limits import MAX_GENESIS_BYTES, chain_parameters
from tests.cli.conftest import Network, Say

DAY = 86_400


def reviewed(folder: Path) -> Genesis:
    return decode((folder / "genesis").read_bytes(), Genesis, limit=MAX_GENESIS_BYTES)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", chain_parameters(model_review=DAY)),
        ("unbonding=7", chain_parameters(model_review=DAY, unbonding=7)),
        ("model_review=0", chain_parameters()),
        ("model_review=5,burn_low=1", chain_parameters(model_review=5, burn_low=1)),
    ],
)
def test_on_a_chain_for_others_a_new_model_waits_a_day_unless_another_time_is_typed(
    place: Path, say: Say, typed: str, expected: object
) -> None:
    owner = say("key", "show", "--json").json["coldkey"]
    words = ("--parameters", typed) if typed else ()
    assert say("ledger", "init", "--home", "made", "--owner", owner, *words).code == 0
    assert reviewed(place / "made").parameters == expected
    net = ("ledger", "init-net", "--home", "net", "--owner", owner, "--producers", "1")
    assert say(*net, "--at", "127.0.0.1:29999", *words).code == 0
    assert reviewed(place / "net" / "producer-1").parameters == expected


def test_a_network_to_try_things_on_has_no_wait_whatever_else_is_typed(network: Network) -> None:
    p = reviewed(network.file.parent / "local").parameters
    assert (p.model_review, p.unbonding) == (0, 1_000_000)
    assert draft(Wanted()).parameters == chain_parameters()
    assert draft(Wanted(assumed=REVIEWED)).parameters == chain_parameters(model_review=DAY)


def test_what_is_assumed_is_held_to_the_same_bounds() -> None:
    with pytest.raises(Misconfigured):
        draft(Wanted(assumed={"model_review": -1}))
