"""A selection of faults on real producers; all of them, many times over, are `make faults`."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from davy.ledger.driver.cometbft.install import is_engine
from davy.protocol.chain import Issuance
from tests.faults.__main__ import ROUNDS
from tests.faults.kinds import KINDS
from tests.faults.liar import lied
from tests.faults.manifest import names, nightly_turn, read
from tests.faults.networks import available
from tests.faults.scenario import conserved, play
from tests.faults.skewed_engine import SKEWED
from tests.ledger.driver.cometbft.engines import ROOT, engine

pytestmark = [pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("name", ["selection", "partition", "clock", "hostile", "nodes"])
async def test_everything_holds_after_each(name: str, tmp_path: Path) -> None:
    manifest, program = read(name), engine()
    if program is None:
        pytest.skip("there is no engine: `make engine` builds it, and needs Go")
    if manifest.namespaces and not available():
        pytest.skip("network namespaces need root and iproute2")
    if manifest.skewed and not is_engine(SKEWED):
        pytest.skip("there is no engine with another clock: `make engine-skewed` builds it, and needs Go")
    assert await play(tmp_path, program, manifest, seed=8) == len(manifest.steps)


@pytest.mark.parametrize("name", names())
def test_a_manifest_takes_away_what_the_others_can_bear(name: str) -> None:
    manifest = read(name)
    for step in manifest.steps:
        borne = step.whom == 1 or step.fault in ("late", "skew-most", "wrong-chunks", "kill-node")  # enough vote
        assert borne is (step.blocks > 0), "one away: blocks go on; two: none comes"
        assert manifest.namespaces or step.fault not in ("cut-off", "split")
        assert manifest.skewed or step.fault not in ("skew", "skew-most", "slow", "late")
        assert manifest.hostile or step.fault not in ("wrong-chunks", "diverge", "vote-twice")


def test_every_kind_is_in_a_manifest() -> None:
    assert {s.fault for n in names() for s in read(n).steps} == KINDS.keys()


def test_a_turn_plays_each_manifest_once_before_any_comes_again() -> None:
    nightly = {name: read(name).nightly for name in names() if read(name).nightly}
    played = nightly_turn()
    assert Counter(played) == nightly
    assert set(played[: len(nightly)]) == nightly.keys()
    told, each = (ROOT / "docs/engine.md").read_text(), [ROUNDS * len(read(name).steps) for name in played]
    assert f"a turn of {sum(each)} perturbations" in told
    assert f"the first {sum(each[: len(nightly)])} of them" in told


def test_a_liar_changes_something_each_time() -> None:
    for seed in range(200):
        told = {"result": {"height": "7", "signed_header": "aGFsbG8=", "list": [1, "00FF"]}, "id": 1}
        assert lied(told, random.Random(seed)) != {
            "result": {"height": "7", "signed_header": "aGFsbG8=", "list": [1, "00FF"]},
            "id": 1,
        }
        assert told["id"] == 1


def test_a_lost_unit_is_seen() -> None:
    conserved(Issuance(1, 6, 1, 1, 1, 1, 1, 1, 0, 9))
    with pytest.raises(AssertionError):
        conserved(Issuance(1, 7, 1, 1, 1, 1, 1, 1, 0, 9))
