"""What the fuzzer that watches coverage begins with gets past the door, and it would see a rule that errs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davy.ledger.rules import block, transactions
from davy.ledger.rules.state import State
from davy.protocol.errors import TxCode
from davy.protocol.transaction import SetTake
from davy.protocol.words import Moment
from tests.ledger.rules.fuzz_blocks import Kind, digest, piece, pieces, play, seeds
from tests.ledger.rules.test_determinism import ROOT


def test_most_of_what_it_begins_with_happens() -> None:
    codes = [play(seed)[1] for seed in seeds()]
    assert sum(said == [TxCode.OK] for said in codes) > 12
    assert TxCode.MALFORMED in play(piece(Kind.ACTION, b"\0no action"))[1]


@settings(max_examples=20, database=None, deadline=None, derandomize=True)
@given(st.binary(max_size=300))
def test_any_bytes_are_blocks(data: bytes) -> None:
    assert sum(3 + len(payload) for _, payload in pieces(data)) <= len(data) + 3
    play(data)


def test_what_an_engine_reports_is_among_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of report reaches the rules, from the seeds and from any bytes; what is no address does no harm."""
    before = play(b"")[0]
    assert len({before, *(play(piece(kind, b"\0"))[0] for kind in (Kind.EVIDENCE, Kind.ABSENT))}) == 3
    for kind in (Kind.EVIDENCE, Kind.ABSENT):
        assert play(piece(kind, b"no address"))[0] == before

    def raises(s: State, at: Moment, called: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(block, "convict_producer", raises)
    with pytest.raises(AssertionError):
        digest(seeds())


def test_a_rule_that_errs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(s: State, at: Moment, sender: bytes, x: SetTake) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(transactions, "RULES", {**transactions.RULES, SetTake: raises})
    with pytest.raises(AssertionError):
        digest(seeds())


def test_they_come_to_the_same_under_every_hash_seed() -> None:
    code = "from tests.ledger.rules.fuzz_blocks import digest, seeds; print(digest(seeds()))"
    for number in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": number, "PYTHONPATH": str(ROOT)}
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert run.stdout.strip() == digest(seeds()), run.stderr
