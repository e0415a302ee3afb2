"""What may wait for a block: more for who has more here, and little altogether for who has nothing."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from davy.ledger.rules import door
from davy.ledger.rules.door import LEAST_ROOM, NONCE_WINDOW, ROOM_A_SEAT, ROOM_A_TOKEN
from davy.protocol.errors import TxCode
from davy.protocol.transaction import Serve, Transfer
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import FAST, World, market, pub


def taken(w: World, name: str, action: Transfer | Serve) -> int:
    """How many in a row the door takes, from the next nonce on."""
    first = w.account(name).nonce
    codes = [w.machine.check_tx(w.tx(name, action, nonce=first + n)).code for n in range(NONCE_WINDOW + 1)]
    count = next(n for n, code in enumerate(codes) if code is not TxCode.OK)
    assert set(codes[count:]) <= {TxCode.TOO_EXPENSIVE, TxCode.WRONG_NONCE}
    return count


@pytest.mark.parametrize(
    ("free", "room"),
    [
        (FAST.minimum_stake, LEAST_ROOM),
        (TOKEN - 1, LEAST_ROOM),
        (TOKEN, LEAST_ROOM + ROOM_A_TOKEN),
        (40 * TOKEN, NONCE_WINDOW),
    ],
)
def test_a_sender_has_the_room_that_its_balance_gives(free: int, room: int) -> None:
    w = World()
    w.ok("ann", Transfer(pub("poor"), free))
    assert taken(w, "poor", Transfer(pub("ben"), 1)) == room


def test_a_hotkey_has_room_for_each_seat() -> None:
    w = market()
    assert taken(w, "cat-hot", w.serving("one")) == LEAST_ROOM + ROOM_A_SEAT


def test_a_successor_has_the_room_of_what_it_signs_for() -> None:
    w = market()
    w.ok("ann", w.announcement("ann", "new"))
    w.block(4)
    w.ok("ann", w.execution("ann", "new"))
    assert taken(w, "new", Transfer(pub("ben"), 1)) == NONCE_WINDOW


def test_many_who_have_nothing_fill_no_mempool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do they keep out one who has something; after the next block they may come again."""
    monkeypatch.setattr(door, "UNBACKED_A_BLOCK", 5)
    w = World()
    crowd = [f"nobody-{n}" for n in range(7)]
    w.ok("ann", *(Transfer(pub(name), FAST.minimum_stake) for name in crowd))
    junk = [w.tx(name, Transfer(pub("ben"), 10**9)) for name in crowd]

    def codes(raws: Iterable[bytes]) -> list[TxCode]:
        return [w.machine.check_tx(raw).code for raw in raws]

    full = [TxCode.OK] * 5 + [TxCode.TOO_EXPENSIVE] * 2
    assert codes(junk) == full
    assert codes(junk) == full, "who asks again takes no second place"
    assert w.machine.check_tx(w.tx("ann", Transfer(pub("ben"), 1))).code is TxCode.OK
    w.nonces.clear()
    w.apply([])
    assert codes(reversed(junk)) == full, "those who were turned down come first now"


def test_a_block_takes_what_the_door_would_not(world: World) -> None:
    """The door is a node's own; what stands in a block is judged by the rules alone."""
    world.ok("ann", Transfer(pub("poor"), 2 * FAST.minimum_stake))
    raws = [world.tx("poor", Transfer(pub("ben"), 1)) for _ in range(LEAST_ROOM + 3)]
    assert {r.code for r in world.apply(raws).results} == {TxCode.OK}


def test_rivals_for_one_place_take_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has next to nothing signs as many as it likes with one nonce; the others' room must not go by it."""
    monkeypatch.setattr(door, "UNBACKED_A_BLOCK", 5)
    w = World()
    w.ok("ann", *(Transfer(pub(name), FAST.minimum_stake) for name in ("nobody", "poor")))
    for amount in range(2, 12):
        assert w.machine.check_tx(w.tx("nobody", Transfer(pub("ben"), amount), nonce=0)).code is TxCode.OK
    assert w.machine.check_tx(w.tx("poor", Transfer(pub("ben"), 1))).code is TxCode.OK


def test_who_waits_keeps_its_place_from_those_who_come_after_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine asks about all that waits after each block, and drops what is turned down then."""
    monkeypatch.setattr(door, "UNBACKED_A_BLOCK", 5)
    w = World()
    crowd = [f"nobody-{n}" for n in range(6)]
    w.ok("ann", *(Transfer(pub(name), FAST.minimum_stake) for name in [*crowd, "poor"]))
    waiting = w.tx("poor", Transfer(pub("ben"), 1))
    assert w.machine.check_tx(waiting).code is TxCode.OK
    w.nonces.clear()
    w.apply([])
    flood = [w.machine.check_tx(w.tx(name, Transfer(pub("ben"), 1))).code for name in crowd]
    assert flood == [TxCode.OK] * 5 + [TxCode.TOO_EXPENSIVE]
    assert w.machine.check_tx(waiting, waits=True).code is TxCode.OK
    assert w.machine.check_tx(w.tx("ann", Transfer(pub("ben"), 1))).code is TxCode.OK
