"""The rules of the room once more, compiled by numba: the same bits, for sweeps. Call it through `accelerated`.

A rule has the name and the formula that it has in the reference, one folder up, which is normative: where the two
differ, this one is wrong. What differs on purpose is the order of the work, not of the operations:

- one run at a time, and a few tiles of it from weights to bonds, so that what is worked on stays in cache;
- columns in tiles of `TILE`, a column a SIMD lane, rows the outer loop; a partial tile is padded with columns of zeros;
- weights and bonds of a tile are Q30 in 32 bits, which holds ONE, so that a vector has twice as many;
- rows that vote come first in a tile, so that rows follow on each other and share an address;
- the median is guessed in 16 bits, bit by bit in all lanes at once, without a sort or a branch, and then proved by
  stake of 31 bits; where that cannot tell, the exact stake decides;
- what needs a division per element is multiplied by a reciprocal, and corrected where that is not exact.

Integers only: numba, like numpy, makes a float of uint64 and int64, so only offsets are unsigned, among themselves.

=====================  ============================================================================
`epochs`               from an epoch's inputs to `arrays`, and back
`yuma3`, `yuma2`       the mechanisms, over a range of runs; `consensus` is the first six steps alone
`agreement`            steps 1 to 9; `median` proves what `guess` guessed, `shares` are the k largest
`bonds`                some tiles of columns at a time
`settlement`           the last step
`lanes`                tiles of columns, and what must stay in 32 bits
`jit`                  numba behind one name
=====================  ============================================================================
"""

from davy.incentive.accelerated import NotInstalled

try:
    import numba as _numba  # pyright: ignore[reportMissingTypeStubs]
except ModuleNotFoundError as e:
    if e.name != "numba":
        raise
    raise NotInstalled("the compiled incentive needs numba: pip install 'davy[fast]'") from e
del _numba
