"""What a signer says of the allowance is what a node would do by the same orders: the verdict's own arithmetic."""

from __future__ import annotations

import pytest

from davy.keyholders.spending import Allowed, allowed
from davy.keyholders.standing import known, named_orders
from davy.killswitch.verdict import Halted, Permitted
from davy.protocol.encoding import encode
from davy.protocol.limits import DAY_MS
from davy.protocol.order import Extend, Global, GroupKey, Halt, OrderId, Raise
from tests.keyholders.stage import MemoryJournal
from tests.killswitch.story import Story, models, ms, order_of

pytestmark = pytest.mark.anyio
HOUR = 1 / 24
DAYS = DAY_MS


async def told(story: Story, i: OrderId, *, unsigned: tuple[OrderId, ...] = ()) -> Allowed | None:
    """What a signer who knows all other orders of a story says of one; of `unsigned` it only released shares."""
    journal = MemoryJournal()
    for other, raw in story.given.items():
        if other in unsigned:
            await journal.keep(other, order_body(raw))
        elif other != i:
            await journal.keep_signed(other, raw)
    k, order = await known(journal), order_of(story.given[i]).order
    return allowed(order, named_orders(order.action, (), k), k)


def order_body(raw: bytes) -> bytes:
    return encode(order_of(raw).order)


async def test_the_first_halt_uses_nothing_before_it() -> None:
    story = Story()
    assert await told(story, story.halt(0, 7)) == Allowed(0, ms(7))


@pytest.mark.parametrize("days", [5, 6.5, 7])
async def test_the_third_extension_ends_where_the_verdict_ends_it(days: float) -> None:
    story = Story()
    halt = story.halt(0, 7)
    story.extend(6, halt, 7, 13)
    last = story.extend(13, halt, 13, 13 + days)
    further = story.extend(13 + days, halt, 13 + days, 13 + days + 6)
    assert await told(story, last) == Allowed(13 * DAYS, ms(min(13 + days, 21)))
    said = await told(story, further)
    assert said == Allowed(round((13 + days) * DAYS), ms(21))
    assert isinstance(story.at(21 - 2 * HOUR), Halted)
    assert isinstance(story.at(21 + HOUR), Permitted), "a node that saw the blocks ends it no later"


async def test_one_that_is_used_up_stops_nothing_and_the_lift_key_goes_beyond_it() -> None:
    story = Story()
    for n in range(3):
        story.halt(7 * n, 7 * (n + 1))
    again = story.halt(22, 24)
    assert await told(story, again) == Allowed(21 * DAYS, ms(22))
    assert isinstance(story.at(22.5), Permitted)
    beyond = story.give(Halt(models("model"), GroupKey.LIFT), 22, 24)
    assert await told(story, beyond) is None
    assert isinstance(story.at(22.5), Halted)
    extended = story.extend(23, beyond, 24, 25)
    assert await told(story, extended) == Allowed(21 * DAYS, ms(24)), "an EXTEND is the HALT key's in any case"


async def test_what_was_lifted_counts_until_it_was_and_what_is_of_something_else_never() -> None:
    story = Story()
    story.halt(0, 7, models("other"))
    story.lift(2, story.halt(0, 7))
    assert await told(story, story.halt(3, 10)) == Allowed(2 * DAYS, ms(10))
    story.give(Halt(Global(), GroupKey.HALT), 4, 6)
    assert await told(story, story.halt(20, 27)) == Allowed(9 * DAYS, ms(27)), "everything is the same model, too"


async def test_what_left_the_window_is_there_again() -> None:
    story = Story()
    for n in range(3):
        story.halt(7 * n, 7 * (n + 1))
    assert await told(story, story.halt(95, 102)) == Allowed(16 * DAYS, ms(102))


async def test_a_halt_that_was_only_begun_counts_where_it_is_extended_alone() -> None:
    story = Story()
    begun = story.halt(0, 7)
    assert await told(story, story.halt(1, 3), unsigned=(begun,)) == Allowed(0, ms(3))
    assert await told(story, story.extend(6, begun, 7, 10), unsigned=(begun,)) == Allowed(7 * DAYS, ms(10))


async def test_what_uses_no_allowance_is_not_spoken_of() -> None:
    story = Story()
    halt = story.halt(0, 7)
    assert await told(story, story.lift(1, halt)) is None
    assert await told(story, story.give(Raise(models("model")), 1)) is None
    assert isinstance(order_of(story.given[story.extend(6, halt, 7, 9)]).order.action, Extend)
