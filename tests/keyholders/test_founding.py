"""The making of a roster: everybody honest, and each way in which somebody is not."""

from __future__ import annotations

import pytest

from davy.keyholders.keys import open_keys
from davy.protocol.roster import check_roster, roster_digest
from tests.keyholders.stage import Stage

pytestmark = pytest.mark.anyio


async def test_five_make_both_keys_and_all_have_the_same_roster() -> None:
    stage = await Stage().start(dealt=False)
    roster = await stage.found(coordinator=2)
    check_roster(roster)
    assert (roster.halt_threshold, roster.lift_threshold) == (3, 4)
    assert roster.members == stage.circle.keys
    for person in stage.people:
        keys = open_keys(await person.vault.open(roster_digest(roster)), person.key)
        assert keys.roster == roster
    stage.roster = roster
    first = await stage.people[4].complete(stage.people[4].order())
    assert len(first.signers) == 3
