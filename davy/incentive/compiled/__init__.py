"""The rules of the room once more, compiled by numba: the same bits, for sweeps. Call it through `accelerated`.

A rule has the name and the formula that it has in the reference, one folder up, which is normative: where the two
differ, this one is wrong. What differs on purpose is the order of the work, not of the operations:

- one run at a time, so that all of it stays in the second-level cache;
- columns in tiles of `TILE`, a column a SIMD lane, rows the outer loop; a partial tile is padded with columns of zeros;
- the median is found by halving an interval in all lanes at once, without a sort or a branch;
- what needs a division an element is divided by a reciprocal, and corrected where that is not exact.

Integers only, int64 only: numba, like numpy, makes a float of uint64 and int64.
"""
