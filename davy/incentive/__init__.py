"""The incentive: from stake and weights to shares of an epoch's emission, in exact integers.

What flows through: the `EpochInputs` of a subnet (or of a batch of runs, in front of every axis) and the mechanism's
own state go in; the next state and an `EpochResult` come out; `emission.emit` makes base units of the result.

May import: numpy, the standard library without clocks, entropy, sockets and files, and `davy.protocol`; `compiled`
may import numba. Nothing here reads a clock, draws a random number or holds a float, so a live ledger and a thousand
simulated ones compute the same bits.

Read `agreement.py`, then `yuma3.py`: one rule a line, each rule a function of its own file. The number formats are
declared in `fixed_point.py`; docs/incentive.md numbers the steps and walks through an epoch.

======================  ==============================================================================
`fixed_point`           number formats, their bounds, rounding, the integer sigmoid
`masks`, `permits`      which stake and which weights count
`consensus`             the stake-weighted median, clipping, rank
`bonds`, `dividends`    what agreeing early buys, and what it pays
`agreement`             the steps both Yumas share
`yuma3`, `yuma2`        the mechanisms; `registry` finds them by name
`correlated`            Yuma 3 paid by agreement with others beyond chance (arXiv 1603.03151)
`audited`               Yuma 3 paid by audited news, with votes for who is seldom wrong; `news` counts it
`places`, `evidence`    what rows reported, and what audits found
`holding`               the steps of Yuma 3 after the consensus, which both share
`settlement`            what halts withhold
`chunks`                batches, a few runs at a time
`weights`               weights on their way to the ledger
`emission`              shares to base units, cuts, takes
`children`              stake lent to child keys, and the dividends that come back
`schedule`, `pruning`   what a block may mint; who gives its UID away
`mechanism`, `door`     the seam: inputs, parameters, results, and their checks
`evidence`              reports and audited labels, for mechanisms that read them
`accelerated`           the mechanisms compiled by numba, for sweeps: the same bits, from the rules in `compiled`
`conformance`           a command that holds the mechanisms against reference vectors
======================  ==============================================================================
"""

if not __name__.startswith("davy."):
    raise ImportError(
        f"this room was imported as {__name__!r}; the link at the repository's root is for reading: "
        "import davy.incentive instead"
    )
