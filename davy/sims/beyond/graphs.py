"""Who knows whom: seeded graphs over n nodes, as a tuple of neighbours for each node."""

from __future__ import annotations

from itertools import combinations
from typing import Final

from davy.sims.noise import Stream

TOPOLOGIES: Final = ("live", "random", "ring", "star", "clusters", "scale-free")
"""`live`: each knows up to 64 others at random, as a node of davy does. The others say where it would not be so."""
_CLUSTERS: Final = 8

Graph = tuple[tuple[int, ...], ...]


def graph(topology: str, nodes: int, degree: int, s: Stream) -> Graph:
    """Draw a graph; its nodes know `degree` others, or as many as the topology says.

    ring: the nearest on both sides. star: nodes 0 to ⌊`degree`/2⌋ know everybody, and the others know these only.
    clusters: 8 groups, each a random graph of that degree, with one link from each group to the next. scale-free: each
    newcomer links to ⌈`degree`/2⌉ others, drawn in proportion to their links (Barabási and Albert 1999). Links of
    ring, star, clusters and scale-free are known to both ends; those of `random` and `live` to one.
    """
    if topology in ("live", "random"):
        return tuple(_drawn(range(nodes), n, degree, s) for n in range(nodes))
    links: set[tuple[int, int]] = set()
    match topology:
        case "ring":
            links = {(n, (n + k) % nodes) for n in range(nodes) for k in range(1, max(1, degree // 2) + 1)}
        case "star":
            hubs = min(max(1, degree // 2), nodes)
            links = {(hub, n) for hub in range(hubs) for n in range(nodes) if n != hub}
        case "clusters":
            groups = [range(c, nodes, _CLUSTERS) for c in range(min(_CLUSTERS, nodes))]
            links = {(n, other) for g in groups for n in g for other in _drawn(g, n, degree, s)}
            links |= {(a[0], b[-1]) for a, b in zip(groups, [*groups[1:], groups[0]], strict=True) if a != b}
        case _:
            links = _scale_free(nodes, max(1, -(-degree // 2)), s)
    both: list[set[int]] = [set() for _ in range(nodes)]
    for a, b in links:
        both[a].add(b)
        both[b].add(a)
    return tuple(tuple(sorted(known - {n})) for n, known in enumerate(both))


def _drawn(among: range, n: int, count: int, s: Stream) -> tuple[int, ...]:
    others = [other for other in among if other != n]
    return tuple(s.sample(others, min(count, len(others))))


def _scale_free(nodes: int, each: int, s: Stream) -> set[tuple[int, int]]:
    first = min(each + 1, nodes)
    links = set(combinations(range(first), 2))
    ends = [end for link in sorted(links) for end in link]
    for n in range(first, nodes):
        targets: set[int] = set()
        while len(targets) < each:
            targets.add(ends[s.below(len(ends))])
        for target in sorted(targets):
            links.add((target, n))
            ends += [target, n]
    return links
