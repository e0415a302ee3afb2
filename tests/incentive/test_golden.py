"""The same bits on every platform and path: digests of 1,000 random epochs a mechanism, frozen in golden.json."""

import pytest

from davy.incentive.registry import MECHANISMS
from tests.incentive.evident import READERS
from tests.incentive.golden import BATCHES, PATHS, RUNS, digests, frozen


@pytest.mark.parametrize("name", sorted(MECHANISMS))
def test_every_mechanism_has_its_digests(name: str) -> None:
    assert len(frozen(name)) == len(set(frozen(name))) == BATCHES * RUNS == 1_000


@pytest.mark.parametrize("name", sorted(MECHANISMS))
@pytest.mark.parametrize("path", sorted(PATHS))
def test_the_bits_are_the_same(path: str, name: str) -> None:
    assert list(digests(path, MECHANISMS[name], evidence=name in READERS)) == frozen(name)
