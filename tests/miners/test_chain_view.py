"""Anchors: what a miner that has verified so much of the chain may sign."""

import pytest

from davy.miners.chain_view import REMEMBERED, ChainView
from davy.protocol.errors import Busy, Misdirected
from davy.protocol.receipt import Anchor
from tests.miners.stage import head


def view(slack: int = 1) -> ChainView:
    made = ChainView(slack, outage_ms=1_000)
    for height in range(5, 11):
        made.see(head(height), 100)
    return made


def at(height: int) -> Anchor:
    return Anchor(height, head(height).hash)


@pytest.mark.parametrize("height", [0, 4, 5, 9, 10, 11])
def test_answered(height: int) -> None:
    view().check(at(height), 100)


@pytest.mark.parametrize(("slack", "height"), [(1, 12), (0, 11), (1, 2**63 - 1)])
def test_above_the_verified_height(slack: int, height: int) -> None:
    with pytest.raises(Busy, match="older anchor"):
        view(slack).check(at(height), 100)


@pytest.mark.parametrize("height", [5, 10])
def test_another_block_at_a_known_height(height: int) -> None:
    with pytest.raises(Misdirected, match="another block"):
        view().check(Anchor(height, bytes(31) + b"\xff"), 100)


def test_nothing_is_signed_before_the_ledger_was_seen_nor_long_after() -> None:
    with pytest.raises(Busy, match="not seen"):
        ChainView(1, 1_000).check(at(0), 0)
    seen = view()
    seen.check(at(10), 1_100)
    with pytest.raises(Busy, match="lost the ledger"):
        seen.check(at(10), 1_101)
    seen.see(head(10), 1_101)
    seen.check(at(10), 1_101)


def test_heads_do_not_go_back_and_are_remembered_within_a_bound() -> None:
    seen = view()
    seen.see(head(7), 200)
    assert seen.anchor(200).height == 10
    for height in range(11, 12 + REMEMBERED):
        seen.see(head(height), 300)
    assert len(seen._hashes) == REMEMBERED
    seen.check(Anchor(10, bytes(31) + b"\xff"), 300)
