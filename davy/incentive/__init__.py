"""The incentive: from stake and weights to shares of an epoch's emission, in exact integers.

What flows through: `EpochInputs` of one subnet (or a batch of runs in front of every axis) and the mechanism's own state go in; the next
state and an `EpochResult` come out; `emission.emit` turns the result and an amount into base units, to the last one.

May import: numpy, the standard library without clocks, entropy, sockets and files, and `davy.protocol`. Nothing here reads a clock, draws
a random number or sees a float, so a live ledger and a thousand simulated ones compute the same bits.

Read `yuma3.py` first: one function a step. The steps' number formats are declared in `fixed_point.py`, the walk through an epoch with
numbers is docs/incentive.md.
"""

if not __name__.startswith("davy."):
    raise ImportError(
        f"this room was imported as {__name__!r}; the link at the repository's root is for reading: import davy.incentive instead"
    )
