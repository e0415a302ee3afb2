"""What an operator hears of a LEASE: 7, 3 and 1 days before its end, in the grace, and when it is over."""

from __future__ import annotations

import pytest

from davy.killswitch.clocks import Clocks
from davy.killswitch.leases import days_warned
from davy.killswitch.notices import Notice, notices
from davy.killswitch.verdict import Lapsed, Permitted, lease_of
from davy.protocol.limits import FRESH_MS
from tests.killswitch.story import Story, ms, name, subject, systemic
from tests.twins.keyholders import Keyholders

SECOND = 1 / 86_400
MILLI = SECOND / 1000


def told(story: Story, day: float, *, block: float | None = None) -> list[Notice]:
    seen = ms(day if block is None else block)
    return notices(story.state, [systemic(), subject("other")], Clocks(ms(day), seen))


@pytest.mark.parametrize(
    ("day", "warned", "words"),
    [
        (23 - MILLI, None, ""),
        (23, 7, "in 7 days or less"),
        (27 - MILLI, 7, "in 7 days or less"),
        (27, 3, "in 3 days or less"),
        (29, 1, "in a day or less"),
        (30 - MILLI, 1, "in a day or less"),
        (30, 0, "ended 2027-02-14 08:00:00 UTC; without another it stops 2027-02-17 08:00:00 UTC"),
        (33 - MILLI, 0, "ended"),
    ],
)
def test_warnings_come_7_3_and_1_days_ahead_and_at_the_end(
    story: Story, day: float, warned: int | None, words: str
) -> None:
    story.lease(0, 30)
    at = Clocks(ms(day), ms(day))
    lease = lease_of(story.state, systemic(), at)
    assert lease is not None
    assert days_warned(lease, at) == warned
    assert isinstance(story.at(day, x=systemic()), Permitted)
    found = told(story, day)
    assert [n.topic for n in found] == ([] if warned is None else [name("model")])
    assert all(words in n.text for n in found)


def test_urgency_rises(story: Story) -> None:
    story.lease(0, 30)
    urgencies = [n.urgency for day in (23, 27, 29, 30, 33) for n in told(story, day)]
    assert urgencies == sorted(set(urgencies))
    assert len(urgencies) == 5


def test_a_lapse_is_told_and_stops(story: Story) -> None:
    story.lease(0, 30)
    assert isinstance(story.at(33 - SECOND, x=systemic()), Permitted)
    assert isinstance(story.at(33, x=systemic()), Lapsed)
    (notice,) = told(story, 33)
    assert "LEASE that lapsed 2027-02-17 08:00:00 UTC" in notice.text


def test_either_clock_ends_a_lease_and_warns(story: Story) -> None:
    """A node whose own clock is behind hears it by the blocks' time, and the other way round."""
    story.lease(0, 30)
    texts = [n.text for n in told(story, 10, block=27)]
    assert any("in 3 days or less" in t for t in texts)
    assert any("stale" in t for t in texts), "a block of another day is not fresh"


def test_a_new_lease_ends_the_warnings(story: Story) -> None:
    story.lease(0, 30)
    assert told(story, 29.5)
    story.lease(29.5, 59)
    assert told(story, 29.6) == []
    assert isinstance(story.at(40, x=systemic()), Permitted)


def test_after_a_halt_and_its_lift_the_old_lease_is_none(story: Story) -> None:
    story.lease(0, 30)
    halt = story.halt(5, 6)
    assert told(story, 5.5) == [], "a HALT says more than a LEASE that is void"
    story.lift(5.6, halt)
    (notice,) = told(story, 5.7)
    assert "no LEASE that counts" in notice.text
    assert isinstance(story.at(5.7, x=systemic()), Lapsed)
    story.lease(5.8, 30)
    assert told(story, 5.9) == []


def test_a_replaced_roster_s_lease_ends_with_its_own_grace(story: Story) -> None:
    """What an INSTALL does not carry permits for three days more, and is warned of from then on."""
    story.lease(0, 30)
    story.install(10, Keyholders(1))
    assert [("in 3 days or less" in n.text) for n in told(story, 10.01)] == [True]
    assert isinstance(story.at(13.1, x=systemic()), Lapsed)


def test_ordinary_models_are_not_spoken_of(story: Story) -> None:
    story.lease(0, 30, "model", "other")
    assert [n.topic for n in told(story, 29)] == [name("model")]


def test_a_class_that_was_raised_and_lowered(story: Story) -> None:
    raised = story.raise_class(1, "other")
    assert [n.topic for n in told(story, 2)] == [name("model"), name("other")]
    story.lower(3, ("other",), (raised,))
    assert [n.topic for n in told(story, 4)] == [name("model")]


def test_a_node_that_sees_nothing_fresh_says_that_it_is_stale(story: Story) -> None:
    fresh, late = Clocks(ms(1), ms(1)), Clocks(ms(1) + FRESH_MS + 1, ms(1))
    assert notices(story.state, [], fresh) == []
    (notice,) = notices(story.state, [], late)
    assert notice.topic == b""
    assert "stale" in notice.text
    assert "2027-01-16" in notice.text
    beat = late._replace(heartbeat=late.own)
    assert notices(story.state, [], beat) == []
    (never,) = notices(story.state, [], Clocks(ms(1), None))
    assert "never saw one" in never.text


def test_a_clock_that_was_ahead_is_told_instead_of_what_follows_from_it(story: Story) -> None:
    story.lease(0, 30)
    at = Clocks(ms(400), ms(1))
    (notice,) = notices(story.state, [systemic()], at, ms(400) - ms(1))
    assert notice.topic == b""
    for words in ("clock was 399 days 0 hours ahead once", "until 2028-02-19 08:00:00 UTC", "`davy brake clock`"):
        assert words in notice.text
    assert len(notices(story.state, [systemic()], at, FRESH_MS)) == 2, "as it always was"


def test_who_is_stale_says_what_its_clock_says(story: Story) -> None:
    """So that whoever reads it sees a clock that is wrong."""
    (notice,) = notices(story.state, [], Clocks(ms(400), ms(1)))
    assert "the newest is of 2027-01-16 08:00:00 UTC, its clock says 2028-02-19 08:00:00 UTC" in notice.text


def test_times_that_no_calendar_knows_are_told_as_they_are(story: Story) -> None:
    (notice,) = notices(story.state, [], Clocks(2**62, 2**62 - FRESH_MS - 1))
    assert f"{2**62 - FRESH_MS - 1} ms" in notice.text
