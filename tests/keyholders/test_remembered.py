"""Where a keyholder remembers that nodes listen: two addresses of each hotkey at most, and none that is never asked."""

from __future__ import annotations

from davy.keyholders.listening import MAX_LISTENING, Named, merged
from davy.protocol.limits import DAY_MS
from tests.keyholders.test_listening import NOTHING, named_at
from tests.killswitch.story import START


def test_who_changes_its_address_again_and_again_fills_no_memory() -> None:
    chain, kept = bytes(32), None
    settled, late = named_at(("host0", 1)), named_at(("host1", 1))
    for n in range(2 * MAX_LISTENING):
        restless = Named(b"\1" * 32, "1.1.1.1", 1 + n)
        kept = merged(
            kept, chain, [*settled, restless, *(late if n > MAX_LISTENING else [])], NOTHING, START + 600_000 * n
        )
        if n % 100 == 0:
            assert len(kept.nodes) <= 4
    assert kept is not None
    assert {n.named for n in kept.nodes} >= {*settled, *late}
    assert ("1.1.1.1", 2 * MAX_LISTENING) in {(n.host, n.port) for n in kept.nodes}
    assert len(kept.nodes) <= 4


def test_of_who_moved_where_it_is_now_is_remembered_and_where_it_was_for_long() -> None:
    chain, (old,) = bytes(32), named_at(("old", 1))
    new = old._replace(host="new")
    kept = merged(merged(None, chain, [old], NOTHING, START), chain, [old], NOTHING, START + DAY_MS)
    kept = merged(kept, chain, [old._replace(host="between")], NOTHING, START + 2 * DAY_MS)
    kept = merged(kept, chain, [new], NOTHING, START + 3 * DAY_MS)
    assert {n.named for n in kept.nodes} == {old, new}


def test_nothing_is_remembered_that_is_never_asked() -> None:
    inner = named_at(("10.0.0.1", 1), ("127.0.0.1", 1), ("169.254.169.254", 1), ("1.1.1.1", 1))
    assert [n.named for n in merged(None, bytes(32), inner, NOTHING, START).nodes] == inner[3:]
