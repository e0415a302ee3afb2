"""The allowance by example, and against a count of every unit of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.killswitch import allowance
from davy.killswitch.allowance import Span, intersect, unite, within_allowance
from davy.protocol.limits import DAY_MS

SPANS = st.lists(st.builds(lambda a, n: Span(a, a + n), st.integers(0, 120), st.integers(-2, 25)), max_size=8)


def days(*spans: tuple[float, float]) -> list[Span]:
    return [Span(round(a * DAY_MS), round(b * DAY_MS)) for a, b in spans]


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ([], []),
        ([(0, 7)], [(0, 7)]),
        ([(0, 7), (7, 14), (14, 21)], [(0, 21)]),
        ([(0, 30)], [(0, 21)]),
        ([(0, 7), (3, 5), (20, 41)], [(0, 7), (20, 34)]),
        ([(0, 21), (60, 67)], [(0, 21)]),
        ([(0, 21), (60, 95)], [(0, 21), (90, 95)]),  # as the first leave the window, so many may follow
        ([(0, 21), (85, 130)], [(0, 21), (90, 111)]),
        ([(0, 10), (20, 31), (95, 120)], [(0, 10), (20, 31), (95, 105), (110, 120)]),
        ([(0, 300)], [(0, 21), (90, 111), (180, 201), (270, 291)]),
    ],
)
def test_twenty_one_days_of_any_ninety(asked: list[tuple[int, int]], allowed: list[tuple[int, int]]) -> None:
    assert within_allowance(days(*asked)) == days(*allowed)


def counted(spans: list[Span], most: int, window: int) -> list[int]:
    """Unit by unit: the definition, as slow as it is."""
    asked = {t for s in spans for t in range(s.start, s.end)}
    allowed: list[int] = []
    for t in sorted(asked):
        if sum(u > t - window for u in allowed) < most:
            allowed.append(t)
    return allowed


@given(SPANS, st.integers(1, 12), st.integers(13, 40))
def test_it_equals_a_count_of_every_unit(spans: list[Span], most: int, window: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(allowance, "ALLOWANCE_MS", most)
        patch.setattr(allowance, "ALLOWANCE_WINDOW_MS", window)
        found = within_allowance(spans)
    assert [t for s in found for t in range(s.start, s.end)] == counted(spans, most, window)
    assert found == unite(found)


@given(SPANS, SPANS)
def test_unions_and_overlaps_are_those_of_sets(xs: list[Span], ys: list[Span]) -> None:
    def units(spans: list[Span]) -> set[int]:
        return {t for s in spans for t in range(s.start, s.end)}

    assert units(unite(xs)) == units(xs)
    assert all(a.end < b.start for a, b in zip(unite(xs), unite(xs)[1:], strict=False))
    assert units(intersect(xs, ys)) == units(xs) & units(ys)


def test_many_halts_cost_time_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: each span is taken up a few times only."""
    looked: list[int] = []

    def counting(*xs: int) -> int:
        looked.append(1)
        return min(*xs)

    monkeypatch.setattr(allowance, "min", counting, raising=False)
    within_allowance([Span(n * 10_000_000, n * 10_000_000 + 5_000_000) for n in range(2_000)])
    assert len(looked) < 4 * 2_000
