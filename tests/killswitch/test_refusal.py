"""What a client reads where a verdict is no permission, and the order that comes with it, to be verified."""

from datetime import UTC, datetime

import pytest

from davy.killswitch.refusal import refusal
from davy.killswitch.verdict import Cause, Halted, Lapsed, Stale
from davy.protocol.limits import FRESH_MS
from tests.killswitch.story import Story, ms, order_of


@pytest.mark.parametrize(
    ("cause", "ends", "text"),
    [
        (Cause.ORDER, ms(5), f"until {datetime.fromtimestamp(ms(5) / 1000, UTC).isoformat()}; do not retry"),
        (Cause.ORDER, 2**62, f"until {2**62} ms; do not retry"),  # no calendar goes so far
        (Cause.ORDER, None, "until it is lifted; do not retry"),
        (Cause.DISPUTE, None, "two rosters claim to be the next"),
        (Cause.FULL, None, "until the next roster"),
    ],
)
def test_a_refusal_says_for_how_long_and_carries_its_order(
    story: Story, cause: Cause, ends: int | None, text: str
) -> None:
    order = order_of(story.given[story.halt(0, 5)])
    told = refusal(Halted(order, cause, ends))
    assert text in str(told)
    assert (order.id.hex()[:16] in str(told)) == (cause is Cause.ORDER)
    assert told.order == order.raw


@pytest.mark.parametrize("v", [Lapsed(ms(1)), Lapsed(None), Stale(None)])
def test_a_clock_that_was_ahead_is_told_instead(v: Lapsed | Stale) -> None:
    told = refusal(v, FRESH_MS + 1)
    assert str(told).startswith("this node's clock was 1 minutes ahead once")
    assert str(refusal(v, FRESH_MS)) == str(refusal(v))


@pytest.mark.parametrize(("v", "text"), [(Lapsed(ms(1)), "no LEASE"), (Stale(None), "neither the ledger nor")])
def test_a_permission_that_is_missing_is_told_without_an_order(v: Lapsed | Stale, text: str) -> None:
    told = refusal(v)
    assert text in str(told)
    assert told.order == b""
