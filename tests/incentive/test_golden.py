"""The same bits on every platform and path: digests of 1,000 random epochs a mechanism, frozen in golden.json."""

import json
from pathlib import Path

import pytest

from davy.incentive.registry import MECHANISMS
from tests.incentive.golden import BATCHES, PATHS, RUNS, digests

GOLDEN: dict[str, list[str]] = {
    name: " ".join(lines).split()
    for name, lines in json.loads((Path(__file__).parent / "golden.json").read_text()).items()
}


def test_every_mechanism_has_its_digests() -> None:
    assert GOLDEN.keys() == MECHANISMS.keys()
    for frozen in GOLDEN.values():
        assert len(frozen) == len(set(frozen)) == BATCHES * RUNS == 1_000


@pytest.mark.parametrize("name", sorted(MECHANISMS))
@pytest.mark.parametrize("path", sorted(PATHS))
def test_the_bits_are_the_same(path: str, name: str) -> None:
    assert list(digests(path, name)) == GOLDEN[name]
