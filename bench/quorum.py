"""What keyholders who are offline, wrong, slow or hostile cost three others of five: `python -m bench.quorum`.

Seconds of waiting, on a clock that moves only while everybody waits: what a person at the coordinator's screen waits
for beside the network and the machine. `CPU` is this process's, for all five keyholders, in milliseconds; medians.
"""

from __future__ import annotations

import statistics
import sys
from time import process_time_ns
from typing import Final

import trio
from trio.testing import MockClock

from tests.keyholders.blockers import WAYS, signed_in_spite_of

TURNS: Final = 5


def measure(way: str | None) -> tuple[float, float]:
    """Seconds waited and milliseconds of CPU."""
    began = process_time_ns()
    waited, _, _ = trio.run(signed_in_spite_of, way, clock=MockClock(autojump_threshold=0))
    return waited, (process_time_ns() - began) / 1e6


def main() -> int:
    """Print one line for each way."""
    print(f"{'two of five are':<16}{'waited s':>10}{'CPU ms':>10}")
    for way in (None, *WAYS):
        waited, cpu = zip(*(measure(way) for _ in range(TURNS)), strict=True)
        print(f"{way or 'well':<16}{statistics.median(waited):>10.1f}{statistics.median(cpu):>10.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
