"""Shares that an earlier davy kept are opened, sign, and are kept in today's form once they change."""

from __future__ import annotations

import pytest

from davy.keyholders.keys import FirstShares, Holdings, open_holdings
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Malformed, Misconfigured
from davy.protocol.roster import roster_digest
from tests.keyholders.stage import Stage
from tests.keyholders.test_renewal import held, in_office, refreshed, signs

pytestmark = pytest.mark.anyio


def of_before(body: bytes) -> bytes:
    """The same shares as they were kept before shares could be dealt anew."""
    h = decode(body, Holdings, limit=len(body))
    halt, lift = h.office.halt, h.office.lift
    return encode(FirstShares(1, h.roster, halt, h.office.generation.halt, lift, h.office.generation.lift))


async def test_shares_of_before_sign_are_refreshed_and_then_kept_as_today() -> None:
    stage = await Stage().start()
    assert stage.roster is not None
    place = roster_digest(stage.roster)
    today = [p.vault.bodies[place] for p in stage.people]
    for person in stage.people[:3]:
        person.vault.bodies[place] = of_before(person.vault.bodies[place])
        assert open_holdings(person.vault.bodies[place], person.key) == decode(
            today[stage.people.index(person)], Holdings, limit=100_000
        )
    stage.away(3, 4)
    assert len((await signs(stage)).signers) == 3
    for person in stage.people[3:]:
        await person.start()
    await refreshed(stage)
    assert in_office(stage) == [1] * 5
    with pytest.raises(Malformed):
        decode(stage.people[0].vault.bodies[place], FirstShares, limit=100_000)
    assert len(held(stage.people[0]).held) == 1


async def test_what_is_no_share_of_any_davy_is_refused_in_one_sentence() -> None:
    stage = await Stage().start()
    assert stage.roster is not None
    alice, bob = stage.people[:2]
    body = of_before(alice.vault.bodies[roster_digest(stage.roster)])
    for wrong, own in ((body, bob.key), (body[:-1], alice.key), (b"\x90", alice.key), (b"", alice.key)):
        with pytest.raises(Misconfigured, match="the share cannot be used"):
            open_holdings(wrong, own)
