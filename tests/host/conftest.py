"""Keys that cost nothing to open, and entropy that repeats."""

import hashlib

import pytest

from davy.host.keys import Cost

CHEAP = Cost(1, 8192)


class CountedEntropy:
    """The n-th call's bytes follow from n."""

    def __init__(self) -> None:
        self.calls = 0

    def bytes(self, n: int) -> bytes:
        self.calls += 1
        return hashlib.shake_256(self.calls.to_bytes(8, "big")).digest(n)


@pytest.fixture
def entropy() -> CountedEntropy:
    return CountedEntropy()


@pytest.fixture
def cheap() -> Cost:
    return CHEAP
