"""How far nodes are from each other: published figures, as they stand in their sources.

`SIMBLOCK`: where Bitcoin's nodes were in 2019, and the mean milliseconds between regions, from the settings of the
simulator SimBlock (Aoki, Otsuki, Kaneko, Banno, Shudo: "SimBlock: A Blockchain Network Simulator", 2019;
github.com/dsg-titech/simblock, `NetworkConfiguration.java`, LATENCY_2019 and REGION_DISTRIBUTION_BITCOIN_2019). Around
the mean m it draws from a Pareto distribution with scale m − 5 and shape m / 5, and so does this.

`CLOUD`: mean milliseconds there and back between ten regions of a public cloud in July 2024
(github.com/ibm-cloud-docs/vpc, `network-latency.md`, table of 28 July 2024), nodes spread evenly.

The cloud's figures are round trips. SimBlock takes its own for one way; they are of the size of round trips between
the same places (124 ms from North America to Europe; the cloud has 75 to 123 for its pairs), so taking them for one way
as that simulator does errs on the slow side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Distances:
    """Mean milliseconds between regions, and which part of all nodes is in each."""

    name: str
    shares: Sequence[float]
    means: Sequence[Sequence[float]]
    one_way: bool

    def regions(self, count: int, rng: Random) -> list[int]:
        return rng.choices(range(len(self.shares)), self.shares, k=count)

    def one_way_s(self, a: int, b: int, rng: Random) -> float:
        """One message between two regions, in seconds."""
        mean = max(self.means[a][b], 6.0)
        drawn = (mean - 5) / (1 - rng.random()) ** (5 / mean)
        return drawn / 1000 if self.one_way else drawn / 2000


SIMBLOCK = Distances(
    "Bitcoin",
    (0.3316, 0.4998, 0.0090, 0.1177, 0.0224, 0.0195),
    (
        (32, 124, 184, 198, 151, 189),
        (124, 11, 227, 237, 252, 294),
        (184, 227, 88, 325, 301, 322),
        (198, 237, 325, 85, 58, 198),
        (151, 252, 301, 58, 12, 126),
        (189, 294, 322, 198, 126, 16),
    ),
    one_way=True,
)
"""North America, Europe, South America, Asia and Pacific, Japan, Australia."""

CLOUD = Distances(
    "cloud",
    (1,) * 10,
    (
        (1, 34, 31, 123, 113, 118, 151, 185, 144, 145),
        (34, 1, 19, 92, 83, 106, 170, 214, 163, 129),
        (31, 19, 1, 93, 75, 88, 175, 215, 168, 119),
        (123, 93, 93, 1, 13, 29, 232, 250, 235, 197),
        (113, 83, 76, 13, 1, 27, 244, 261, 246, 187),
        (119, 106, 89, 29, 27, 1, 258, 275, 261, 207),
        (152, 171, 175, 232, 244, 257, 1, 122, 9, 295),
        (184, 214, 214, 250, 261, 275, 122, 1, 115, 328),
        (144, 163, 169, 236, 247, 261, 9, 115, 1, 286),
        (145, 129, 120, 195, 185, 209, 295, 327, 287, 1),
    ),
    one_way=False,
)
"""Dallas, Toronto, Washington, Frankfurt, London, Madrid, Osaka, Sydney, Tokyo, São Paulo; within one about 1 ms."""
