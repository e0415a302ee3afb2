"""The golden digests, which golden.py explains."""

import json
from pathlib import Path

import pytest

from davy.incentive.registry import MECHANISMS
from tests.incentive.golden import EPOCHS, digest

GOLDEN: dict[str, list[str]] = json.loads((Path(__file__).parent / "golden.json").read_text())


def test_every_mechanism_has_its_digests() -> None:
    assert GOLDEN.keys() == MECHANISMS.keys()
    for digests in GOLDEN.values():
        assert len(digests) == EPOCHS
        assert len(set(digests)) == EPOCHS


@pytest.mark.parametrize("name", sorted(MECHANISMS))
def test_the_bits_are_the_same(name: str) -> None:
    assert [digest(name, seed) for seed in range(EPOCHS)] == GOLDEN[name]
