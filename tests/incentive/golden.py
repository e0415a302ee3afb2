"""Digests of 200 random epochs under each mechanism: the same bits on every platform, numpy and path.

A change of these digests is a change of consensus: a chain that runs may not take it without a new mechanism's name.
`python -m tests.incentive.golden` prints the file anew.
"""

import json
import sys
from hashlib import sha256

from davy.incentive.fixed_point import Int64
from davy.incentive.registry import MECHANISMS
from tests.incentive import epochs

EPOCHS = 200


def little_endian(array: Int64) -> bytes:
    return array.astype("<i8").tobytes()


def digest(name: str, seed: int) -> str:
    """Of the inputs, and of two epochs' results and bonds, the second upon the bonds of the first."""
    s, x, p = epochs.epoch(seed)
    seen = sha256(little_endian(x.weights) + little_endian(x.stake) + little_endian(s.bonds))
    for _ in range(2):
        s, result = MECHANISMS[name].epoch(s, x, p)
        for values in (s.bonds, *epochs.arrays(result).values()):
            seen.update(little_endian(values))
    return seen.hexdigest()[:32]


if __name__ == "__main__":
    golden = {name: [digest(name, seed) for seed in range(EPOCHS)] for name in sorted(MECHANISMS)}
    json.dump(golden, sys.stdout, indent=1)
    sys.stdout.write("\n")
