"""The measurement of docs/time-to-stop.md, small: it measures what it says, and what is not reached shows."""

from __future__ import annotations

import math
import random
from pathlib import Path

import anyio
import pytest

from bench.stopping.distances import CLOUD, SIMBLOCK, Distances
from bench.stopping.figures import Curve, cells, into_page, picture
from bench.stopping.loopback import Case, Outcome, Stage, stage
from bench.stopping.routes import Route
from bench.stopping.virtual import Plan, play
from bench.time_to_stop import alone, cases, curve_of, plans, write_alone, write_loopback, write_virtual
from tests.network.gossip.conftest import needs_libp2p

PATIENCE_S = 300.0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_hosts_stop_whoever_is_silent_or_cut_off(tmp_path: Path) -> None:
    async def measure(s: Stage) -> list[Outcome]:
        rng = random.Random(1)
        wanted = [Case("told"), Case("relayed", known=0.5), Case("cut off", island=0.34, heals_after_s=0.5)]
        return [await s.halt(case, rng, PATIENCE_S) for case in wanted]

    with stage(6, 1, 0.05) as s:
        found = anyio.run(measure, s)
    for o in found:
        assert len(o.stopped) == 6
        assert all(ms is not None and ms > 0 for ms in o.stopped.values()), o
        assert o.own > 0
        assert 0 < o.busy <= 1
    cut = found[2]
    assert len(cut.far) == 2
    assert len(curve_of(cut.case, [cut]).took) == 2
    page = tmp_path / "page.md"
    (tmp_path / "pictures" / "stop").mkdir(parents=True)
    page.write_text("before\n<!-- loopback -->\nold\n<!-- end of loopback -->\nafter")
    write_loopback([(o.case, [o]) for o in found], page, "said")
    assert page.read_text().startswith("before\n<!-- loopback -->\n| 6 hosts | p50 |")
    assert "| cut off |" in page.read_text()


def halted_twice(route: Route, hosts: int, patience_s: float = PATIENCE_S) -> list[Outcome]:
    """Hosts of which keyholders tell one, if they tell any."""

    async def measure(s: Stage) -> list[Outcome]:
        return [await s.halt(Case("one told", known=1 / hosts), random.Random(n), patience_s) for n in range(2)]

    with stage(hosts, 2, 0.05, route) as s:
        return anyio.run(measure, s)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("route", [pytest.param(Route.GOSSIP, marks=needs_libp2p), Route.LEDGER])
def test_one_route_alone_stops_every_host_again_and_again(route: Route, tmp_path: Path) -> None:
    found = halted_twice(route, 4)
    for o in found:
        assert len(o.stopped) == 4
        assert all(ms is not None and ms > 0 for ms in o.stopped.values()), o
        assert 0 < o.beside < o.own, "what carried the orders is counted"
    page = tmp_path / "page.md"
    (tmp_path / "pictures" / "stop").mkdir(parents=True)
    page.write_text("<!-- alone -->\n<!-- end of alone -->")
    write_alone([(o.case, [o]) for o in found], page, "said")
    assert "| one told |" in page.read_text()
    assert "one told" in (tmp_path / "pictures" / "stop" / "alone.svg").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_where_the_route_is_cut_nothing_else_carries_an_order() -> None:
    (first, _) = halted_twice(Route.NOTHING, 4, patience_s=5.0)
    assert sum(ms is None for ms in first.stopped.values()) >= 3
    assert first.beside == 0


def test_a_host_that_never_stops_is_told(tmp_path: Path) -> None:
    curve = Curve("x", (1.0, 2.0, 3.0, None))
    assert [curve.at(r) for r in (0.25, 0.5, 0.75)] == [1.0, 2.0, 3.0]
    assert math.isinf(curve.at(0.99))
    assert cells(curve) == ["2", "–", "–", "–", "1 of 4"]
    assert "<svg" in picture("a", [curve, Curve("nobody", (None, None))])
    with pytest.raises(ValueError, match="marks"):
        into_page("nothing", "virtual", "x")
    page = tmp_path / "page.md"
    (tmp_path / "pictures" / "stop").mkdir(parents=True)
    page.write_text("<!-- virtual -->\n\n<!-- end of virtual -->")
    write_virtual([curve._replace(name=f"{SIMBLOCK.name}: all told, 0% silent")], page)
    assert "1 of 4" in page.read_text()
    assert "all told" in (tmp_path / "pictures" / "stop" / "virtual.svg").read_text()


def took(plan: Plan) -> list[float]:
    stopped = play(plan)
    assert None not in stopped.took.values()
    return sorted(ms for ms in stopped.took.values() if ms is not None)


@pytest.mark.parametrize("distances", [CLOUD, SIMBLOCK], ids=lambda d: d.name)
def test_in_virtual_time_every_node_stops(distances: Distances) -> None:
    all_told, relayed = took(Plan(60, distances)), took(Plan(60, distances, known=0.1, silent=0.5))
    assert len(all_told) == len(relayed) == 60
    assert all_told[30] < relayed[30]
    assert relayed[-1] < 60_000


def test_the_same_plan_gives_the_same_figures() -> None:
    plan = Plan(30, SIMBLOCK, silent=0.3, known=0.1)
    assert play(plan) == play(plan)


def test_who_is_cut_off_goes_on_until_it_heals() -> None:
    stopped = play(Plan(30, CLOUD, island=0.2, heals_after_s=15.0))
    assert len(stopped.far) == 6
    assert all(ms is not None and ms > 0 for n, ms in stopped.took.items() if n in stopped.far), "none before that"


def test_distances_are_as_published() -> None:
    rng = random.Random(1)
    for d in (CLOUD, SIMBLOCK):
        assert len(d.shares) == len(d.means)
        assert all(len(row) == len(d.means) for row in d.means)
        drawn = [d.one_way_s(0, 1, rng) * 1000 for _ in range(20_000)]
        mean = d.means[0][1] if d.one_way else d.means[0][1] / 2
        assert min(drawn) >= mean * 0.7
        assert abs(sum(drawn) / len(drawn) / mean - 1) < 0.12
    assert sum(SIMBLOCK.shares) == pytest.approx(1)


def test_the_goal_s_situation_is_among_those_measured() -> None:
    assert Case("all told, 30% silent", silent=0.3) in cases()
    assert any(plan.silent == 0.3 and plan.nodes == 10_000 for _, plan in plans(10_000))


def test_the_routes_alone_are_measured_with_as_many_hosts_as_are_asked_for() -> None:
    assert [(route, hosts, len(found)) for route, hosts, found in alone(20, 100)] == [
        (Route.GOSSIP, 20, 2), (Route.LEDGER, 100, 1)
    ]  # fmt: skip
    assert [round(c.known * 20) for c in alone(20, 0)[0][2]] == [1, 2]
    assert alone(0, 0) == []
