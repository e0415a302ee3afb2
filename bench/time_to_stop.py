"""Time to stop, from the last share signed to the end of the last node's stream: `python -m bench.time_to_stop`.

`loopback`: real hosts on this machine, in some processes: davy's server over TLS, guard, miner, a signed stream open at
each. `alone`: such hosts with one route each, a gossip process or a ledger, and nothing else. `virtual`: many more
nodes in virtual time, at published distances, with the same guards, routes and exchanges.
`--write docs/time-to-stop.md` puts tables and pictures there; the figures of the page are of
`--rounds 3 --nodes 10000`, which takes some twenty-five minutes. `--hosts`, `--gossip`, `--ledger` and `--nodes` say
how many there are of each; 0 leaves that part out, and what the page says of it as it is.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio

from bench.stopping.distances import CLOUD, SIMBLOCK
from bench.stopping.figures import Curve, cells, into_page, picture, table
from bench.stopping.loopback import Case, Outcome, Stage, stage
from bench.stopping.routes import Route
from bench.stopping.virtual import Plan, play
from davy.network.gossip.joining import is_installed

GOAL_MS = 1_000
"""p99, at 30% of relays silent."""
PATIENCE_S = 60.0
SHARES = (0.0, 0.1, 0.3, 0.5)
FEW = 0.1
NUMBERS = ("p50", "p95", "p99", "max", "unreached")
MOST_GOSSIP = 20
"""Gossip processes: each takes seconds of CPU to load its packages."""
AGAIN = 4
"""Times as many rounds where all hosts of a round wait for one block, or are few."""
Found = list[tuple[Case, list[Outcome]]]


def cases() -> list[Case]:
    """What happens to hosts on this machine."""
    known = [Case(f"all told, {s:.0%} silent", silent=s) for s in SHARES]
    few = [Case(f"{FEW:.0%} told, {s:.0%} silent", silent=s, known=FEW) for s in SHARES]
    return [*known, *few, Case("a fifth cut off, healed", island=0.2, heals_after_s=8.0)]


def plans(nodes: int) -> list[tuple[str, Plan]]:
    """What happens in virtual time."""
    pairs = ((CLOUD, 1.0, 0.3), (SIMBLOCK, 1.0, 0.3), (CLOUD, FEW, 0.3), (SIMBLOCK, FEW, 0.3), (SIMBLOCK, FEW, 0.5))
    found = [
        (f"{d.name}: {'all' if known == 1.0 else f'{known:.0%}'} told, {silent:.0%} silent", d, known, silent)
        for d, known, silent in pairs
    ]
    plays = [(name, Plan(nodes, d, silent=silent, known=known)) for name, d, known, silent in found]
    healed = Plan(nodes, SIMBLOCK, island=0.2, heals_after_s=15.0)
    return [*plays, (f"{SIMBLOCK.name}: a fifth cut off, healed", healed)]


def alone(gossip: int, ledger: int) -> list[tuple[Route, int, list[Case]]]:
    """What happens to hosts that have one route: which, how many, and in which cases."""
    told = [Case(f"gossip, {gossip} hosts, {n} told", known=n / max(1, gossip)) for n in (1, 2)]
    blocks = [Case(f"ledger, {ledger} hosts")]
    stages = [(Route.GOSSIP, gossip, told), (Route.LEDGER, ledger, blocks)]
    return [(route, hosts, cases) for route, hosts, cases in stages if hosts]


def loopback(route: Route, hosts: int, cases: Sequence[Case], processes: int, rounds: int, token_s: float) -> Found:
    """Halt the same hosts in every situation, so many times."""

    async def measure(s: Stage) -> Found:
        rng = random.Random(1)
        await s.halt(Case("warming up"), rng, PATIENCE_S)
        found: Found = []
        for case in cases:
            found.append((case, [await s.halt(case, rng, PATIENCE_S) for _ in range(rounds)]))
            print(" ".join(_row(*found[-1])), flush=True)
        return found

    with stage(hosts, processes, token_s, route) as s:
        return anyio.run(measure, s)


def curve_of(case: Case, outcomes: Sequence[Outcome]) -> Curve:
    """All hosts of all rounds; behind a partition, only those."""
    took = [ms for o in outcomes for n, ms in o.stopped.items() if not case.island or n in o.far]
    return Curve(case.name, tuple(took))


def _row(case: Case, outcomes: Sequence[Outcome]) -> list[str]:
    busy, own = (max(getattr(o, name) for o in outcomes) for name in ("busy", "own"))
    lag = max(o.lag_ms for o in outcomes)
    return [case.name, *cells(curve_of(case, outcomes)), f"{busy:.0%}", f"{own:.0%}", f"{lag:.0f}"]


def virtual(nodes: int, tell: Callable[[Sequence[Curve]], None]) -> None:
    """Play every plan; what there is so far is told after each."""
    found: list[Curve] = []
    for name, plan in plans(nodes):
        stopped = play(plan)
        far = [ms for n, ms in stopped.took.items() if not stopped.far or n in stopped.far]
        found.append(Curve(name, tuple(far)))
        print(" ".join([name, *cells(found[-1])]), flush=True)
        tell(found)


def write_loopback(found: Sequence[tuple[Case, Sequence[Outcome]]], page: Path, said: str) -> None:
    head = ["100 hosts" if not found else f"{len(found[0][1][0].stopped)} hosts", *NUMBERS, "busy", "own", "lag"]
    content = f"{table(head, (_row(*pair) for pair in found))}\n\n{said}"
    page.write_text(into_page(page.read_text(), "loopback", content))
    curves = [curve_of(*pair) for pair in found]
    pictures = page.parent / "pictures" / "stop"
    (pictures / "told.svg").write_text(picture("Hosts that had stopped, all of them told", curves[:4]))
    (pictures / "relayed.svg").write_text(picture("Hosts that had stopped, a tenth told", curves[4:8]))


def write_alone(found: Sequence[tuple[Case, Sequence[Outcome]]], page: Path, said: str) -> None:
    head = ["one route alone", *NUMBERS, "busy", "own", "lag"]
    page.write_text(into_page(page.read_text(), "alone", f"{table(head, (_row(*pair) for pair in found))}\n\n{said}"))
    target = page.parent / "pictures" / "stop" / "alone.svg"
    target.write_text(picture("Hosts that had stopped, by one route", [curve_of(*pair) for pair in found]))


def beside(route: Route, found: Sequence[tuple[Case, Sequence[Outcome]]]) -> str:
    """What the processes used that carried orders."""
    used = max(o.beside for _, outcomes in found for o in outcomes)
    what = "All gossip processes together" if route is Route.GOSSIP else "The ledger"
    return f"{what} used at most {used:.0%} of the machine's processors."


def write_virtual(curves: Sequence[Curve], page: Path) -> None:
    head = [f"{max(len(c.took) for c in curves)} nodes", *NUMBERS]
    content = table(head, ([c.name, *cells(c)] for c in curves))
    page.write_text(into_page(page.read_text(), "virtual", content))
    drawn = [c for c in curves if "told" in c.name]
    target = page.parent / "pictures" / "stop" / "virtual.svg"
    target.write_text(picture("Nodes that had stopped, in virtual time", drawn))


def main() -> int:
    parser = argparse.ArgumentParser(description="Time to stop, on loopback and in virtual time.")
    parser.add_argument("--hosts", type=int, default=100, help="real ones; 0 leaves them out")
    parser.add_argument(
        "--gossip", type=int, default=MOST_GOSSIP, choices=(0, *range(3, MOST_GOSSIP + 1)), metavar=f"3..{MOST_GOSSIP}",
        help="real ones with a gossip process each; 0 leaves them out",
    )  # fmt: skip
    parser.add_argument("--ledger", type=int, default=100, help="real ones that follow a ledger; 0 leaves them out")
    parser.add_argument("--processes", type=int, default=2, help="that hold the hosts")
    parser.add_argument("--rounds", type=int, default=1, help=f"where one route is alone, {AGAIN} times as many")
    parser.add_argument("--token-ms", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=1_000, help="in virtual time; 0 leaves them out")
    parser.add_argument("--write", type=Path, help="page to put the figures into")
    asked = parser.parse_args()
    reached = measure_exchange(asked) if asked.hosts else True
    measure_alone(asked)
    if asked.nodes:
        virtual(asked.nodes, lambda curves: write_virtual(curves, asked.write) if asked.write else None)
    return 0 if reached else 1


def measure_exchange(asked: argparse.Namespace) -> bool:
    """Whether the goal was reached."""
    found = loopback(Route.EXCHANGE, asked.hosts, cases(), asked.processes, asked.rounds, asked.token_ms / 1000)
    p99 = {case.name: curve_of(case, outcomes).at(0.99) for case, outcomes in found}
    goal = p99[f"all told, {0.3:.0%} silent"]
    reached = goal < GOAL_MS
    said = f"p99 at 30% silent, all told: {goal:.0f} ms; goal {GOAL_MS} ms: {'reached' if reached else 'missed'}."
    print(said)
    if asked.write:
        write_loopback(found, asked.write, f"{said}\n{_load(asked.rounds)}")
    return reached


def measure_alone(asked: argparse.Namespace) -> None:
    """Each other route by itself; the page is left as it is where nothing was measured."""
    found, said, rounds = Found(), list[str](), AGAIN * asked.rounds
    for route, hosts, wanted in alone(asked.gossip, asked.ledger):
        if route is Route.GOSSIP and not is_installed():
            said.append("Gossip was not measured: its extra is not installed (`make gossip`).")
            continue
        part = loopback(route, hosts, wanted, asked.processes, rounds, asked.token_ms / 1000)
        said.append(beside(route, part))
        found += part
    print("\n".join(said))
    if found and asked.write:
        write_alone(found, asked.write, "\n".join([*said, _load(rounds)]))


def _load(rounds: int) -> str:
    return f"{os.cpu_count()} cores, load of the last minute {os.getloadavg()[0]:.1f}; {rounds} rounds."


if __name__ == "__main__":
    sys.exit(main())
