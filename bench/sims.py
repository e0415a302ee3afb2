"""Epochs a second in a scenario with its attack on, and the retention map at full size: `python -m bench.sims`.

Epochs of both arms count. The first line is CPU time of one process; the map is wall-clock time on two, as its goal is.
"""

from __future__ import annotations

from time import perf_counter, process_time

from davy.incentive.fixed_point import ONE
from davy.sims import Scenario, scenario
from davy.sims.play import play
from davy.sims.retention import Retention, retention, retention_map

RUNS, EPOCHS = 10, 20


def large(name: str, *, watch: bool) -> Scenario:
    return scenario(name).having(
        {"market.validators": 64, "market.miners": 192, "start": 3, "epochs": EPOCHS, "watch": watch}
    )


def main() -> None:
    for name, watch in (("cartel", False), ("weight-copying", False), ("cartel", True)):
        s = large(name, watch=watch)
        play(s.having({"epochs": 1}), range(1))
        began = process_time()
        play(s, range(RUNS))
        rate = 2 * RUNS * (s.start + EPOCHS) / (process_time() - began)
        print(f"{name:16} 64 x 192{', watched' if watch else '':9} {rate:8.0f} epochs/s a core")
    grid = range(101)
    began = process_time()
    retention_map(Retention(), [70], grid)
    cpu = (process_time() - began) * len(grid)
    began = perf_counter()
    kept = retention_map(Retention(), grid, grid, jobs=2)
    wall = perf_counter() - began
    print(f"retention map, 512 UIDs, {kept.size} cells: {wall:.0f} s on 2 processes (goal: < 60), {cpu:.0f} s of CPU")
    print("kept by the honest, W_H from 1 down to 0, W_C from 0 to 1:")
    for row in kept[::-10, ::10]:
        print("   " + " ".join(f"{value / ONE:.2f}" for value in row))
    print(f"retention at honest stake .6, σ .4: {retention(Retention()):.2f} (published .73)")


if __name__ == "__main__":
    main()
