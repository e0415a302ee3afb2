"""What a gossip process keeps and hands on."""

from __future__ import annotations

import pytest

from davy.killswitch import brake
from davy.killswitch.brake import head
from davy.network.gossip.holding import Holding, last_of
from davy.protocol.encoding import encode
from davy.protocol.gossip import MAX_GOSSIP_FRAME_BYTES
from davy.protocol.limits import FRESH_MS, MAX_RIVAL_ROSTERS, SIGNER_SKEW_MS
from davy.protocol.receipt import EMPTY_BRAKE_HEAD
from tests.killswitch.story import MINUTE, START, Story, order_of
from tests.twins import SetClock
from tests.twins.keyholders import Keyholders


def holding(story: Story, clock: SetClock | None = None) -> Holding:
    return Holding(story.chain, story.keyholders.roster, clock or SetClock(START))


def broken(raw: bytes) -> bytes:
    spoiled = bytearray(raw)
    spoiled[-3] ^= 1
    return bytes(spoiled)


def test_an_order_is_news_once_and_its_head_is_the_guard_s() -> None:
    story = Story()
    raw = story.given[story.halt(0, 3)]
    held = holding(story)
    assert held.head == EMPTY_BRAKE_HEAD
    assert held.learn([raw, raw]) == ((raw,), False, 0)
    assert held.learn([raw]) == ((), False, 0)
    assert held.head == head(story.state)


def test_what_is_forged_is_kept_from_others() -> None:
    story = Story()
    good, bad = (story.given[story.halt(0, n)] for n in (3, 2))
    held = holding(story)
    learned = held.learn([broken(bad)])
    assert (learned.news, learned.forged) == ((), True)
    other = Story()
    other.chain = bytes(32)
    assert held.learn([other.given[other.halt(0, 3, quietly=True)]]).forged
    assert held.learn([good]) == ((good,), False, 0)


def test_what_cannot_be_judged_is_not_called_forged() -> None:
    story = Story()
    unknown = story.given[story.halt(0, 3, by=Keyholders(1), quietly=True)]
    assert holding(story).learn([unknown]) == ((), False, 1)
    assert holding(story).learn([b"words of a later version"]) == ((), False, 1)


def test_orders_come_with_the_roster_that_they_need_in_any_sequence() -> None:
    story = Story()
    successor = Keyholders(1)
    install = story.given[story.install(1, successor)]
    halt = story.given[story.halt(2, 3, by=successor)]
    assert set(holding(story).learn([halt, install]).news) == {halt, install}
    page = holding(story)
    page.learn([halt, install])
    assert page.page(bytes(32), None).orders == (install, halt)


def test_a_drill_is_handed_on_once_and_only_while_it_is_new() -> None:
    story = Story()
    drill = story.given[story.drill(0, 1)]
    beat = story.given[story.heartbeat(0)]
    held = holding(story, SetClock(START + FRESH_MS))
    assert set(held.learn([drill, beat]).news) == {drill, beat}
    assert held.learn([drill, beat]).news == ()
    assert held.head == EMPTY_BRAKE_HEAD
    assert holding(story, SetClock(START + FRESH_MS + 1)).learn([drill, beat]).news == (drill,)
    assert holding(story, SetClock(START + SIGNER_SKEW_MS + 1)).learn([drill, beat]) == ((), False, 0)


def test_pages_tell_everything_once() -> None:
    story = Story()
    raws = {story.given[story.halt(n * MINUTE, 3)] for n in range(300)}
    held = holding(story)
    held.learn(sorted(raws))
    told: list[bytes] = []
    after = None
    pages = 0
    while True:
        page = held.page(bytes(32), after)
        assert len(encode(page)) <= MAX_GOSSIP_FRAME_BYTES
        told += page.orders
        pages += 1
        if not page.more:
            break
        after = last_of(page.orders)
    assert pages > 1
    assert len(told) == len(raws)
    assert set(told) == raws
    assert held.page(held.head, None).orders == ()
    assert last_of((b"junk",)) is None
    assert last_of(()) is None
    assert last_of(told) == order_of(told[-1]).id


def test_what_a_full_brake_does_not_keep_is_handed_on_no_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a first: each peer would take it for new again, and hand it on, and so for ever."""
    monkeypatch.setattr(brake, "MAX_BRAKE_ORDERS", 6)
    story = Story()
    raws = [story.given[story.halt(0, 1, quietly=True)] for _ in range(20)]
    one, two = holding(story), holding(story)
    going, journeys = raws, 0
    while going:
        journeys += 1
        assert journeys < 5, "they go round"
        going = list(two.learn(one.learn(going).news).news)
    assert one.head == two.head
    assert len(one.page(bytes(32), None).orders) == 7


def test_rivals_of_a_thief_keep_no_roster_out_that_the_node_saw_on_the_ledger() -> None:
    story = Story()
    rosters = sorted((Keyholders(1, f"{n}") for n in range(MAX_RIVAL_ROSTERS + 1)), key=lambda k: k.digest)
    *thiefs, honest = (story.given[story.install(0, k, quietly=True)] for k in rosters)
    halt = story.given[story.halt(0, 3, by=rosters[-1], quietly=True)]
    for given in ([*thiefs, honest], [honest, *thiefs]):
        held = holding(story)
        held.learn(given)
        assert held.learn([honest], on_record=True).news == (honest,)
        assert held.learn([halt]) == ((halt,), False, 0)
        assert held.learn(thiefs).odd == 0
