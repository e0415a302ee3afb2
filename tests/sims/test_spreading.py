"""How a halt spreads: cases worked out by hand, what silence does by topology, and the live network beside it."""

import numpy as np
import pytest

from davy.network.brake_peers import ROUND_MS
from davy.protocol.errors import Misconfigured
from davy.sims import run, study
from davy.sims.beyond.graphs import TOPOLOGIES, graph
from davy.sims.beyond.spreading import Spread, TimeToStop
from davy.sims.noise import Purpose, Stream, lognormal
from tests.sims.stage import median

FLAT = {"spread": 0.0, "loss": 0.0, "delay_ms": 10.0}


def small(**more: object) -> TimeToStop:
    s = study("time-to-stop").having({"nodes": 60, "runs": 12, "told": 1} | more)
    assert isinstance(s, TimeToStop)
    return s


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_graph_is_drawn_as_it_says(topology: str) -> None:
    drawn = graph(topology, 40, 6, Stream(1, 0, Purpose.SPREAD))
    assert len(drawn) == 40
    for n, known in enumerate(drawn):
        assert len(set(known)) == len(known) > 0
        assert n not in known
    degrees = sorted(len(known) for known in drawn)
    wanted = {"live": (6, 6), "random": (6, 6), "ring": (6, 6), "star": (3, 39)}
    assert (degrees[0], degrees[-1]) == wanted.get(topology, (degrees[0], degrees[-1]))
    if topology == "scale-free":
        assert degrees[0] >= 3
        assert degrees[-1] > 2 * degrees[20]
    if topology == "clusters":
        within = sum(n % 8 == other % 8 for n, known in enumerate(drawn) for other in known)
        assert sum(degrees) - within == 16  # a door to either side, of 8 groups


def test_a_node_that_is_told_brings_the_order_to_one_it_knows() -> None:
    """Told at 10 ms, and brings it in one message (20)."""
    s = small(nodes=2, topology="ring", degree=1, **FLAT)
    for seed in range(20):
        spread = Spread(s, ((1,), (0,)), frozenset(), Stream(seed, 0, Purpose.SPREAD))
        spread.begin([0])
        spread.to_the_end()
        assert spread.since[0] == 10_000
        assert spread.since[1] == 20_000


def test_who_is_not_asked_finds_it_at_its_next_round() -> None:
    """Node 0 knows nobody; node 1 asks it once in five seconds, and has it 20 ms later."""
    s = small(nodes=2, topology="ring", degree=1, **FLAT)
    since: list[int] = []
    for seed in range(20):
        spread = Spread(s, ((), (0,)), frozenset(), Stream(seed, 0, Purpose.SPREAD))
        spread.begin([0])
        spread.to_the_end()
        since.append(spread.since[1])
    assert min(since) > 20_000
    assert ROUND_MS * 1_000 / 2 < max(since) <= (ROUND_MS + 40) * 1_000


def test_a_silent_node_passes_nothing_on_in_either_direction() -> None:
    s = small(nodes=3, topology="ring", degree=1, **FLAT)
    spread = Spread(s, ((1,), (0, 2), (1,)), frozenset({1}), Stream(1, 0, Purpose.SPREAD))
    spread.begin([0, 1])
    spread.to_the_end()
    assert spread.since[0] == spread.since[1] == 10_000
    assert spread.since[2] == -1
    assert spread.numbers().tolist()[:5] == [2, 1, 10_000, -1, -1]


def test_delays_are_lognormal() -> None:
    table = np.array(lognormal(50_000, 0.5))
    assert np.median(table) == pytest.approx(50_000, rel=1e-3)
    assert np.log(table).std() == pytest.approx(0.5, rel=1e-3)


def test_silence_costs_little_where_everybody_knows_many_and_much_on_a_ring() -> None:
    live, ring = small(), small(topology="ring")
    assert median(live, "unreached") == 0
    assert median(live, "last") < 7_000
    assert median(ring, "last") > 1.5 * median(ring, "honest_last")


def test_a_silent_hub_or_door_keeps_the_order_from_all_behind_it() -> None:
    assert median(small(topology="star", worst=True), "unreached") > 0.9
    assert median(small(topology="star", worst=True), "honest_unreached") == 0
    assert median(small(topology="clusters", worst=True), "unreached") > 0.5
    scale_free, random = (
        median(small(topology=t, degree=4, worst=True, silent=0.4), "unreached") for t in ("scale-free", "random")
    )
    assert scale_free > random + 0.1


def test_one_honest_route_is_enough_whatever_the_graph() -> None:
    behind_the_door = small(topology="star", worst=True, ledger=True, block_ms=500, loss=0.0)
    result = run(behind_the_door)
    assert (result.metrics["unreached"] == 0).all()
    assert (result.metrics["last"] < 500 + max(lognormal(50_000, 0.5)) / 1_000).all()


def test_nobody_is_told_and_nobody_stops() -> None:
    result = run(small(told=0, runs=2))
    assert result.metrics["unreached"].tolist() == [1, 1]
    assert np.isinf(result.metrics["last"]).all()
    assert np.isnan(result.metrics["slowdown"]).all()


@pytest.mark.parametrize(("name", "value"), [("silent", 1.0), ("degree", 60), ("topology", "torus"), ("told", 61)])
def test_what_cannot_be_is_refused(name: str, value: object) -> None:
    with pytest.raises(Misconfigured):
        small(**{name: value})
